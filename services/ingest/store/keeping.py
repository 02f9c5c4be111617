"""What is deleted once it is old enough: nothing of the ledger, since a loan is the sum of all its events."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_PARKED = text(
    "update ingest.parked p set event = '' from (select tenant, parked_id from ingest.parked where resolved_at < :before and event <> ''"
    " limit :most for update skip locked) o where (p.tenant, p.parked_id) = (o.tenant, o.parked_id)"
)


async def forget_parked(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete the content of parked events decided before a moment; the decision, its author and its reason stay."""
    return (await conn.execute(_PARKED, {"before": before, "most": most})).rowcount == most
