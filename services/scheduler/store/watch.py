"""What the watcher counts, and when something is due next."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_DUE = text("select count(*) as due, min(next_at) as oldest from scheduler.cases where next_at <= :now")
_NEXT = text(
    "select least((select min(next_at) from scheduler.cases where next_at is not null),"
    " (select min(wake_at) from scheduler.debts where wake_at is not null),"
    " (select min(effective_at) from scheduler.policy_changes), (select min(at) from scheduler.segment_changes),"
    " (select min(due_at) from scheduler.tasks where state <> 'done' and breached_at is null),"
    " (select min(at) from scheduler.hold_batches where ended_at is null))"
)


async def timers_due(conn: AsyncConnection, now: datetime) -> tuple[int, datetime | None]:
    """Return (due, oldest)."""
    row = (await conn.execute(_DUE, {"now": now})).one()
    return row.due, row.oldest


async def next_due(conn: AsyncConnection) -> datetime | None:
    """Return the next moment at which a case or a reminder is due."""
    return (await conn.execute(_NEXT)).scalar_one()  # type: ignore[no-any-return]  # typed by the statement
