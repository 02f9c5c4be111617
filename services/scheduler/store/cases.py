"""Case rows: created, locked in key order, claimed when due, written back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.arrays import joined
from libs.common.errors import TransientError
from libs.common.value import Value, replace
from services.scheduler.domain.case import Case, Contact, Debt, Errand, Stage, State
from services.scheduler.domain.promises import Promise
from services.scheduler.domain.stops import Stop
from services.scheduler.domain.trials import Trial
from services.scheduler.store import dealings, debts, holds, promises, statuses, story
from services.scheduler.store.arrays import ID, MOMENT, WORDS, arrayed, transposed, unnest
from services.scheduler.store.facts import debt_stored
from services.scheduler.store.held import ASSIGNMENT, UNREADABLE, CaseKey, Held, why_unread

BEGINNING = (datetime(1970, 1, 1, tzinfo=UTC), "")
"""Where a pass over the due cases begins: before every key."""

_KEYS = {"tenant": ID, "borrower_id": ID, "case_id": ID, "currency": WORDS, "loan_id": WORDS}
_BORROWERS = {"tenant": ID, "borrower_id": ID}
_ONE = {**_BORROWERS, "case_id": ID}
_PLANNED = {
    "unsettled_since": MOMENT, "rests_until": MOMENT, "newest_fact_at": MOMENT, "next_at": MOMENT,
    "contact_at": MOMENT, "contact_step": ID, "reason": ID, "reason_until": MOMENT, "reason_event": ID,
    "reason_task": ID, "in_doubt": "text", "moved_at": MOMENT,
}  # fmt: skip
_LIVED = {
    "state": ID, "stage": ID, "spell": "int", "opened_at": MOMENT, "clear_since": MOMENT, "nonpayment_reason": ID,
    "handed_to": "text", "handed_at": MOMENT, "chosen_in": WORDS,
}  # fmt: skip
_RULED = {"policy": ID, "policy_version": "int"}
_MARKED = {"passed": WORDS, "flagged": WORDS, "acted": WORDS}
"""Step ids separated by spaces: an array of arrays cannot be unnested into rows."""
_TRIED = {"trial": ID}
_SETTLED = {**_LIVED, **_MARKED, **_TRIED, **_RULED}
"""Columns that seldom change: if all of them are as read, only the planned ones are written."""
_READ = ", ".join(f"c.{name}" for name in (*_KEYS, *_SETTLED, *_PLANNED))
_PLANNED_FROM = len(_KEYS) + len(_SETTLED)
_NONPAYMENT = list(_SETTLED).index("nonpayment_reason")
_MAKE = text(
    "insert into scheduler.cases (tenant, borrower_id, case_id, currency, loan_id, assignment, policy, policy_version, state, stage, spell)"
    f" select tenant, borrower_id, case_id, currency, loan_id, '{ASSIGNMENT}', :policy, :version, 'closed', 'clear', 0"
    f" from {unnest(_KEYS, 'v')} order by tenant, borrower_id, case_id on conflict do nothing"
)
_WAKE = text(
    "update scheduler.cases c set next_at = least(c.next_at, :now), newest_fact_at = greatest(c.newest_fact_at, k.fact_at)"
    f" from {unnest({**_KEYS, 'fact_at': MOMENT}, 'k')}"
    " where (c.tenant, c.borrower_id, c.case_id) = (k.tenant, k.borrower_id, k.case_id) and c.in_doubt is null"
)
_WAKE_OTHERS = text(
    f"update scheduler.cases c set next_at = least(c.next_at, :at) from {unnest(_ONE, 'k')}"
    " where (c.tenant, c.borrower_id) = (k.tenant, k.borrower_id) and c.case_id <> k.case_id and c.state <> 'closed' and c.in_doubt is null"
)
_OF_KEY = (
    "cross join lateral (select * from scheduler.cases c where (c.tenant, c.borrower_id, c.case_id) = (k.tenant, k.borrower_id, k.case_id)"
)
"""An index lookup for each key: a join may scan the whole table, as it does the first five times on a connection."""
_LOCK = text(f"select {_READ} from (select * from {unnest(_KEYS, 'v')} order by tenant, borrower_id, case_id) k {_OF_KEY} for update) c")
_LOOK = text(f"select {_READ} from {unnest(_KEYS, 'k')} {_OF_KEY} limit 1) c")
_LOCK_BORROWERS = text(
    f"select {_READ} from (select * from {unnest(_BORROWERS, 'v')} order by tenant, borrower_id) k cross join lateral (select *"
    " from scheduler.cases c where (c.tenant, c.borrower_id) = (k.tenant, k.borrower_id) order by c.case_id for update) c"
)
_KEYS_OF = text(
    f"select c.tenant, c.borrower_id, c.case_id, c.currency, c.loan_id from {unnest(_BORROWERS, 'k')} join scheduler.cases c"
    " on (c.tenant, c.borrower_id) = (k.tenant, k.borrower_id) order by c.tenant, c.borrower_id, c.case_id"
)
CLAIM = text(
    f"select {_READ} from scheduler.cases c where c.next_at <= :now and (c.next_at, c.case_id) > (:after_at, :after_id)"
    " order by c.next_at, c.case_id limit :limit for update skip locked"
)
_COUNTED = "select {table}.tenant, coalesce({table}.reason, 'unplanned') as reason, {sign} as number from {table}"
_IS_LATE = "{table}.state = 'open' and {table}.stage = 'overdue'"


def _saving(columns: Mapping[str, str]) -> str:
    """Return the statement that writes these columns of cases.

    It also records by how much the number of overdue cases with each reason changes, so that counting them needs no table scan.
    """
    return (
        f"with v as (select * from {unnest({**_KEYS, **columns}, 'n')}),"
        " before as (select k.tenant, c.reason, c.state, c.stage from v k"
        f" {_OF_KEY} limit 1) c),"
        f" changed as (update scheduler.cases c set {', '.join(f'{name} = v.{name}' for name in columns)}"
        " from v where (c.tenant, c.borrower_id, c.case_id) = (v.tenant, v.borrower_id, v.case_id)"
        " returning c.tenant, c.reason, c.state, c.stage)"
        " insert into scheduler.case_counts (tenant, reason, number) select tenant, reason, sum(number) from ("
        f"{_COUNTED.format(table='before', sign=-1)} where {_IS_LATE.format(table='before')} union all"
        f" {_COUNTED.format(table='changed', sign=1)} where {_IS_LATE.format(table='changed')}"
        ") d group by tenant, reason having sum(number) <> 0"
    )


_SAVE, _SAVE_PLANNED = text(_saving({**_SETTLED, **_PLANNED})), text(_saving(_PLANNED))
_WHOLE = {**_KEYS, **_SETTLED, **_PLANNED}
_BEGIN = text(
    f"with begun as (insert into scheduler.cases ({', '.join(_WHOLE)}, assignment) select {', '.join(_WHOLE)}, '{ASSIGNMENT}'"
    f" from {unnest(_WHOLE, 'v')} order by tenant, borrower_id, case_id returning tenant, reason, state, stage)"
    " insert into scheduler.case_counts (tenant, reason, number) select tenant, reason, sum(number) from ("
    f"{_COUNTED.format(table='begun', sign=1)} where {_IS_LATE.format(table='begun')}) d group by tenant, reason"
)
_FIND = text(f"select {_READ} from scheduler.cases c where c.tenant = :tenant and c.case_id = :case_id and c.spell > 0")


class Told(Value, frozen=True):
    """A debt as told by a fact this transaction has stored, and the segment used for it: what is already in hand is not read again."""

    case: debts.CaseOf
    fact: bytes
    segment: str | None
    debt: Debt

    def within(self, segment: str | None) -> Debt:
        """Return the debt of a borrower who is now in this segment."""
        return self.debt if self.segment == segment else debt_stored(self.fact, segment)


ToldBy = Mapping[debts.DebtKey, Told]
_NOTHING_TOLD: ToldBy = {}
_Reading = Callable[[AsyncConnection, list[Held], ToldBy], Awaitable[list[Held]]]


async def wake(conn: AsyncConnection, woken: Mapping[CaseKey, datetime], now: datetime, *, policy: tuple[str, int]) -> None:
    """Make these cases due now, each with the moment of the newest fact behind it; new ones are closed and have no spell yet."""
    keys = sorted(woken)
    missing = sorted(set(keys) - {one.key for one in await lock_rows(conn, keys)})
    if missing:
        await conn.execute(_MAKE, {**transposed(_KEYS, missing), "policy": policy[0], "version": policy[1]})
        await lock_rows(conn, missing)  # those somebody else has created meanwhile
    await conn.execute(_WAKE, {**transposed(_KEYS, keys), "fact_at": arrayed(MOMENT, [woken[key] for key in keys]), "now": now})


async def wake_others(conn: AsyncConnection, of: Sequence[holds.CaseOf], at: datetime) -> None:
    """Make the other cases of these borrowers due: what paused them has ended here.

    They are locked out of key order. If somebody is waiting for one of ours meanwhile, PostgreSQL aborts one of the two, which is retried.
    """
    if of:
        await conn.execute(_WAKE_OTHERS, {**transposed(_ONE, of), "at": at})


async def lock_rows(conn: AsyncConnection, keys: Iterable[CaseKey]) -> list[Held]:
    """Lock these cases in key order; nothing but their rows is read."""
    found = await conn.execute(_LOCK, transposed(_KEYS, sorted(dict.fromkeys(keys))))  # already sorted keys cost no sort
    return [_held(row) for row in found]


async def lock(conn: AsyncConnection, keys: Iterable[CaseKey]) -> list[Held]:
    """Lock these cases in key order and read them in full."""
    return await _filled(conn, await lock_rows(conn, keys))


async def lock_or_begin(
    conn: AsyncConnection, keys: Iterable[CaseKey], begun: Iterable[CaseKey], *, policy: tuple[str, int], told: ToldBy = _NOTHING_TOLD
) -> list[Held]:
    """Lock these cases in key order and read them in full; those of `begun` without a row get one when they are saved.

    Existing rows are locked before new ones are begun: so locks come before inserts everywhere, each in key order.
    """
    rows = await lock_rows(conn, keys)
    there = {one.key for one in rows}
    new = sorted(key for key in dict.fromkeys(begun) if key not in there)
    return [*await _filled(conn, rows, told), *await _filled_anew(conn, [_unopened(key, policy) for key in new], told)]


async def keys_of_borrowers(conn: AsyncConnection, borrowers: Iterable[tuple[str, str]]) -> list[CaseKey]:
    """Return the keys of all cases of these (tenant, borrower), without locking."""
    tenants, ids = zip(*sorted(set(borrowers)), strict=True)
    return [CaseKey(*row) for row in await conn.execute(_KEYS_OF, {"tenant": joined(tenants), "borrower_id": joined(ids)})]


async def look(conn: AsyncConnection, keys: Iterable[CaseKey], *, policy: tuple[str, int]) -> list[Held]:
    """Read these cases in full in key order without locking them; one without a row is closed and has no spell yet."""
    ordered = sorted(set(keys))
    found = {one.key: one for one in (_held(row) for row in await conn.execute(_LOOK, transposed(_KEYS, ordered)))}
    return await _filled(conn, [found.get(key) or _unopened(key, policy) for key in ordered])


async def lock_of_borrowers(conn: AsyncConnection, borrowers: Iterable[tuple[str, str]]) -> list[Held]:
    """Lock all cases of these (tenant, borrower) in key order and read them in full."""
    tenants, ids = zip(*sorted(set(borrowers)), strict=True)
    found = await conn.execute(_LOCK_BORROWERS, {"tenant": joined(tenants), "borrower_id": joined(ids)})
    return await _filled(conn, [_held(row) for row in found])


async def claim_due(conn: AsyncConnection, now: datetime, *, after: tuple[datetime, str], limit: int) -> list[Held]:
    """Lock the due cases after a key that nobody else has locked, and read them in full."""
    found = await conn.execute(CLAIM, {"now": now, "after_at": after[0], "after_id": after[1], "limit": limit})
    return await _filled(conn, [_held(row) for row in found])


async def find(conn: AsyncConnection, tenant: str, case_id: str) -> Held | None:
    """Read a case in full without locking it."""
    found = (await conn.execute(_FIND, {"tenant": tenant, "case_id": case_id})).all()
    return (await _filled(conn, [_held(found[0])]))[0] if found else None


async def save(conn: AsyncConnection, held: Sequence[Held]) -> None:
    """Write locked cases back, or insert those without a row; raise TransientError if somebody else has inserted one."""
    moved: list[Held] = []
    changed: list[tuple[Held, tuple[Any, ...]]] = []
    begun: list[tuple[Held, tuple[Any, ...]]] = []
    for one in held:
        now = _stored(one)
        if one.stored is None:
            begun.append((one, now))
        elif one.stored == now:
            moved.append(one)
        else:
            changed.append((one, now))
    if moved:
        await conn.execute(_SAVE_PLANNED, {**transposed(_KEYS, [one.case for one in moved]), **transposed(_PLANNED, moved)})
    if changed:
        await conn.execute(_SAVE, _columns(changed))
    if begun:
        try:
            await conn.execute(_BEGIN, _columns(begun))
        except IntegrityError as error:
            raise TransientError("somebody else has inserted this case meanwhile") from error


def _columns(rows: Sequence[tuple[Held, tuple[Any, ...]]]) -> dict[str, Any]:
    """Return whole rows by column, with the settled columns as they are now."""
    settled = zip(_SETTLED.items(), zip(*[stored for _, stored in rows], strict=True), strict=True)
    held = [one for one, _ in rows]
    values = {name: arrayed(kind, column) for (name, kind), column in settled}
    return {**transposed(_KEYS, [one.case for one in held]), **transposed(_PLANNED, held), **values}


def _stored(one: Held) -> tuple[Any, ...]:
    """Return a case's settled columns, in order; of a case that could not be read what people have set, and otherwise what was stored."""
    case = one.case
    if one.unread is not None and one.stored is not None:
        return (*one.stored[:_NONPAYMENT], case.nonpayment_reason, *one.stored[_NONPAYMENT + 1 :])
    return (
        case.state.value, case.stage.value, case.spell, case.opened_at, case.clear_since, case.nonpayment_reason, case.handed_to,
        case.handed_at, case.chosen_in, _marks(case.passed), _marks(case.flagged), _marks(case.acted),
        None if case.trial is None else str(case.trial), one.policy, one.policy_version,
    )  # fmt: skip


def _marks(steps: frozenset[str]) -> str:
    return " ".join(sorted(steps)) if steps else ""


def _held(row: Row[Any]) -> Held:
    stored = tuple(row[len(_KEYS) : _PLANNED_FROM])
    try:
        case, unread = _case(row), None
    except UNREADABLE as error:
        case, unread = _case_without(row), why_unread(error)
    return Held(case, *stored[-2:], *row[_PLANNED_FROM:], stored, unread)  # type: ignore[call-arg]  # of a row no length is known


def _case(row: Row[Any]) -> Case:
    tenant, borrower_id, case_id, currency, loan_id = row[: len(_KEYS)]
    state, stage, spell, opened_at, clear_since, nonpayment_reason, handed_to, handed_at, chosen_in, *marks, trial = row[
        len(_KEYS) : _PLANNED_FROM - len(_RULED)
    ]
    passed, flagged, acted = (frozenset(mark.split()) for mark in marks)
    return Case(
        tenant, borrower_id, case_id, currency, spell, State(state), Stage(stage), opened_at, clear_since,
        passed=passed, flagged=flagged, acted=acted,
        nonpayment_reason=nonpayment_reason, handed_to=handed_to, handed_at=handed_at,
        trial=None if trial is None else Trial.read(trial), loan_id=loan_id, chosen_in=chosen_in,
    )  # fmt: skip


def _case_without(row: Row[Any]) -> Case:
    """Return what a person's task needs of a case whose row cannot be read."""
    case = _unopened(CaseKey(*row[: len(_KEYS)]), ("", 0)).case
    return replace(case, state=State.OPEN, spell=row.spell, opened_at=row.opened_at, nonpayment_reason=row.nonpayment_reason)


def _unopened(key: CaseKey, policy: tuple[str, int]) -> Held:
    case = Case(
        key.tenant, key.borrower_id, key.case_id, key.currency, 0, State.CLOSED, Stage.CLEAR, opened_at=None, clear_since=None,
        loan_id=key.loan_id,
    )  # fmt: skip
    return Held(case, *policy)


async def _filled_anew(conn: AsyncConnection, held: list[Held], told: ToldBy) -> list[Held]:
    """Read what the plans of cases without a row depend on: they can only have debts and stops."""
    return await _each(_whole_anew, conn, held, told)


async def _whole_anew(conn: AsyncConnection, held: list[Held], told: ToldBy) -> list[Held]:
    cases = [one.case for one in held]
    owed, segments = await _debts(conn, cases, told)
    stops = await _stops(conn, cases)
    return [
        replace(one, case=replace(
            case,
            debts=tuple(owed.get((case.tenant, case.borrower_id, case.currency, case.loan_id), ())),
            segment=segments.get((case.tenant, case.borrower_id), ""),
            stops=tuple(stops.get((case.tenant, case.borrower_id), ())),
        ))
        for one, case in zip(held, cases, strict=True)
    ]  # fmt: skip


async def _debts(
    conn: AsyncConnection, cases: Sequence[Case], told: ToldBy
) -> tuple[dict[debts.CaseOf, list[Debt]], dict[tuple[str, str], str]]:
    """Return the debts of cases, and the segments of their borrowers."""
    owed: dict[debts.CaseOf, list[Debt]] = {}
    segments: dict[tuple[str, str], str] = {}
    keys, kept = [(c.tenant, c.borrower_id, c.currency, c.loan_id) for c in cases], dict(told)
    for key, (loan_id, fact, segment) in await debts.live_facts(conn, keys, but_kept=bool(told)):
        held = kept.pop((*key[:2], loan_id), None)
        owed.setdefault(key, []).append(debt_stored(fact, segment) if held is None else held.within(segment))
        segments[key[:2]] = segment or ""
    for one in kept.values():
        if one.debt.active:
            owed.setdefault(one.case, []).append(one.within(None))
    return {key: sorted(found, key=lambda debt: debt.loan_id) if len(found) > 1 else found for key, found in owed.items()}, segments


async def _stops(conn: AsyncConnection, cases: Sequence[Case]) -> dict[tuple[str, str], list[Stop]]:
    found: dict[tuple[str, str], list[Stop]] = {}
    for borrower, stop in await statuses.stops(conn, sorted({(c.tenant, c.borrower_id) for c in cases})):
        found.setdefault(borrower, []).append(stop)
    return found


async def _filled(conn: AsyncConnection, held: list[Held], told: ToldBy = _NOTHING_TOLD) -> list[Held]:
    """Read what the plans of these cases depend on, after their rows are locked; a case that cannot be read says why."""
    return await _each(_whole, conn, held, told)


async def _each(read: _Reading, conn: AsyncConnection, held: list[Held], told: ToldBy) -> list[Held]:
    """Read cases; where something of them is unreadable, in halves, until it is known of which case.

    Of that one the tasks are read alone, so that people are asked to see to it once.
    """
    try:
        return await read(conn, held, told) if held else []
    except UNREADABLE as error:
        if len(held) == 1:
            errands = tuple([errand for _, errand in await story.errands(conn, [held[0].case])])
            return [replace(held[0], case=replace(held[0].case, errands=errands), unread=why_unread(error))]
    middle = len(held) // 2
    return [*await _each(read, conn, held[:middle], told), *await _each(read, conn, held[middle:], told)]


async def _whole(conn: AsyncConnection, held: list[Held], told: ToldBy) -> list[Held]:
    cases = [one.case for one in held]
    owed, segments = await _debts(conn, cases, told)
    stops = await _stops(conn, cases)
    contacts: dict[tuple[str, str], list[Contact]] = {}
    for case, contact in await story.contacts(conn, cases):
        contacts.setdefault(case, []).append(contact)
    made: dict[tuple[str, str], list[Promise]] = {}
    for case, promise in await promises.of_cases(conn, cases):
        made.setdefault(case, []).append(promise)
    errands: dict[tuple[str, str], list[Errand]] = {}
    for case, errand in await story.errands(conn, cases):
        errands.setdefault(case, []).append(errand)
    dealt = await dealings.of_cases(conn, cases)
    return [
        replace(one, case=replace(
            one.case,
            debts=tuple(owed.get((one.case.tenant, one.case.borrower_id, one.case.currency, one.case.loan_id), ())),
            segment=segments.get((one.case.tenant, one.case.borrower_id), ""),
            stops=tuple(stops.get((one.case.tenant, one.case.borrower_id), ())),
            contacts=tuple(contacts.get((one.case.tenant, one.case.case_id), ())),
            errands=tuple(errands.get((one.case.tenant, one.case.case_id), ())),
            promises=tuple(made.get((one.case.tenant, one.case.case_id), ())),
            **dealt.of(one.case),
        ))
        for one in held
    ]  # fmt: skip
