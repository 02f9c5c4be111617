"""Work for people: listed by urgency, claimed by one person, completed; and what was not done in time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.arrays import ID, MOMENT, transposed, unnest
from services.scheduler.store.held import CaseKey

CLAIMED_FOR = timedelta(minutes=30)
"""How long a claim lasts without a sign of life from its holder; after that anybody may take the task."""
WITHDRAWN = "withdrawn"
"""The result of a task that has become pointless: nobody has to do it."""
_LAPSED = "t.state = 'claimed' and t.claimed_until <= :at"
_TASK = (
    "t.task_id, t.case_id, t.borrower_id, t.spell, t.queue, t.kind, t.key as about, t.occurrence,"
    f" case when {_LAPSED} then 'open' else t.state end as state, t.priority, t.created_at, t.due_at, t.breached_at, t.claimed_by,"
    " t.claimed_at, t.claimed_until, t.done_by, t.done_at, t.result, t.note"
)
_FILTERS = {
    "queue": "t.queue = :queue",
    "open": f"(t.state = 'open' or ({_LAPSED}))",
    "claimed": f"t.state = 'claimed' and not coalesce({_LAPSED}, false)",
    "done": "t.state = 'done'",
    "place": "(-t.priority, t.due_at, t.task_id) > (-cast(:after_priority as int), :after_due, :after_id)",
}
_FIND = text(f"select {_TASK} from scheduler.tasks t where t.tenant = :tenant and t.task_id = :task_id")
_CLAIM = text(
    "update scheduler.tasks t set state = 'claimed', claimed_by = :by, claimed_at = :at, claimed_until = :until"
    " where t.tenant = :tenant and t.task_id = :task_id"
    f" and (t.state = 'open' or ({_LAPSED}) or (t.state = 'claimed' and t.claimed_by = :by)) returning {_TASK}"
)
_RELEASE = text(
    "update scheduler.tasks t set state = 'open', claimed_by = null, claimed_at = null, claimed_until = null"
    f" where t.tenant = :tenant and t.task_id = :task_id and t.state = 'claimed' and t.claimed_by = :by returning {_TASK}"
)
_COMPLETE = text(
    "update scheduler.tasks t set state = 'done', done_by = :by, done_at = :at, note = :note, result = :result"
    f" where t.tenant = :tenant and t.task_id = :task_id and (t.state <> 'done' or t.result = '{WITHDRAWN}') returning {_TASK}"
)
_GONE = {"tenant": ID, "borrower_id": ID, "task_id": ID, "at": MOMENT}
_WITHDRAW = text(
    f"update scheduler.tasks t set state = 'done', done_by = 'policy', done_at = v.at, result = '{WITHDRAWN}' from {unnest(_GONE, 'v')}"
    " where (t.tenant, t.borrower_id, t.task_id) = (v.tenant, v.borrower_id, v.task_id) and t.state <> 'done'"
)
_LATE = text(
    "select tenant, borrower_id, case_id, task_id from scheduler.tasks where due_at <= :at and state <> 'done' and breached_at is null"
    " order by due_at limit :limit"
)
_OF = {"tenant": "text", "borrower_id": "text", "task_id": "text"}
_BREACH = text(
    f"update scheduler.tasks t set breached_at = :at from {unnest(_OF, 'v')}"
    " where (t.tenant, t.borrower_id, t.task_id) = (v.tenant, v.borrower_id, v.task_id) and t.state <> 'done' and t.breached_at is null"
    " returning t.tenant, t.case_id, t.task_id, t.queue, t.kind, t.due_at"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a page of tasks ends."""

    priority: int
    due_at: datetime
    task_id: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tasks; None matches everything."""

    queue: str | None = None
    state: str | None = None
    after: Place | None = None


async def search(conn: AsyncConnection, tenant: str, wanted: Wanted, *, at: datetime, limit: int) -> Sequence[RowMapping]:
    """Return tasks, higher priority first, then those due sooner."""
    values: dict[str, object] = {"tenant": tenant, "limit": limit, "at": at}
    parts = ["t.tenant = :tenant"]
    if wanted.queue is not None:
        parts.append(_FILTERS["queue"])
        values["queue"] = wanted.queue
    if wanted.state is not None:
        parts.append(_FILTERS[wanted.state])
    if wanted.after is not None:
        parts.append(_FILTERS["place"])
        values |= {"after_priority": wanted.after.priority, "after_due": wanted.after.due_at, "after_id": wanted.after.task_id}
    statement = text(
        f"select {_TASK} from scheduler.tasks t where {' and '.join(parts)} order by -t.priority, t.due_at, t.task_id limit :limit"
    )
    return (await conn.execute(statement, values)).mappings().all()


async def find(conn: AsyncConnection, tenant: str, task_id: str, *, at: datetime) -> RowMapping | None:
    """Return a task, or None."""
    return (await conn.execute(_FIND, {"tenant": tenant, "task_id": task_id, "at": at})).mappings().one_or_none()


async def claim(conn: AsyncConnection, tenant: str, task_id: str, *, by: str, at: datetime) -> RowMapping | None:
    """Claim a task nobody holds, or extend one's own claim; None if it is done or another's."""
    values = {"tenant": tenant, "task_id": task_id, "by": by, "at": at, "until": at + CLAIMED_FOR}
    return (await conn.execute(_CLAIM, values)).mappings().one_or_none()


async def release(conn: AsyncConnection, tenant: str, task_id: str, *, by: str, at: datetime) -> RowMapping | None:
    """Give a task back; None if it is not this person's."""
    return (await conn.execute(_RELEASE, {"tenant": tenant, "task_id": task_id, "by": by, "at": at})).mappings().one_or_none()


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a task: who, when, and the result."""

    by: str
    at: datetime
    note: str | None = None
    result: str | None = None


async def complete(conn: AsyncConnection, tenant: str, task_id: str, done: Done) -> RowMapping | None:
    """Complete a task; None if it was already completed, unless it was withdrawn."""
    values = {"tenant": tenant, "task_id": task_id, "by": done.by, "at": done.at, "note": done.note, "result": done.result}
    return (await conn.execute(_COMPLETE, values)).mappings().one_or_none()


@dataclass(frozen=True, slots=True)
class WithdrawnRow:
    """A task that has lost its ground."""

    tenant: str
    borrower_id: str
    task_id: str
    at: datetime


async def withdraw(conn: AsyncConnection, rows: Sequence[WithdrawnRow]) -> None:
    """End tasks of cases that this transaction holds without anybody having done them."""
    if rows:
        ordered = sorted(rows, key=lambda row: (row.tenant, row.borrower_id, row.task_id))
        await conn.execute(_WITHDRAW, transposed(_GONE, ordered))


async def late(conn: AsyncConnection, at: datetime, limit: int) -> list[tuple[CaseKey, str]]:
    """Return (case, task) of overdue tasks not yet recorded as such."""
    rows = await conn.execute(_LATE, {"at": at, "limit": limit})
    return [(CaseKey(row.tenant, row.borrower_id, row.case_id), row.task_id) for row in rows]


async def breach(conn: AsyncConnection, tasks: Sequence[tuple[CaseKey, str]], at: datetime) -> Sequence[RowMapping]:
    """Record that these tasks, whose cases are locked, were not done in time; return those for which that is so."""
    ordered = sorted((key.tenant, key.borrower_id, task_id) for key, task_id in tasks)
    tenants, borrowers, ids = zip(*ordered, strict=True)
    values = {"tenant": list(tenants), "borrower_id": list(borrowers), "task_id": list(ids), "at": at}
    return (await conn.execute(_BREACH, values)).mappings().all()
