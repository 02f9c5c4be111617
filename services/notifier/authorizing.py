"""`POST /v1/contacts:authorize`: may a person make this contact now? A yes holds a slot in the caps until it is used or lapses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import ids
from libs.common.addresses import lookup_of
from libs.common.clock import Clock
from libs.common.contracts.borrower_profiles import BorrowerProfile, SealedAddress
from libs.common.contracts.contact_tasks import ContactRequested, DebtRef, PolicyRef
from libs.common.contracts.values import WITHOUT_NUL, Contract, Id
from libs.common.contracts.wallet_borrowers import PurposeName
from libs.common.value import replace
from libs.compliance import Allow, CapScope, Nature, Packs
from services.notifier import checking
from services.notifier.claiming import Doors
from services.notifier.directory import Directory
from services.notifier.domain.delivery import Delivery
from services.notifier.domain.gatekeeping import Asked, ask, counters, jurisdictions, kept, unstopped
from services.notifier.domain.judging import Scene, judge
from services.notifier.domain.known import Known
from services.notifier.domain.owed import still_owed
from services.notifier.domain.reserving import HELD_FOR, RESERVED, WHY, address_of, barred, meant
from services.notifier.domain.tenant import TenantSettings
from services.notifier.domain.verdicts import Decision
from services.notifier.finding import expect_known
from services.notifier.ledger import Ledger, counted
from services.notifier.store import borrowers, contacts, gates, known, reservations
from services.notifier.store.borrowers import Who
from services.notifier.store.contacts import Contact
from services.notifier.store.reservations import Slot
from services.notifier.texts import settings_of

ManualChannel = Literal["call", "ai_voice", "voicemail", "visit", "letter", "chat", "private_message"]
"""Channels used by people and other systems; the notifier itself sends on the others."""
_Line = Annotated[str, Meta(min_length=1, max_length=128, pattern=WITHOUT_NUL)]


class AuthorizeIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A contact somebody is about to make; without `to` it may go to any of the borrower's addresses of that kind."""

    borrower_id: Id
    debt: Id
    channel: ManualChannel
    by: _Line
    to: Annotated[str, Meta(min_length=1, max_length=4096)] | None = None
    purpose: PurposeName = "dunning"
    addressee: _Line = "debtor"


@dataclass(frozen=True, slots=True)
class Permitted:
    """A yes, in the form in which it is stored."""

    allow: Allow
    decision: Decision
    lookups: tuple[str, ...]
    """The addresses it may go to."""


@dataclass(frozen=True, slots=True)
class Case:
    """A contact as a claim would see it: the borrower, the request, and everything known."""

    who: Who
    wanted: AuthorizeIn
    known: Known
    request: ContactRequested
    address: SealedAddress

    @property
    def places(self) -> tuple[str, ...]:
        """Return the jurisdictions named by any source."""
        return jurisdictions(self.request, self.known)

    def asked(self, now: datetime) -> Asked:
        """Return the question for the gate."""
        debts = unstopped(still_owed(self.request, self.known.facts, now).debts, self.request, self.known, now)
        return Asked(self.request, self.known, self.wanted.channel, self.address, debts, self.places, self.wanted.addressee)


@dataclass(frozen=True, slots=True)
class Desk:
    """Authorises contacts that people make, under the same locks as a claim."""

    engine: AsyncEngine
    clock: Clock
    packs: Packs
    directory: Directory
    digest_key: bytes
    partitions: int
    stale_after: timedelta

    async def authorize(self, tenant: str, wanted: AuthorizeIn) -> dict[str, object]:
        """Return the answer in the form of a compliance check, with a reservation if it is a yes."""
        who = (tenant, wanted.borrower_id)
        async with self.engine.begin() as conn:
            await expect_known(conn, *who)
            await borrowers.lock(conn, [who])
            locked = await borrowers.lock_free(conn, [who])  # this transaction already holds the row lock
            house = (await settings_of(conn, {tenant})).get(tenant, TenantSettings()).house
            mine = replace((await known.known_of(conn, locked))[who], house=house)
            answer = await self._decide(conn, who, mine, wanted)
            if not isinstance(answer, Permitted):
                return answer
            slot = _slot(answer, who, wanted)
            await reservations.reserve(conn, slot)
            held = {"id": slot.contact.contact_id, "until": slot.until}
            return {**checking.written(answer.allow, _zone(mine.profile)), "reservation": held}

    async def _decide(self, conn: AsyncConnection, who: Who, mine: Known, wanted: AuthorizeIn) -> Permitted | dict[str, object]:
        """Make all the checks of a claim, in its order; return the refusal as written, or a yes that holds for every possible address."""
        if (profile := mine.profile) is None:
            return _barred("erased" if mine.erased else "profile_unknown")
        named = lookup_of(self.digest_key, who[0], wanted.channel, wanted.to) if wanted.to else None
        found = [address_of(profile, wanted.channel, lookup) for lookup in meant(profile, wanted.channel, named)]
        addresses = [address for address in found if address is not None]
        if not addresses:
            return _barred("address_unknown")
        request = _request(wanted, await self.clock.at(conn))
        cases = [Case(who, wanted, replace(mine, profile=replace(profile, addresses=(one,))), request, one) for one in addresses]
        ledger = await self._count(conn, cases)
        scene = await self._scene(conn, cases[0], ledger)
        now = await self.clock.at(conn)
        answers = [self._answer(case, replace(scene, known=case.known), ledger, now) for case in cases]
        return _combined(answers)

    def _answer(self, case: Case, scene: Scene, ledger: Ledger, now: datetime) -> Permitted | dict[str, object]:
        zone = _zone(case.known.profile)
        if (found := barred(judge(Delivery(*case.who, case.request.task_id, case.request), scene, now))) is not None:
            return _barred(*found, zone=zone)
        if scene.shadowed & {"*", case.wanted.channel}:
            return _barred("shadow")
        asked = case.asked(now)
        answer = ask(asked, ledger.earlier(case.who, case.address.lookup), self.packs, now=now)
        if isinstance(answer, Allow):
            return Permitted(answer, kept(answer, asked, now), (case.address.lookup,))
        return checking.written(answer, zone)

    async def _count(self, conn: AsyncConnection, cases: Sequence[Case]) -> Ledger:
        """Lock the counters for this contact, then read what they count."""
        keys: set[tuple[str, str, str]] = set()
        lookups: set[tuple[str, str]] = set()
        for case in cases:
            caps = counters(case.asked(case.request.not_before), self.packs, now=case.request.not_before)
            keys |= {contacts.row_of(*case.who, cap) for cap in caps}
            if case.address.lookup and any(cap.scope is CapScope.NUMBER for cap in caps):
                lookups.add((case.who[0], case.address.lookup))
        return await counted(conn, keys, lookups, [cases[0].who], now=cases[0].request.not_before)

    async def _scene(self, conn: AsyncConnection, case: Case, ledger: Ledger) -> Scene:
        """Return the scene that a claim would judge; the channel is carried, by the person who makes the contact."""
        doors = Doors(await gates.watermarks(conn), await gates.switches(conn), await self.directory.routing(conn))
        return Scene(
            known=case.known,
            places=case.places,
            pipeline=doors.pipeline(case.who, self.partitions, now=case.request.not_before, stale_after=self.stale_after),
            switched_off=doors.channels(case.who[0], "off", case.request, case.places),
            shadowed=doors.channels(case.who[0], "shadow", case.request, case.places),
            channels={case.wanted.channel: True},
            resting=frozenset(),
            earlier=lambda lookup: ledger.earlier(case.who, lookup),
            packs=self.packs,
        )


def _combined(answers: Sequence[Permitted | dict[str, object]]) -> Permitted | dict[str, object]:
    """Return the first refusal; without one, a single yes for all the addresses."""
    yes = [answer for answer in answers if isinstance(answer, Permitted)]
    if len(yes) < len(answers):
        return next(answer for answer in answers if not isinstance(answer, Permitted))
    return Permitted(yes[0].allow, yes[0].decision, tuple(lookup for one in yes for lookup in one.lookups))


def _request(wanted: AuthorizeIn, now: datetime) -> ContactRequested:
    """Return the contact as a task due now, so that it is judged like one."""
    return ContactRequested(
        task_id="-", borrower_id=wanted.borrower_id, case_id="-", policy=PolicyRef(name="-", version=0), step="-", template="-",
        purpose=wanted.purpose, channels=(wanted.channel,), not_before=now, expires_at=now + HELD_FOR,
        debts=(DebtRef(loan_id=wanted.debt, fact_epoch=0, fact_version=0),),
    )  # fmt: skip


def _slot(permitted: Permitted, who: Who, wanted: AuthorizeIn) -> Slot:
    at = permitted.decision.at
    contact = Contact(
        *who, f"r-{ids.fresh()}", at, wanted.channel, RESERVED, wanted.by, kind=wanted.purpose, loans=(wanted.debt,),
        decision=permitted.decision,
    )  # fmt: skip
    return Slot(contacts.gone_to(contact, permitted.lookups), min(at + HELD_FOR, permitted.allow.window_ends))


def _barred(word: str, end: datetime | None = None, *, zone: ZoneInfo | None = None) -> dict[str, object]:
    """Return a refusal that comes from no pack rule, in the same form as one that does."""
    until = checking.local(end, zone)
    cite = f"product default: {WHY.get(word, word)}"
    rule = {"rule": word, "nature": Nature.PRODUCT_DEFAULT.value, "kind": "state", "cite": cite, "until": until}
    return {"decision": "deny", "earliest": until, "rules": [rule], "packs": {}}


def _zone(profile: BorrowerProfile | None) -> ZoneInfo | None:
    """Return the zone for the times in the answer: the borrower's."""
    return ZoneInfo(profile.timezone) if profile is not None and profile.timezone else None
