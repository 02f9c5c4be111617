"""Who is waiting for a place in caps that is freed because its contact did not take place."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store.borrowers import Who, arrays

MOST_SHARING = 100
"""If more than this share one number, the others wait until the time they were given."""
_WAITING = text(
    "select distinct a.tenant, a.borrower_id"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:contacts as text[])) as w(tenant, borrower_id, contact_id)"
    " join notifier.contacts c using (tenant, borrower_id, contact_id)"
    " join notifier.addresses a on a.tenant = c.tenant and a.lookup = c.lookup and a.borrower_id <> c.borrower_id"
    " where exists (select from notifier.queue q where q.tenant = a.tenant and q.borrower_id = a.borrower_id and q.state = 'pending')"
    " order by a.tenant, a.borrower_id limit :most"
)


async def who_waits(conn: AsyncConnection, freed: Sequence[tuple[Who, str]]) -> set[Who]:
    """Return the borrowers whose deliveries may wait for these contacts' places (borrower, contact id): lock with all others, then wake."""
    if not freed:
        return set()
    values = {**arrays(who for who, _ in freed), "contacts": [contact for _, contact in freed], "most": MOST_SHARING}
    sharing = {(row.tenant, row.borrower_id) for row in await conn.execute(_WAITING, values)}
    return sharing | {who for who, _ in freed}
