"""What the watcher counts, whether anything is due at all, and when something is due next."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_DUE = text("select count(*) as due, min(next_at) as oldest from scheduler.cases where next_at <= :now")
_NEXT = text(
    "select least((select min(next_at) from scheduler.cases where next_at is not null),"
    " (select min(wake_at) from scheduler.debts where wake_at is not null),"
    " (select min(effective_at) from scheduler.policy_changes) + :facts_first,"
    " (select min(at) from scheduler.segment_changes) + :facts_first,"
    " (select min(due_at) from scheduler.tasks where state <> 'done' and breached_at is null),"
    " (select min(at) from scheduler.hold_batches where ended_at is null))"
)
_UNTIL = "coalesce($1::timestamptz, statement_timestamp())"
_LET_BY = f"{_UNTIL} - $2::interval"
_TIMERS = {
    "changes": f"select effective_at from scheduler.policy_changes where effective_at <= {_LET_BY} order by effective_at",
    "segments": f"select at from scheduler.segment_changes where at <= {_LET_BY} order by at",
    "hold_batches": "select at from scheduler.hold_batches where ended_at is null order by at",
    "tasks": f"select due_at from scheduler.tasks where due_at <= {_UNTIL} and state <> 'done' and breached_at is null order by due_at",
    "reminders": f"select wake_at from scheduler.debts where wake_at <= {_UNTIL} order by wake_at",
    "cases": f"select next_at from scheduler.cases where next_at <= {_UNTIL} order by next_at, case_id",
}
"""Each in the order of its index, so that nothing but the index is read."""
LOOK = f"select {', '.join(f'({timer} limit 1) is not null as {name}' for name, timer in _TIMERS.items())}"


@dataclass(frozen=True, slots=True)
class Due:
    """Which kinds of timers have one due, whether or not somebody else has claimed it."""

    changes: bool
    segments: bool
    hold_batches: bool
    tasks: bool
    reminders: bool
    cases: bool

    @property
    def any(self) -> bool:
        """Return whether anything is due."""
        return any((self.changes, self.segments, self.hold_batches, self.tasks, self.reminders, self.cases))


Look = Callable[[datetime | None, timedelta], Awaitable[Due]]
"""Asks which timers are due at a moment, or (None) by the database's clock; policy and segment changes wait this long for facts first."""


@asynccontextmanager
async def looking(engine: AsyncEngine) -> AsyncIterator[Look]:
    """Yield a function that checks all kinds of timers at once on a connection of its own; errors are the driver's.

    It bypasses SQLAlchemy and its pool, which would take several times as long as the driver for a statement run all day long.
    """
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        driver = (await conn.get_raw_connection()).driver_connection

        async def look(now: datetime | None, facts_first: timedelta) -> Due:
            return Due(*await driver.fetchrow(LOOK, now, facts_first))  # type: ignore[union-attr]  # it is connected

        try:
            yield look
        except BaseException:
            await conn.invalidate()  # the pool does not know what happened to the driver
            raise


async def timers_due(conn: AsyncConnection, now: datetime) -> tuple[int, datetime | None]:
    """Return (due, oldest)."""
    row = (await conn.execute(_DUE, {"now": now})).one()
    return row.due, row.oldest


async def next_due(conn: AsyncConnection, facts_first: timedelta) -> datetime | None:
    """Return the next moment at which anything is due; changes of policies and segments wait this long for facts first."""
    return (await conn.execute(_NEXT, {"facts_first": facts_first})).scalar_one()  # type: ignore[no-any-return]  # typed by the statement
