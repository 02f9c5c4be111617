"""Providers and routes over HTTP (contract, section 6): accounts, with secrets that are written but never read, and who carries what."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.paging import Cursor, part
from libs.common.slips import near
from services.notifier.directory import Directory, Secrets, is_loopback, new_secret
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.routing import ANYWHERE, Route
from services.notifier.providers.kinds import ALL
from services.notifier.providers.links import LOOPBACK, Link
from services.notifier.providers.wire import Account, Adapter, UnfitError
from services.notifier.receiving import Receiver
from services.notifier.routes.callbacks import callback_of
from services.notifier.routes.callers import MOST, Limit, Operating, Reading
from services.notifier.showing import health_of
from services.notifier.store import accounts, health
from services.notifier.store.accounts import AccountRow
from services.notifier.store.health import Event

Name = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
ChannelName = Literal["sms", "email", "push", "inbox"]
Value = Annotated[str, Field(min_length=1, max_length=8192)]
PROBES = {"sms": "+12025550123", "email": "someone@example.com", "push": "token", "inbox": "someone"}
"""Addresses for a request that is built but never sent, to check that an account can make one."""


class AccountIn(Asked):
    """A provider account; omitted credentials stay as they are."""

    kind: str
    channels: list[ChannelName] | None = Field(default=None, min_length=1)
    credentials: dict[str, Value] | None = None
    settings: dict[str, Value] = Field(default_factory=dict)
    base_url: str | None = Field(default=None, max_length=500)
    at_once: int = Field(default=100, ge=1, le=1000)
    per_second: int | None = Field(default=None, ge=1, le=10_000)


class PauseIn(Asked):
    """Why a provider is paused."""

    reason: str = Field(min_length=1, max_length=500)


class RouteIn(Asked):
    """One route; `*` is every country without a route of its own."""

    channel: ChannelName
    country: str = Field(default=ANYWHERE, pattern=r"^(\*|[A-Z]{2})$")
    provider: str = Field(min_length=1, max_length=64)
    weight: int = Field(default=1, ge=0, le=1000)


class RoutesIn(Asked):
    """All routes of the tenant."""

    only_shown = frozenset({"next", "version"})
    items: list[RouteIn] = Field(max_length=1000)


@dataclass(frozen=True, slots=True)
class AccountDesk:
    """Dependencies of these routes."""

    engine: AsyncEngine
    clock: Clock
    directory: Directory
    receiver: Receiver
    fakes: bool


def routes_of(desk: AccountDesk) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1")
    _add_providers(routes, desk)
    _add_pauses(routes, desk)
    _add_routes(routes, desk)
    _add_receipts(routes, desk)
    return routes


def _add_providers(routes: APIRouter, desk: AccountDesk) -> None:
    @routes.get("/providers", summary="Provider accounts with health, breaker and rate, without secrets")
    async def providers(caller: Reading, *, limit: Limit = MOST, cursor: Cursor) -> Response:
        builtin = [{"name": name, "channels": one.channels, "sandbox": one.sandbox} for name, one in desk.directory.builtin.items()]
        async with desk.engine.connect() as conn:
            now = await desk.clock.at(conn)
            healths = await health.of_tenant(conn, caller.tenant)
            rows = await accounts.of_tenant(conn, caller.tenant)
        shown = builtin + [_shown(row) | health_of(healths[row.name], row.per_second, now) for row in rows]
        return page(*part(shown, cursor, limit))

    @routes.put("/providers/{name}", summary="Set an account; credentials are written, never shown")
    async def put(name: Name, wanted: AccountIn, caller: Operating) -> Response:
        if name in desk.directory.builtin:
            raise DomainError(409, "builtin", f"{name} is built in")
        adapter = _adapter(wanted, desk)
        async with desk.engine.begin() as conn:
            before = await accounts.find(conn, caller.tenant, name, lock=True)
            row, secrets = await _asked(conn, desk, wanted, caller, before=before, name=name)
            _check(adapter, desk, row, secrets)
            version = await accounts.put(conn, desk.directory.seal(row, secrets), secret_hash=desk.directory.secret_hash(secrets.url))
            await health.begin(conn, (row.tenant, name))
            await health.note(conn, (row.tenant, name), [Event(row.at, "set", row.by, {"version": version, "per_second": row.per_second})])
            stored = await accounts.find(conn, caller.tenant, name)
        assert stored is not None  # noqa: S101  # written in this transaction
        return answer(_shown(stored) | _posted_to(desk, adapter, name, secrets.url), 200 if before else 201)


def _posted_to(desk: AccountDesk, adapter: Adapter | Link, name: str, secret: str) -> dict[str, str | None]:
    """Return the URLs that a provider posts to; None for what its kind cannot send."""
    hears_replies = not isinstance(adapter, Link) and adapter.inbound is not None
    return {
        "receipts_url": desk.directory.receipts_url(name, secret) if adapter.receipts is not None else None,
        "inbound_url": desk.directory.inbound_url(name, secret) if hears_replies else None,
    }


async def _asked(
    conn: AsyncConnection, desk: AccountDesk, wanted: AccountIn, caller: Principal, *, before: AccountRow | None, name: str
) -> tuple[AccountRow, Secrets]:
    """Return the requested account and its secrets: the URL's secret and omitted credentials stay as they were."""
    kept = desk.directory.open(before) if before and before.kind == wanted.kind else None
    credentials = wanted.credentials if wanted.credentials is not None else (kept.credentials if kept else {})
    row = AccountRow(
        caller.tenant, name, wanted.kind, tuple(wanted.channels or ALL[wanted.kind].channels), wanted.settings,
        tuple(sorted(credentials)), b"", wanted.base_url, wanted.at_once, caller.actor, await desk.clock.at(conn),
        per_second=wanted.per_second,
    )  # fmt: skip
    return row, Secrets(credentials, kept.url if kept else new_secret())


_UNFIT = {
    "host_tls_or_from": "host must be only a name or an address, tls starttls, implicit or none, from without control characters",
    "host_or_tls": "host must be only a name or an address, tls implicit or none",
    "username_and_password": "a username needs a password, and a password a username",
    "password_without_tls": "with tls none the password would cross the network unencrypted",
    "resp_ids_or_receipt_ids": "resp_ids and receipt_ids must be hex or decimal",
    "query_sm": "query_sm must be true or false",
    "not_https": "url must begin with https",
    "secret_unreadable": "secret must be 24 to 64 bytes in base64, with or without whsec_ before it",
    "no_region": "region must be a region of AWS, such as eu-central-1",
    "no_such_environment": "environment must be production or sandbox",
    "templates_unreadable": "templates must be a string containing JSON, as in docs/providers.md",
    "invalid_mailbox": "from must be a mailbox, such as Lender <dunning@lender.example>",
}
"""What the maker of an account is told, by the code with which its kind refuses it."""


def _adapter(wanted: AccountIn, desk: AccountDesk) -> Adapter | Link:
    """Return the adapter; refuses a kind, channel, URL or host that is not supported."""
    adapter = ALL.get(wanted.kind)
    if adapter is None:
        raise DomainError(422, "unknown_kind", f"kind: {wanted.kind[:64]!r} is not known here: {near(wanted.kind[:64], list(ALL))}")
    if extra := set(wanted.channels or ()) - set(adapter.channels):
        raise DomainError(422, "unknown_channel", f"channels: {wanted.kind} has no {', '.join(sorted(extra))}")
    url = wanted.base_url
    if isinstance(adapter, Link):
        host = wanted.settings.get("host")
        if url is not None or (host in LOOPBACK and not desk.fakes and host not in desk.directory.private_hosts):
            raise DomainError(422, "invalid_host", f"settings: {wanted.kind} needs a host not on this machine, and takes no base_url")
        return adapter
    fake = url is not None and desk.fakes and url.startswith("http://") and is_loopback(url)
    if url is not None and (adapter.public_only or not (fake or (url.startswith("https://") and not adapter.http2))):
        raise DomainError(
            422, "invalid_base_url", "base_url: https is required; a webhook has its URL in its settings, and apns a fixed one"
        )
    return adapter


def _check(adapter: Adapter | Link, desk: AccountDesk, row: AccountRow, secrets: Secrets) -> None:
    """Refuse an account that lacks what its kind needs, or with which no request could be made."""
    given = set(secrets.credentials) | set(row.settings)
    missing = [name for name in adapter.credentials if name not in secrets.credentials]
    missing += [name for name in adapter.settings if name not in row.settings]
    unknown = given - {*adapter.credentials, *adapter.settings, *adapter.optional}
    if missing or unknown:
        said = [f"{', '.join(sorted(names))} {verb}" for names, verb in ((missing, "is missing"), (unknown, "is not known")) if names]
        raise DomainError(422, "invalid_account", f"{row.kind}: {'; '.join(said)}")
    if shown := set(row.settings) & {*adapter.credentials, *adapter.secrets}:
        raise DomainError(422, "invalid_account", f"{row.kind}: {', '.join(sorted(shown))} belongs in the credentials")
    account = Account(row.name, row.kind, {"token": "-", **secrets.credentials}, row.settings, row.base_url)
    try:
        _try(adapter, account, row, desk.clock.now())
    except UnfitError as unfit:
        raise DomainError(422, "invalid_account", f"{row.kind}: {_UNFIT.get(unfit.code, unfit.code)}") from None
    except (ValueError, TypeError):
        raise DomainError(422, "invalid_account", f"{row.kind}: a credential or setting cannot be read") from None


def _try(adapter: Adapter | Link, account: Account, row: AccountRow, now: datetime) -> None:
    """Build what a message would need, without sending anything."""
    if isinstance(adapter, Link):
        adapter.check(account)
        return
    if adapter.check is not None:
        adapter.check(account)
        return
    channel = row.channels[0]
    adapter.request(
        OutgoingMessage("m-0", row.tenant, "t", "b", channel, PROBES[channel], "-", "-", deadline=now + timedelta(hours=1)), account, now
    )
    if adapter.token is not None:
        adapter.token.request(account, now)


def _add_pauses(routes: APIRouter, desk: AccountDesk) -> None:
    @routes.post("/providers/{name}:pause", summary="Stop sending through this provider")
    async def pause(name: str, wanted: PauseIn, caller: Operating) -> Response:
        return await _pause(desk, caller, name, reason=wanted.reason)

    @routes.post("/providers/{name}:resume", summary="Send through this provider again")
    async def resume(name: str, caller: Operating) -> Response:
        return await _pause(desk, caller, name, reason=None)


async def _pause(desk: AccountDesk, caller: Principal, name: str, *, reason: str | None) -> Response:
    async with desk.engine.begin() as conn:
        account = (caller.tenant, name)
        if not await (accounts.pause(conn, *account, reason=reason, by=caller.actor) if reason else accounts.resume(conn, *account)):
            raise DomainError(404, "not_found", f"there is no provider {name[:64]!r}")
        event = Event(await desk.clock.at(conn), "paused" if reason else "resumed", caller.actor, {"reason": reason} if reason else {})
        await health.note(conn, account, [event])
        row = await accounts.find(conn, caller.tenant, name)
    return answer(_shown(row) if row else None)


def _add_routes(routes: APIRouter, desk: AccountDesk) -> None:
    @routes.get("/routes", summary="Which providers carry which channels and countries, by weight")
    async def shown(caller: Reading, *, limit: Limit = MOST, cursor: Cursor) -> Response:
        async with desk.engine.connect() as conn:
            held = await accounts.routes(conn, caller.tenant)
        return page(*part(held.routes if held else (), cursor, limit), version=held.version if held else 0)

    @routes.put("/routes", summary="Set all routes")
    async def put(wanted: RoutesIn, caller: Operating) -> Response:
        items = [Route(one.channel, one.country, one.provider, one.weight) for one in wanted.items]
        if len({(one.channel, one.country, one.provider) for one in items}) < len(items):
            raise DomainError(422, "invalid_routes", "a provider may appear only once per channel and country")
        async with desk.engine.begin() as conn:
            offers = (await desk.directory.routing(conn)).offers(caller.tenant)
            for one in items:
                if one.provider not in offers or one.channel not in offers[one.provider].channels:
                    raise DomainError(422, "invalid_routes", f"there is no provider {one.provider!r} for {one.channel}")
            at = await desk.clock.at(conn)
            number = await accounts.put_routes(conn, caller.tenant, items, by=caller.actor, at=at)
        return page(items, version=number)


def _add_receipts(routes: APIRouter, desk: AccountDesk) -> None:
    @routes.post("/providers/{name}/{secret}/receipts", include_in_schema=False)
    @routes.get("/providers/{name}/{secret}/receipts", include_in_schema=False)
    async def receipts(name: str, secret: str, request: Request) -> Response:
        """Take in what a provider says; it needs no API key: its URL contains a secret, and its callbacks are signed."""
        url = desk.directory.receipts_url(name, secret)
        if url is None:
            raise DomainError(404, "not_found", "there is nothing here")
        return answer(await desk.receiver.take(name, secret, await callback_of(request, url)))


def _shown(row: AccountRow) -> dict[str, Any]:
    """Return an account as shown: the names of its credentials, but not their values."""
    return {
        "name": row.name, "kind": row.kind, "channels": row.channels, "sandbox": False, "settings": row.settings,
        "credentials": row.credential_names, "base_url": row.base_url, "at_once": row.at_once,
        "per_second": row.per_second, "version": row.version,
        "paused": row.paused, "paused_reason": row.paused_reason,
        "paused_by": row.paused_by, "by": row.by, "at": row.at,
    }  # fmt: skip
