"""Contacts made by others without naming the address: where they may have gone, whichever came first, profile or contact."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store import contacts
from services.notifier.store.borrowers import Who, arrays
from services.notifier.store.contacts import Contact

_UNPLACED = text(
    "select c.tenant, c.borrower_id, c.contact_id, c.at, c.channel, c.result"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as w(tenant, borrower_id)"
    " join notifier.borrowers b using (tenant, borrower_id) join notifier.contacts c using (tenant, borrower_id)"
    " where c.lookup is null and c.task_id is null and (b.erased_at is null or c.at > b.erased_at) and not exists"
    " (select from notifier.contact_numbers n where (n.tenant, n.borrower_id, n.contact_id) = (c.tenant, c.borrower_id, c.contact_id))"
)
"""Contacts from before an erasure belong to nobody."""
_PLACE = text(
    "update notifier.contacts c set lookup = n.lookup"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:ids as text[]), cast(:lookups as text[]))"
    " as n(tenant, borrower_id, contact_id, lookup)"
    " where (c.tenant, c.borrower_id, c.contact_id) = (n.tenant, n.borrower_id, n.contact_id)"
)


async def unplaced(conn: AsyncConnection, who: Collection[Who]) -> list[Contact]:
    """Return the contacts of these borrowers whose address is not known."""
    if not who:
        return []
    rows = await conn.execute(_UNPLACED, arrays(sorted(who)))
    return [Contact(row.tenant, row.borrower_id, row.contact_id, row.at, row.channel, row.result) for row in rows]


async def place(conn: AsyncConnection, found: Sequence[Contact]) -> None:
    """Store the address each of these went to, or those it may have gone to; their borrowers are locked."""
    placed = sorted((c.tenant, c.borrower_id, c.contact_id, c.lookup) for c in found if c.lookup is not None)
    if placed:
        tenants, borrowers, ids, lookups = zip(*placed, strict=True)
        await conn.execute(_PLACE, {"tenants": tenants, "borrowers": borrowers, "ids": ids, "lookups": lookups})
    await contacts.keep_numbers(conn, found)
