"""What of the past goes when it is old enough: of the ledger nothing, since a loan is what all its events say."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_PARKED = text(
    "update ingest.parked p set event = '' from (select tenant, parked_id from ingest.parked where resolved_at < :before and event <> ''"
    " limit :most for update skip locked) o where (p.tenant, p.parked_id) = (o.tenant, o.parked_id)"
)


async def forget_parked(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Forget the content of parked events on which was decided before a moment; what was decided, by whom and why, stays."""
    return (await conn.execute(_PARKED, {"before": before, "most": most})).rowcount == most
