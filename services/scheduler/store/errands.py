"""Work for people: listed, claimed, completed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

_TASK = (
    "t.task_id, t.case_id, t.borrower_id, t.spell, t.queue, t.kind, t.key as about, t.occurrence, t.state, t.created_at, t.due_at,"
    " t.claimed_by, t.claimed_at, t.done_by, t.done_at, t.note"
)
_FILTERS = {"queue": "t.queue = :queue", "state": "t.state = :state", "after": "t.task_id > :after"}
_FIND = text(f"select {_TASK} from scheduler.tasks t where t.tenant = :tenant and t.task_id = :task_id")
_CLAIM = text(
    "update scheduler.tasks t set state = 'claimed', claimed_by = :by, claimed_at = :at"
    f" where t.tenant = :tenant and t.task_id = :task_id and t.state = 'open' returning {_TASK}"
)
_COMPLETE = text(
    "update scheduler.tasks t set state = 'done', done_by = :by, done_at = :at, note = :note"
    f" where t.tenant = :tenant and t.task_id = :task_id and t.state <> 'done' returning {_TASK}"
)


async def search(
    conn: AsyncConnection, tenant: str, *, queue: str | None, state: str | None, after: str | None, limit: int
) -> Sequence[RowMapping]:
    """Return tasks by id."""
    given = {name: value for name, value in (("queue", queue), ("state", state), ("after", after)) if value is not None}
    where = " and ".join(["t.tenant = :tenant", *(_FILTERS[name] for name in given)])
    statement = text(f"select {_TASK} from scheduler.tasks t where {where} order by t.task_id limit :limit")
    return (await conn.execute(statement, {"tenant": tenant, "limit": limit, **given})).mappings().all()


async def find(conn: AsyncConnection, tenant: str, task_id: str) -> RowMapping | None:
    """Return a task, or None."""
    return (await conn.execute(_FIND, {"tenant": tenant, "task_id": task_id})).mappings().one_or_none()


async def claim(conn: AsyncConnection, tenant: str, task_id: str, *, by: str, at: datetime) -> RowMapping | None:
    """Take an open task; None when it is not open any more."""
    values = {"tenant": tenant, "task_id": task_id, "by": by, "at": at}
    return (await conn.execute(_CLAIM, values)).mappings().one_or_none()


async def complete(conn: AsyncConnection, tenant: str, task_id: str, *, by: str, at: datetime, note: str | None) -> RowMapping | None:
    """End a task; None when it was ended before."""
    values = {"tenant": tenant, "task_id": task_id, "by": by, "at": at, "note": note}
    return (await conn.execute(_COMPLETE, values)).mappings().one_or_none()
