"""Connections to PostgreSQL, with limits that keep one slow statement from blocking everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.settings import SettingsError

STATEMENT_TIMEOUT = "30s"
LOCK_TIMEOUT = "10s"
IDLE_IN_TRANSACTION_TIMEOUT = "60s"
RECYCLE_S = 300
"""Connections are used last in, first out: each one plans a statement anew for its first five executions, which over partitioned tables
costs more than executing it. A rarely used connection may be cut by a device in between, so none is kept for long."""


def make_engine(url: str, *, application: str, pool_size: int = 8) -> AsyncEngine:
    """Return an engine on asyncpg; `url` may be plain `postgresql://`."""
    settings = {
        "application_name": f"dunwell-{application}",
        "statement_timeout": STATEMENT_TIMEOUT,
        "lock_timeout": LOCK_TIMEOUT,
        "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT,
        "timezone": "UTC",
        "jit": "off",
    }
    return create_async_engine(
        _address(url),
        hide_parameters=True,  # errors are logged with their statement, and its parameters may be personal data
        pool_size=pool_size,
        max_overflow=4,
        pool_pre_ping=False,
        pool_use_lifo=True,
        pool_recycle=RECYCLE_S,
        connect_args={"server_settings": settings, "command_timeout": 60, "timeout": 10, "async_creator_fn": _connect},
    )


def _address(url: str) -> URL:
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        address = None  # the error is not repeated: it may contain a password
    if address is None or address.get_backend_name() not in {"postgresql", "postgres"}:
        raise SettingsError("the address of the database must be one like postgresql://user:password@host:5432/dunwell")
    return address.set(drivername="postgresql+asyncpg")


async def _connect(**where: Any) -> Any:
    """Connect; a network error says which server could not be reached."""
    try:
        return await asyncpg.connect(**where)
    except OSError as error:
        place = ":".join(str(where[name]) for name in ("host", "port") if where.get(name))
        why = error.strerror or str(error) or type(error).__name__
        raise ConnectionError(f"PostgreSQL at {place or 'its usual place'} cannot be reached: {why}") from error


@asynccontextmanager
async def snapshot(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Yield a read-only connection on which every statement sees the snapshot of the first one."""
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        yield conn


async def answers(engine: AsyncEngine) -> str | None:
    """Return None if the database answers, else why not."""
    try:
        async with engine.connect() as conn:
            await conn.execute(text("select 1"))
    except Exception as error:  # noqa: BLE001  # readiness reports whatever stands in the way
        return f"{type(error).__name__}: {str(error).splitlines()[0][:200]}" if str(error) else type(error).__name__
    return None


_BY_KEYS = text(
    "select set_config('plan_cache_mode', 'force_generic_plan', true),"
    " set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)"
)


async def by_keys(conn: AsyncConnection) -> None:
    """Make the statements of this transaction be planned once per connection and find their rows by key.

    For statements that process a batch: each would be planned anew for its first five batches, over tables of many partitions, and while
    a growing table has not been analysed, the plan would be to read all of it.
    """
    await conn.execute(_BY_KEYS)


_TIMELINE = "('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int"


async def timeline(conn: AsyncConnection) -> int:
    """Return the timeline that the database is writing; cheap enough to read in every claim."""
    return int((await conn.execute(text(f"select {_TIMELINE}"))).scalar_one())


async def whereabouts(conn: AsyncConnection) -> tuple[str, int]:
    """Return (system identifier, timeline): both change when a database is restored or failed over."""
    row = (await conn.execute(text(f"select system_identifier::text, {_TIMELINE} from pg_control_system()"))).one()
    return row[0], row[1]
