"""All debts, in portions of borrowers: as they are now, or as known at a past moment and updated from then on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.value import replace
from services.scheduler.domain.as_written import BEFORE
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import PENDING, Case, Contact, ContactState, Errand, Stage, State
from services.scheduler.domain.stops import Stop
from services.scheduler.domain.subjects import Begun, Given, Subject, Told
from services.scheduler.store import cases, reach
from services.scheduler.store.errands import WITHDRAWN
from services.scheduler.store.facts import debt_of
from services.scheduler.store.held import case_key

_RANGE = "d.tenant = :tenant and d.borrower_id > :after and d.borrower_id <= :upto"
_BOOKS = {
    "present": ("scheduler.debts d where d.tenant = :tenant and d.live"),
    "past": ("scheduler.debt_facts d where d.tenant = :tenant and d.known_at < :before"),
}
_KEYS = text(f"select distinct d.borrower_id, d.currency, d.case_loan from scheduler.debts d where {_RANGE} and d.live order by 1, 2, 3")
_FACTS = text(
    f"select d.borrower_id, d.known_at, d.fact from scheduler.debt_facts d where {_RANGE} and d.known_at < :before"
    " order by d.borrower_id, d.known_at, d.epoch, d.version, d.as_of, d.loan_id"
)
_CONTACTS = text(
    "select d.borrower_id, d.case_id, d.task_id, d.step, d.about, d.occurrence, d.state, d.requested_at, d.expires_at, d.reason, d.made_at"
    f" from scheduler.case_steps d where {_RANGE} and d.requested_at < :before order by d.requested_at, d.task_id"
)
_TASKS = text(
    "select d.borrower_id, d.case_id, d.task_id, d.key, d.occurrence, d.created_at, d.done_at, d.result from scheduler.tasks d"
    f" where {_RANGE} and d.created_at < :before order by d.created_at, d.task_id"
)
_ENDED = text(
    f"select d.detail from scheduler.timeline d where {_RANGE} and d.at >= :since"
    " and d.kind in ('contact.cancelled', 'contact.failed', 'contact.suppressed', 'contact.expired')"
)
_STATUSES = text(
    "select d.borrower_id, d.at, d.reason, d.detail from scheduler.timeline d"
    f" where {_RANGE} and d.kind = 'borrower.status' and d.at < :before order by d.at, d.seq"
)
_STANDING = text(
    f"select d.borrower_id, d.status_id, d.kind, greatest(d.from_at, d.time) as from_at, d.until from scheduler.statuses d where {_RANGE}"
    " and d.stands and d.time < :before order by d.status_id"
)
_fact = msgspec.json.Decoder(OverdueFact).decode


class _ContactTold(msgspec.Struct):
    """What the timeline says about a contact's end."""

    task_id: str


class _StatusTold(msgspec.Struct):
    """What the timeline says about a status."""

    status_id: str
    stands: bool
    until: datetime | None = None
    from_: datetime | None = msgspec.field(default=None, name="from")


_ended = msgspec.json.Decoder(_ContactTold).decode
_status = msgspec.json.Decoder(_StatusTold).decode


@dataclass(frozen=True, slots=True)
class Portion:
    """A tenant's borrowers after one key, up to and including another."""

    tenant: str
    after: str
    upto: str


@dataclass(frozen=True, slots=True)
class Book:
    """All debts: the current ones, or (with `before`) those known in the past."""

    tenant: str
    before: datetime | None = None

    @property
    def _source(self) -> str:
        return _BOOKS["present" if self.before is None else "past"]

    async def size(self, conn: AsyncConnection) -> int:
        """Return the number of borrowers."""
        found = await conn.execute(text(f"select count(distinct d.borrower_id) from {self._source}"), self._values)
        return int(found.scalar_one())

    async def portion(self, conn: AsyncConnection, after: str, limit: int) -> tuple[Portion, int] | None:
        """Return the next borrowers after a key, and their number; None at the end."""
        statement = text(
            "select count(*) as number, max(borrower_id) as last from"
            f" (select distinct d.borrower_id from {self._source} and d.borrower_id > :after order by 1 limit :limit) n"
        )
        row = (await conn.execute(statement, {**self._values, "after": after, "limit": limit})).one()
        return (Portion(self.tenant, after, row.last), row.number) if row.number else None

    @property
    def _values(self) -> dict[str, object]:
        return {"tenant": self.tenant} if self.before is None else {"tenant": self.tenant, "before": self.before}


async def present(conn: AsyncConnection, portion: Portion, now: datetime) -> list[Subject]:
    """Return these borrowers as they are now."""
    keys = [case_key(portion.tenant, *row) for row in await conn.execute(_KEYS, _values(portion))]
    if not keys:
        return []
    held = await cases.look(conn, keys, policy=(BUILT_IN.name, BUILT_IN.version))
    known = await reach.known(conn, sorted({(key.tenant, key.borrower_id) for key in keys}), since=now - reach.LOOKBACK, before=now)
    by_borrower: dict[str, list[Begun]] = {}
    for one in held:
        begun = Begun(one.case, (one.policy, one.policy_version), one.rests_until, one.in_doubt)
        by_borrower.setdefault(one.case.borrower_id, []).append(begun)
    return [
        Subject(portion.tenant, who, tuple(begun), known[portion.tenant, who].reach, known[portion.tenant, who].prior)
        for who, begun in by_borrower.items()
    ]


async def past(conn: AsyncConnection, portion: Portion, from_at: datetime, to: datetime) -> list[Subject]:
    """Return these borrowers with all facts known before `to`, and the contacts made before `from_at`."""
    told: dict[str, list[tuple[datetime, OverdueFact]]] = {}
    for row in await conn.execute(_FACTS, {**_values(portion), "before": to}):
        told.setdefault(row.borrower_id, []).append((row.known_at, _fact(row.fact)))
    if not told:
        return []
    before = await _before(conn, portion, from_at)
    for row in await conn.execute(_STATUSES, {**_values(portion), "before": to}):
        before.stops.setdefault(row.borrower_id, []).append((row.at, row.reason, row.detail))
    for row in await conn.execute(_STANDING, {**_values(portion), "before": to}):
        before.standing.setdefault(row.borrower_id, []).append(Stop(row.status_id, row.kind, row.from_at, row.until))
    borrowers = [(portion.tenant, who) for who in sorted(told)]
    known = await reach.known(conn, borrowers, since=from_at - reach.LOOKBACK, before=from_at)
    before.segments = await reach.segments(conn, borrowers)
    return [_of_the_past(who, told[who[1]], before, known[who]) for who in borrowers]


@dataclass(slots=True)
class _Before:
    """Past contacts and tasks by case, and stops in the timelines by borrower."""

    said: dict[str, list[Contact]] = field(default_factory=dict)
    given: dict[str, list[Given]] = field(default_factory=dict)
    stops: dict[str, list[tuple[datetime, str, bytes]]] = field(default_factory=dict)
    standing: dict[str, list[Stop]] = field(default_factory=dict)
    """Current stops: no timeline has those that were known before there was a case."""
    segments: dict[tuple[str, str], str] = field(default_factory=dict)


async def _before(conn: AsyncConnection, portion: Portion, from_at: datetime) -> _Before:
    found = _Before()
    later = {_ended(row.detail).task_id for row in await conn.execute(_ENDED, {**_values(portion), "since": from_at})}
    for row in await conn.execute(_CONTACTS, {**_values(portion), "before": from_at}):
        contact = Contact(
            row.task_id, BEFORE, row.step, row.about, row.occurrence, ContactState(row.state), row.requested_at, row.expires_at,
            reason=row.reason,
        )  # fmt: skip
        found.said.setdefault(row.case_id, []).append(_as_it_stood(contact, row.made_at, from_at, ended_later=row.task_id in later))
    for row in await conn.execute(_TASKS, {**_values(portion), "before": from_at}):
        done_at = row.done_at if row.done_at is not None and row.done_at < from_at else None
        withdrawn = done_at is not None and row.result == WITHDRAWN
        given = Given(row.created_at, Errand(row.task_id, row.key, row.occurrence, done_at, withdrawn))
        found.given.setdefault(row.case_id, []).append(given)
    return found


def _of_the_past(
    who: tuple[str, str], facts: Sequence[tuple[datetime, OverdueFact]], before: _Before, known: reach.Known
) -> Subject:  # fmt: skip
    tenant, borrower_id = who
    currencies = sorted({fact.currency for _, fact in facts})
    keys = [case_key(tenant, borrower_id, currency) for currency in currencies]
    loans = sorted({(fact.currency, fact.loan_id) for _, fact in facts})
    own = [key for currency, loan in loans if (key := case_key(tenant, borrower_id, currency, loan)).case_id in before.said | before.given]
    segment = before.segments.get(who)
    stops = _stops(before.stops.get(borrower_id, ()), before.standing.get(borrower_id, ()))
    begun = []
    for key in (*keys, *own):
        case = Case(
            tenant, borrower_id, key.case_id, key.currency, 0, State.CLOSED, Stage.CLEAR, opened_at=None, clear_since=None,
            contacts=tuple(before.said.get(key.case_id, ())), stops=stops, loan_id=key.loan_id, segment=segment or "",
        )  # fmt: skip
        begun.append(Begun(case, (BUILT_IN.name, BUILT_IN.version), given=tuple(before.given.get(key.case_id, ()))))
    told = tuple(Told(at, currencies.index(fact.currency), debt_of(fact, segment)) for at, fact in facts)
    return Subject(tenant, borrower_id, tuple(begun), known.reach, known.prior, told)


def _as_it_stood(contact: Contact, made_at: datetime | None, at: datetime, *, ended_later: bool) -> Contact:
    """Return a contact as known at that moment: under way if it went out, or ended, only later."""
    made_later = made_at is not None and made_at >= at
    open_still = made_at is None and (ended_later or contact.state in PENDING)
    if contact.expires_at > at and (made_later or open_still):
        return replace(contact, state=ContactState.REQUESTED, reason=None)
    return replace(contact, state=ContactState.EXPIRED) if contact.state in PENDING else contact


def _stops(entries: Iterable[tuple[datetime, str, bytes]], standing: Iterable[Stop]) -> tuple[Stop, ...]:
    """Return the stops in the timelines, each from when it was known until it changed, and those in no timeline."""
    told_of: set[str] = set()
    open_: dict[str, Stop] = {}
    over: list[Stop] = []
    for at, kind, detail in entries:
        told = _status(detail)
        told_of.add(told.status_id)
        if (before := open_.pop(told.status_id, None)) is not None and before.from_at < at:
            over.append(replace(before, until=at if before.until is None else min(at, before.until)))
        if told.stands:
            open_[told.status_id] = Stop(told.status_id, kind, max(at, told.from_ or at), told.until)
    return (*over, *open_.values(), *(stop for stop in standing if stop.status_id not in told_of))


def _values(portion: Portion) -> dict[str, object]:
    return {"tenant": portion.tenant, "after": portion.after, "upto": portion.upto}
