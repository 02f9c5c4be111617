"""Who waits for a place in caps that is given back, because the contact that had it was none."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store.borrowers import Who, arrays

MOST_SHARING = 100
"""Of more who share one number the others wait for the moment that they were told."""
_WAITING = text(
    "select distinct a.tenant, a.borrower_id"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:contacts as text[])) as w(tenant, borrower_id, contact_id)"
    " join notifier.contacts c using (tenant, borrower_id, contact_id)"
    " join notifier.addresses a on a.tenant = c.tenant and a.lookup = c.lookup and a.borrower_id <> c.borrower_id"
    " where exists (select from notifier.queue q where q.tenant = a.tenant and q.borrower_id = a.borrower_id and q.state = 'pending')"
    " order by a.tenant, a.borrower_id limit :most"
)


async def who_waits(conn: AsyncConnection, freed: Sequence[tuple[Who, str]]) -> set[Who]:
    """Return whose deliveries may wait for the places of these contacts (borrower, contact id): to be locked with all others, and woken."""
    if not freed:
        return set()
    values = {**arrays(who for who, _ in freed), "contacts": [contact for _, contact in freed], "most": MOST_SHARING}
    sharing = {(row.tenant, row.borrower_id) for row in await conn.execute(_WAITING, values)}
    return sharing | {who for who, _ in freed}
