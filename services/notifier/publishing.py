"""The life of a tenant's text: drafted, tried, published once the rules accept it, retired. A published version never changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.value import asdict, replace
from libs.compliance import Channel, Circumstances, ContentKind, Packs, Preferences, Profile, Proposed, Purpose, Role, content_asked, faults
from services.notifier import samples
from services.notifier.domain.message import Draft, Lender, Rendered, Saying, TextRef, draft
from services.notifier.domain.tenant import TenantSettings
from services.notifier.rendering import Compiled, RenderError, Source, as_read, compiled, problems
from services.notifier.store import templates
from services.notifier.store.templates import NewVersion, Version
from services.notifier.texts import SHIPPED, Shipped, Texts, settings_of

Found = dict[str, object]
"""One problem with a text, as returned over HTTP."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A text to judge: where it is used, and in which jurisdictions (None: everywhere)."""

    source: Source
    ref: TextRef
    purpose: str
    jurisdictions: Sequence[str] | None
    lender: Lender


@dataclass(frozen=True, slots=True)
class Publisher:
    """Manages a tenant's texts for the routes."""

    engine: AsyncEngine
    clock: Clock
    texts: Texts
    packs: Packs

    async def add(self, new: NewVersion) -> tuple[Version, list[Found]]:
        """Store a draft, whatever it contains, and return what would keep it from being published."""
        self.known(new.jurisdictions)
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            row = await templates.add(conn, new, now=now)
            mine = await settings_of(conn, [new.tenant])
        return row, self.judge(_trial(row, mine.get(new.tenant, TenantSettings()).lender(new.tenant)), now)

    async def publish(self, tenant: str, name: str, version: int, *, by: str) -> Version:
        """Publish a draft, and retire the version it replaces; refused while it has any problem."""
        async with self.engine.begin() as conn:
            row = await self._draft(await templates.lock(conn, tenant, name, version), name, version, ("draft",))
            now = await self.clock.at(conn)
            mine = await settings_of(conn, [tenant])
            if found := self.judge(_trial(row, mine.get(tenant, TenantSettings()).lender(tenant)), now):
                raise DomainError(422, "template_refused", f"{found[0]['part'] or 'text'}: {found[0]['detail']}", problems=found)
            return await templates.publish(conn, tenant, row, by=by, now=now)

    async def retire(self, tenant: str, name: str, version: int, *, by: str) -> Version:
        """Retire a version; the shipped text applies again unless another version is published."""
        async with self.engine.begin() as conn:
            row = await self._draft(await templates.lock(conn, tenant, name, version), name, version, ("draft", "published"))
            return await templates.retire(conn, tenant, row, by=by, now=await self.clock.at(conn))

    async def lender(self, tenant: str) -> tuple[Lender, TenantSettings]:
        """Return the lender of a tenant, and all its settings."""
        async with self.engine.connect() as conn:
            mine = (await settings_of(conn, [tenant])).get(tenant, TenantSettings())
        return mine.lender(tenant), mine

    def shipped(self, name: str) -> list[Shipped]:
        """Return the shipped texts of this name."""
        return [one for place, one in sorted(self.texts.shipped.items()) if place[0] == name]

    def judge(self, trial: Trial, now: datetime) -> list[Found]:
        """Return every problem with a text: in what it contains, and in what it says to each kind of reader."""
        if found := problems(trial.source, trial.ref.channel):
            return [{"kind": "template", "part": p.part, "line": p.line, "detail": p.detail} for p in found]
        text = compiled(trial.source, trial.ref)
        every = [fault for said, name in self._readers(trial, now) for fault in _wrong(text, said, name)]
        return list({(one["kind"], one["part"], one["detail"]): one for one in every}.values())

    def asks(self, trial: Trial, now: datetime) -> frozenset[ContentKind]:
        """Return what the rules of these jurisdictions require of a text; without any named, those of all packs."""
        places = [(place,) for place in self.packs] if trial.jurisdictions is None else [tuple(trial.jurisdictions)]
        proposed = Proposed(at=now, channel=Channel(trial.ref.channel), purpose=Purpose(trial.purpose))
        return frozenset().union(*(content_asked(proposed, _anybody(place), self.packs) for place in places))

    def _readers(self, trial: Trial, now: datetime) -> Iterator[tuple[Draft, str | None]]:
        """Yield what to try the text with: most and fewest requirements, one debt and several, with and without name and link."""
        most = self.asks(trial, now)
        for asks in dict.fromkeys((most, self.asks(dataclasses.replace(trial, jurisdictions=()), now))):
            saying = Saying(
                trial.lender, trial.ref.locale, plain=trial.ref.channel == "sms", reminder=trial.purpose == "reminder", asks=asks,
                variables=samples.Anything(),
            )  # fmt: skip
            for book in samples.BOOKS:
                said = draft(samples.facts(book), saying)
                yield from ((replace(said, link=samples.EXAMPLE), samples.NAME), (said, None))

    def known(self, jurisdictions: Sequence[str] | None) -> None:
        """Refuse jurisdictions that no pack covers."""
        for place in jurisdictions or ():
            if self.packs.locate(place) is None:
                raise DomainError(422, "invalid_template", f"jurisdictions: there is no pack for {place[:64]!r}")

    async def _draft(self, row: Version | None, name: str, version: int, states: tuple[str, ...]) -> Version:
        if row is None:
            if version == SHIPPED and self.shipped(name):
                raise DomainError(409, "wrong_state", "version 0 is shipped with the product: publish one of your own in its place")
            raise DomainError(404, "not_found", f"there is no version {version} of {name[:64]!r}")
        if row.state not in states:
            raise DomainError(409, "wrong_state", f"version {version} is {row.state}: it must be {' or '.join(states)}")
        return row


def _wrong(text: Compiled, said: Draft, name: str | None) -> Iterator[Found]:
    try:
        read = text.render(said, name=name)
    except RenderError as error:
        yield {"kind": "template", "part": None, "line": None, "detail": str(error)}
        return
    yield from content_problems(read, text.ref, said)


def content_problems(read: Rendered, ref: TextRef, said: Draft) -> Iterator[Found]:
    """Yield the rules' objections to a text as it is read."""
    for fault in faults(as_read(read, ref, said), said.asks):
        yield {**asdict(fault), "kind": fault.kind.value, "detail": fault.reason, "part": fault.part}


def _trial(row: Version, lender: Lender) -> Trial:
    ref = TextRef(row.name, row.locale, row.channel, row.version)
    return Trial(Source(row.body, row.subject, row.html), ref, row.purpose, row.jurisdictions, lender)


def _anybody(jurisdictions: tuple[str, ...]) -> Circumstances:
    return Circumstances(
        jurisdictions=jurisdictions, zones=None, profile=Profile.STRICT, role=Role.FIRST_PARTY, consents=None, preferences=Preferences(),
        tenant_hours=None, stops=(), prior=(),
    )  # fmt: skip
