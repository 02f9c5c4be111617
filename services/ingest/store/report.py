"""A tenant's loans in pages for the overdue report, in id order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.domain.fold import FOLD
from services.ingest.store.loans import LoanRow

PAGE = 1000
_COLUMNS = ("loan_id", "accepted", "parked", "doubt_since", "fold_error", "book", "fold", "settings")
_PAGE = text(
    f"with page as (select * from ingest.loans where tenant = :tenant and loan_id > :after order by loan_id limit {PAGE}), judged as"
    " (select *, :every or overdue_total > 0 or next_at <= :now or fold <> :fold or fold_error is not null as wanted from page)"
    f" select {', '.join(_COLUMNS)}, wanted from judged where wanted or loan_id = (select max(loan_id) from page) order by loan_id"
)
"""The page size limits how many rows are examined, not how many match: however few are overdue, no statement reads on to find more.

The last loan of a page is always included, to continue from. Loans whose timer is due or whose book other rules made are wanted too,
since their columns may be out of date.
"""


async def pages(conn: AsyncConnection, tenant: str, now: datetime, *, every: bool) -> AsyncIterator[list[LoanRow]]:
    """Yield all loans of a tenant, or those that may have something overdue now, page by page, with only the columns needed."""
    after = ""
    while True:
        found = await conn.execute(_PAGE, {"tenant": tenant, "after": after, "every": every, "now": now, "fold": FOLD})
        rows = found.all()
        if not rows:
            return
        yield [LoanRow(tenant, **dict(zip(_COLUMNS, row[:-1], strict=True))) for row in rows if row.wanted]
        after = rows[-1].loan_id
