"""Leader election: one of several replicas does a job at a time."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_LEAD = text("select pg_try_advisory_xact_lock(0, hashtext(:name))")


async def leads(conn: AsyncConnection, name: str) -> bool:
    """Return whether this transaction is the leader for this job; it stays so until it ends."""
    return bool((await conn.execute(_LEAD, {"name": f"dunwell-{name}"})).scalar_one())
