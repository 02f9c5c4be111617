"""Whether this is still the same database: a restore or failover raises the epoch, since records may be gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.engine import whereabouts


@dataclass(frozen=True, slots=True)
class Lineage:
    """The epoch, and whether it was just raised."""

    epoch: int
    rose: bool


async def check(conn: AsyncConnection, schema: str, *, now: datetime | None = None) -> Lineage:
    """Compare the database's identity with the last one seen; a change begins a new epoch at `now` (default: the database's clock)."""
    system, timeline = await whereabouts(conn)
    row = (await conn.execute(text(f"select system_identifier, timeline, epoch from {schema}.lineage for update"))).one_or_none()
    if row is None:
        await _write(conn, schema, system, timeline, epoch=1, now=now)
        return Lineage(1, rose=False)
    if (row.system_identifier, row.timeline) == (system, timeline):
        return Lineage(row.epoch, rose=False)
    await _write(conn, schema, system, timeline, epoch=row.epoch + 1, now=now)
    return Lineage(row.epoch + 1, rose=True)


async def current(conn: AsyncConnection, schema: str) -> int:
    """Return the current epoch, whichever replica began it; 1 before the service has ever started."""
    return int((await conn.execute(text(f"select coalesce((select epoch from {schema}.lineage), 1)"))).scalar_one())


async def raise_epoch(conn: AsyncConnection, schema: str, *, now: datetime | None = None) -> Lineage:
    """Begin a new epoch because the bus knows of a later moment than this database."""
    system, timeline = await whereabouts(conn)
    row = (await conn.execute(text(f"select epoch from {schema}.lineage for update"))).one()
    await _write(conn, schema, system, timeline, epoch=row.epoch + 1, now=now)
    return Lineage(row.epoch + 1, rose=True)


async def _write(
    conn: AsyncConnection, schema: str, system: str, timeline: int, *, epoch: int, now: datetime | None
) -> None:  # fmt: skip
    await conn.execute(
        text(
            f"insert into {schema}.lineage (one, system_identifier, timeline, epoch, since)"
            " values (true, :system, :timeline, :epoch, coalesce(:now, clock_timestamp()))"
            " on conflict (one) do update set system_identifier = excluded.system_identifier, timeline = excluded.timeline,"
            " epoch = excluded.epoch, since = excluded.since"
        ),
        {"system": system, "timeline": timeline, "epoch": epoch, "now": now},
    )
