"""The overdue report: a cursor over the loans, so that a million of them need no memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

CHUNK = 2000


@dataclass(frozen=True, slots=True)
class Filters:
    """What to leave out; None leaves out nothing."""

    bucket: str | None
    product: str | None


@dataclass(frozen=True, slots=True)
class OverdueRow:
    """A loan with something overdue."""

    loan_id: str
    borrower_id: str
    product: str
    currency: str
    timezone: str
    anchor_on: date
    bucket: str
    overdue_total: int
    outstanding_total: int


_OVERDUE = text(
    f"select {', '.join(OverdueRow.__dataclass_fields__)} from ingest.loans"
    " where tenant = :tenant and overdue_total > 0 and loan_id > :after"
    " and (cast(:bucket as text) is null or bucket = :bucket) and (cast(:product as text) is null or product = :product)"
    " order by loan_id limit :chunk"
)


async def overdue(conn: AsyncConnection, tenant: str, filters: Filters) -> AsyncIterator[OverdueRow]:
    """Yield loans with something overdue, by id, a chunk at a time."""
    after = ""
    while True:
        found = await conn.execute(
            _OVERDUE, {"tenant": tenant, "after": after, "bucket": filters.bucket, "product": filters.product, "chunk": CHUNK}
        )
        rows = [OverdueRow(*row) for row in found.all()]
        for row in rows:
            yield row
        if len(rows) < CHUNK:
            return
        after = rows[-1].loan_id
