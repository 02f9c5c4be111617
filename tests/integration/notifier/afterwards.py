"""Judges the ledger of contacts afterwards and from outside: the gate alone, and what a test itself knows of the people in it."""

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

from libs.common.value import replace
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
    decide,
)

_LEDGER = text(
    "select borrower_id, contact_id, at, channel, result, by, direction, lookup, kind, loans, task_id, decision"
    " from notifier.contacts order by at, borrower_id, contact_id"
)


@dataclass(frozen=True)
class Person:
    """A borrower as a test has told of him."""

    places: tuple[str, ...]
    zone: str
    due_on: date
    principal: int
    consents: frozenset[Channel] = frozenset()
    preferences: Preferences = field(default_factory=Preferences)
    stops: tuple[Stop, ...] = ()


@dataclass(frozen=True)
class Reading:
    """By what a ledger is judged."""

    packs: Packs
    profile: Profile
    role: Role


@dataclass(frozen=True)
class Entry:
    """A contact in the ledger; the decision is that which was kept with one of ours."""

    borrower: str
    id: str
    prior: Prior
    ours: bool
    decision: Mapping[str, Any] | None


async def ledger(engine: AsyncEngine) -> list[Entry]:
    """Return all contacts in the order of their moments."""
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
    """Return what is wrong with contacts of ours, each judged with all that stand at its moment or before it."""
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


def _against(entry: Entry, own: Sequence[Entry], others: Sequence[Entry], person: Person, reading: Reading) -> list[str]:
    """Return the rules that forbid a contact; what another owner of its number got counts in caps over numbers alone."""
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
    """Return what is wrong with the decision that was kept: it allowed this, then, on this channel."""
    kept = entry.decision
    if kept is None:
        return ["no decision is kept"]
    at, ends = datetime.fromisoformat(kept["at"]), datetime.fromisoformat(kept["window_ends"])
    prior = entry.prior
    same = (kept["decision"], kept["channel"], at, set(kept["facts"])) == ("allow", prior.channel, prior.at, {*prior.debts})
    return [] if same and ends > at else [f"another decision is kept: {kept}"]
