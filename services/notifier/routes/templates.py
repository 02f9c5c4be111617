"""Texts: shipped ones, and the versions that a tenant drafts, tries, publishes and retires."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Annotated, Any, Literal

from babel import Locale as Known
from babel import UnknownLocaleError
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Meta, field

from libs.common.api import answer, body_of, page, read_as, takes
from libs.common.auth import Principal, requires
from libs.common.contracts.values import WITHOUT_NUL, Amount, Attributes, Contract, known_currency, not_deep, on_calendar
from libs.common.contracts.wallet_borrowers import PurposeName
from libs.common.errors import DomainError
from libs.common.paging import Cursor, cut, number_place, part
from libs.common.tenant_settings.forms import Locale
from libs.common.value import asdict as value_as_dict
from services.notifier import samples
from services.notifier.domain.locales import canonical
from services.notifier.domain.message import TextRef
from services.notifier.domain.tenant import Price
from services.notifier.previewing import Asked, Preview, preview
from services.notifier.publishing import Publisher
from services.notifier.rendering import Source
from services.notifier.routes.callers import Limit
from services.notifier.samples import Sum
from services.notifier.store import templates
from services.notifier.store.templates import NewVersion, Version
from services.notifier.texts import SHIPPED, Shipped
from services.notifier.vetting import LONGEST_SOURCE

Writing = Annotated[Principal, Depends(requires("templates:write"))]
ChannelIn = Literal["sms", "email", "push", "inbox"]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]{1,64}$(?!\n)")]
Part = Annotated[str, Meta(min_length=1, max_length=LONGEST_SOURCE, pattern=WITHOUT_NUL)]
Place = Annotated[str, Meta(min_length=1, max_length=64)]
Places = Annotated[tuple[Place, ...], Meta(min_length=1, max_length=100)]
_NEWEST = 2**31 - 1


class TemplateIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new version; `jurisdictions` limits where it may be used (absent: everywhere)."""

    name: Name
    locale: Locale
    channel: ChannelIn
    body: Part
    subject: Part | None = None
    html: Part | None = None
    purpose: PurposeName = "dunning"
    jurisdictions: Places | None = None

    def __post_init__(self) -> None:
        _readable(self.locale)


class SumIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sample debt, in minor units."""

    principal: Amount = 0
    interest: Amount = 0
    fee: Amount = 0
    penalty: Amount = 0
    currency: str = "CNY"
    due_on: date = samples.DUE_ON
    product: Name = "cash-loan"

    def __post_init__(self) -> None:
        known_currency(self.currency)
        on_calendar(self.due_on)

    def read(self) -> Sum:
        """Return it in the form of a sample."""
        return Sum(self.principal, self.interest, self.fee, self.penalty, self.currency, self.due_on, self.product)


class PreviewIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A text given in full (`body`) or by name, and what to try it with."""

    locale: Locale
    channel: ChannelIn
    name: Name | None = None
    version: Annotated[int, Meta(ge=0, le=_NEWEST)] | None = None
    body: Part | None = None
    subject: Part | None = None
    html: Part | None = None
    purpose: PurposeName | None = None
    jurisdictions: Places | None = None
    borrower_name: Annotated[str, Meta(max_length=200)] | None = samples.NAME
    debts: Annotated[tuple[SumIn, ...], Meta(min_length=1, max_length=100)] | None = None
    variables: Attributes = field(default_factory=dict)
    price_per_part: Price | None = None

    def __post_init__(self) -> None:
        _readable(self.locale)
        not_deep(self.variables)
        if (self.body is None) == (self.name is None):
            raise ValueError("give a body, or the name of a text")
        if self.body is None and (self.subject is not None or self.html is not None):
            raise ValueError("a subject and html belong to a body")
        if self.version is not None and self.name is None:
            raise ValueError("a version belongs to a name")

    def asked(self, purpose: str) -> Asked:
        """Return what is to be tried."""
        source = Source(self.body, self.subject, self.html) if self.body is not None else None
        debts = tuple(one.read() for one in self.debts) if self.debts is not None else samples.ONE
        return Asked(
            self.name, self.version, source, canonical(self.locale), self.channel, purpose, self.jurisdictions, self.borrower_name, debts,
            self.variables, self.price_per_part,
        )  # fmt: skip


def routes_of(publisher: Publisher) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["templates"])
    _add_writing(routes, publisher)
    _add_reading(routes, publisher)
    return routes


def _add_writing(routes: APIRouter, publisher: Publisher) -> None:
    @routes.post("/templates", status_code=201, summary="Draft a version of a text", openapi_extra=takes(TemplateIn))
    async def add(request: Request, caller: Writing) -> Response:
        new = read_as(TemplateIn, await body_of(request), code="invalid_template", what="template")
        draft = NewVersion(
            caller.tenant, new.name, canonical(new.locale), new.channel, new.subject, new.body, new.html, new.jurisdictions, new.purpose,
            caller.actor,
        )  # fmt: skip
        row, problems = await publisher.add(draft)
        return answer({**_version(row), "problems": problems}, 201)

    @routes.post("/templates:preview", summary="Try a text", openapi_extra=takes(PreviewIn))
    async def tried(request: Request, caller: Writing) -> Response:
        wanted = read_as(PreviewIn, await body_of(request), code="invalid_preview", what="preview")
        shipped = publisher.shipped(wanted.name or "")
        purpose: str = wanted.purpose or (shipped[0].purpose if shipped else "dunning")
        return answer(_preview(await preview(publisher, caller.tenant, wanted.asked(purpose))))

    @routes.post("/templates/{name}/versions/{version:int}:publish", summary="Publish a draft")
    async def publish(name: str, version: int, caller: Writing) -> Response:
        return answer(_version(await publisher.publish(caller.tenant, name, _number(version), by=caller.actor)))

    @routes.post("/templates/{name}/versions/{version:int}:retire", summary="Take a version out of use")
    async def retire(name: str, version: int, caller: Writing) -> Response:
        return answer(_version(await publisher.retire(caller.tenant, name, _number(version), by=caller.actor)))


def _add_reading(routes: APIRouter, publisher: Publisher) -> None:
    @routes.get("/templates", summary="What is in use, by name, locale and channel")
    async def places(caller: Writing, *, limit: Limit = 100, cursor: Cursor) -> Response:
        async with publisher.engine.connect() as conn:
            own = await templates.places(conn, caller.tenant)
        found = {_place(*place): (SHIPPED, 0) for place in publisher.texts.shipped}
        found |= {_place(ref.name, ref.locale, ref.channel): (ref.version, drafts) for ref, drafts in own}
        keys, following = cut([key for key in sorted(found) if cursor is None or key > cursor], limit, lambda key: key)
        shipped = {_place(*place) for place in publisher.texts.shipped}
        items = [_in_force(key, found[key], shipped=key in shipped) for key in keys]
        return page(items, following)

    @routes.get("/templates/{name}/versions", summary="All versions of a name")
    async def versions(name: str, caller: Writing, *, limit: Limit = 100, cursor: Cursor) -> Response:
        shipped, end = publisher.shipped(name), (number_place(cursor) or 0) + limit
        async with publisher.engine.connect() as conn:
            rows = await templates.versions(conn, caller.tenant, name, limit=end + 1)
        if not rows and not shipped:
            raise DomainError(404, "not_found", f"there is no text {name[:64]!r}")
        return page(*part([*map(_shipped, shipped), *map(_version, rows)], cursor, limit))

    @routes.get("/templates/{name}/versions/{version:int}", summary="One version as written")
    async def one(  # one query parameter each
        name: str, version: int, caller: Writing, *, locale: str | None = None, channel: ChannelIn | None = None
    ) -> Response:
        if version == SHIPPED:
            return answer(_shipped(_one_shipped(publisher, name, locale, channel)))
        async with publisher.engine.connect() as conn:
            row = await templates.find(conn, caller.tenant, name, _number(version))
        if row is None:
            raise DomainError(404, "not_found", f"there is no version {version} of {name[:64]!r}")
        return answer(_version(row))


def _one_shipped(publisher: Publisher, name: str, locale: str | None, channel: str | None) -> Shipped:
    if locale is None or channel is None:
        raise DomainError(422, "invalid_request", "version 0 has one text for each locale and channel: give both")
    if (found := publisher.texts.shipped.get((name, canonical(locale), channel))) is None:
        raise DomainError(404, "not_found", f"no text {name[:64]!r} for {channel} in {locale[:64]} is shipped")
    return found


def _version(row: Version) -> dict[str, Any]:
    return dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def _shipped(one: Shipped) -> dict[str, Any]:
    return {**_of(one.text.ref), "state": "shipped", **asdict(one.source), "jurisdictions": None, "purpose": one.purpose}


def _of(ref: TextRef) -> dict[str, Any]:
    return {"name": ref.name, "version": ref.version, "locale": ref.locale, "channel": ref.channel}


def _in_force(key: str, found: tuple[int, int], *, shipped: bool) -> dict[str, Any]:
    name, locale, channel = key.split("~")
    version, drafts = found
    state = "published" if version else "shipped" if shipped else "none"
    return {
        "name": name,
        "locale": locale,
        "channel": channel,
        "state": state,
        "version": version if state != "none" else None,
        "drafts": drafts,
    }


def _preview(made: Preview) -> dict[str, Any]:
    text = value_as_dict(made.text) if made.text is not None else {"subject": None, "body": None, "html": None}
    return {"template": _of(made.ref), **text, "sms": made.sms, "asks": made.asks, "problems": made.problems}


def _place(name: str, locale: str, channel: str) -> str:
    return f"{name}~{locale}~{channel}"


def _number(version: int) -> int:
    if not 0 <= version <= _NEWEST:
        raise DomainError(404, "not_found", f"there is no version {version}")
    return version


def _readable(locale: str) -> None:
    try:
        Known.parse(canonical(locale), sep="-")
    except (UnknownLocaleError, ValueError) as error:
        raise ValueError(f"{locale[:64]!r} is no locale that sums can be written in") from error
