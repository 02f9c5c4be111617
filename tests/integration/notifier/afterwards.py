"""Judges the ledger of contacts afterwards and from outside: by the gate alone, by a second implementation of the notes that shares no code
with it, and by what a test knows about the people in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.value import asdict, replace
from libs.compliance import (
    Allow,
    CapScope,
    Channel,
    Circumstances,
    DebtFacts,
    Deny,
    Packs,
    Preferences,
    Prior,
    Profile,
    Proposed,
    Purpose,
    Role,
    Stop,
    StopKind,
    decide,
)
from tests.support.second_reading import NOTES, forbids

SATURDAY = 5
_LEDGER = text(
    "select borrower_id, contact_id, at, channel, result, by, direction, lookup, kind, loans, task_id, decision"
    " from notifier.contacts order by at, borrower_id, contact_id"
)


@dataclass(frozen=True)
class Person:
    """A borrower, as a test has described them."""

    places: tuple[str, ...]
    zone: str
    due_on: date
    principal: int
    consents: frozenset[Channel] = frozenset()
    preferences: Preferences = field(default_factory=Preferences)
    stops: tuple[Stop, ...] = ()
    no_mornings: bool = False
    """The borrower wants no contact from 07:00 to 12:00, Monday to Friday; `preferences` say the same."""


@dataclass(frozen=True)
class Reading:
    """What a ledger is judged by."""

    packs: Packs
    profile: Profile
    role: Role


@dataclass(frozen=True)
class Entry:
    """A contact in the ledger, with the stored decision if it is one of ours."""

    borrower: str
    id: str
    prior: Prior
    ours: bool
    decision: Mapping[str, Any] | None


async def ledger(engine: AsyncEngine) -> list[Entry]:
    """Return all contacts in order of time."""
    async with engine.connect() as conn:
        rows = (await conn.execute(_LEDGER)).all()
    return [
        Entry(
            row.borrower_id,
            row.contact_id,
            Prior(row.at, Channel(row.channel), row.result, tuple(row.loans), row.by, row.direction, row.lookup, row.kind),
            row.task_id is not None,
            msgspec.json.decode(row.decision) if row.decision else None,
        )
        for row in rows
    ]


def faults(entries: Sequence[Entry], people: Mapping[str, Person], reading: Reading) -> list[str]:
    """Return the faults of our contacts, each judged against everything at its time or before it."""
    own, by_number = defaultdict[str, list[Entry]](list), defaultdict[str | None, list[Entry]](list)
    for entry in entries:
        own[entry.borrower].append(entry)
        by_number[entry.prior.to].append(entry)
    found = []
    for entry in (one for one in entries if one.ours):
        others = [one for one in by_number[entry.prior.to] if one.borrower != entry.borrower]
        reasons = _against(entry, own[entry.borrower], others, people[entry.borrower], reading)
        found += [f"{entry.id} at {entry.prior.at:%m-%d %H:%M}: {reason}" for reason in (*reasons, *_ill_kept(entry))]
    return found


def faults_of_second_reading(entries: Sequence[Entry], people: Mapping[str, Person], reading: Reading) -> list[str]:
    """Return the faults of our contacts by a second implementation of the notes, by wishes and by deaths; the gate is not asked."""
    found = []
    for entry in (one for one in entries if one.ours):
        person = people[entry.borrower]
        earlier = [one for one in entries if one.id != entry.id and one.prior.at <= entry.prior.at]
        spoken = [*_read_again(entry, earlier, person, reading), *_unwished(entry.prior.at.astimezone(ZoneInfo(person.zone)), person)]
        found += [f"{entry.id} at {entry.prior.at:%m-%d %H:%M}: {rule}" for rule in spoken]
    return found


def _read_again(entry: Entry, earlier: Sequence[Entry], person: Person, reading: Reading) -> list[str]:
    if not set(person.places) <= set(NOTES):
        return _in_the_country_of_shared_numbers(entry, earlier, ZoneInfo(person.zone))
    question = {
        "jurisdictions": person.places, "timezones": [person.zone], "profile": reading.profile.value, "consents": person.consents,
        "prior": [_written(one.prior, debt) for one in earlier if one.borrower == entry.borrower for debt in one.prior.debts],
    }  # fmt: skip
    asked = [{**_written(entry.prior, debt), "purpose": entry.prior.kind or "dunning"} for debt in entry.prior.debts]
    return [rule for proposed in asked for rule in forbids({**question, "proposed": proposed}, entry.prior.at)]


def _written(prior: Prior, debt: str) -> dict[str, object]:
    return {**asdict(prior), "at": prior.at.isoformat(), "debt": debt}


def _in_the_country_of_shared_numbers(entry: Entry, earlier: Sequence[Entry], zone: ZoneInfo) -> list[str]:
    local = entry.prior.at.astimezone(zone)
    same = [one for one in earlier if one.prior.to == entry.prior.to and one.prior.at.astimezone(zone).date() == local.date()]
    return [*([] if 8 <= local.hour < 22 else ["hours"]), *(["number"] if same else [])]


def _unwished(local: datetime, person: Person) -> list[str]:
    morning = person.no_mornings and local.weekday() < SATURDAY and 7 <= local.hour < 12
    dead = any(stop.since <= local for stop in person.stops if stop.kind is StopKind.DECEASED)
    return [*(["no mornings"] if morning else []), *(["dead"] if dead else [])]


def _against(entry: Entry, own: Sequence[Entry], others: Sequence[Entry], person: Person, reading: Reading) -> list[str]:
    """Return the rules that forbid a contact; contacts of another owner of its number count only in caps over numbers."""
    prior = entry.prior
    proposed = Proposed(prior.at, prior.channel, Purpose(prior.kind or "dunning"), prior.debts, to=prior.to)
    circumstances = Circumstances(
        jurisdictions=person.places, zones=(person.zone,), profile=reading.profile, role=reading.role, consents=person.consents,
        stops=person.stops, tenant_hours=None, preferences=person.preferences, prior=_before(entry, own),
        debt_facts={debt: _facts(person, prior.at) for debt in prior.debts},
    )  # fmt: skip
    alone = decide(proposed, circumstances, reading.packs)
    if isinstance(alone, Deny):
        return [reason.rule for reason in alone.reasons]
    over_numbers = {key.cap for key in alone.reservations if key.scope is CapScope.NUMBER}
    wider = decide(proposed, replace(circumstances, prior=circumstances.prior + _before(entry, others)), reading.packs)
    return [] if isinstance(wider, Allow) else [reason.rule for reason in wider.reasons if reason.rule in over_numbers]


def _before(entry: Entry, entries: Sequence[Entry]) -> tuple[Prior, ...]:
    return tuple(one.prior for one in entries if one.id != entry.id and one.prior.at <= entry.prior.at)


def _facts(person: Person, at: datetime) -> DebtFacts:
    days = (at.astimezone(ZoneInfo(person.zone)).date() - person.due_on).days
    return DebtFacts(past_due_days=days, principal=person.principal, product="cash-loan", due_on=person.due_on)


def _ill_kept(entry: Entry) -> list[str]:
    """Return what is wrong with the stored decision: it must have allowed this contact, at that time, on that channel."""
    kept = entry.decision
    if kept is None:
        return ["no decision is kept"]
    at, ends = datetime.fromisoformat(kept["at"]), datetime.fromisoformat(kept["window_ends"])
    prior = entry.prior
    same = (kept["decision"], kept["channel"], at, set(kept["facts"])) == ("allow", prior.channel, prior.at, {*prior.debts})
    return [] if same and ends > at else [f"another decision is kept: {kept}"]
