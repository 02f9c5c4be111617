"""Erasure: what is about a person goes, what was decided and done stays.

Names and addresses of the contact book go with the borrower's key. Removed here is what is stored elsewhere: hashes of addresses, the texts
of the sandbox, what providers posted, and free text. Whoever stores such a thing in another table adds it here.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store.borrowers import Who, arrays

_WHO = "unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as w(tenant, borrower_id)"
_OF = "t.tenant = w.tenant and t.borrower_id = w.borrower_id"
_SAID = "join notifier.receipts r on r.tenant = m.tenant and r.provider = m.provider"
_RAW = (
    "with mine as (select a.tenant, a.provider, a.message_id, a.provider_ref"
    f" from {_WHO} join notifier.attempts a using (tenant, borrower_id))"
    f" update notifier.callbacks set sealed = null where id in (select r.callback from mine m {_SAID} and r.message_id = m.message_id"
    f" union select r.callback from mine m {_SAID} and r.message_id is null and r.provider_ref = m.provider_ref)"
)
"""A callback may be about several borrowers: it is removed with the first of them, but the words in it remain as receipts."""
_REQUEST = "convert_to((convert_from(t.request, 'UTF8')::jsonb - 'variables')::text, 'UTF8')"
_SPOKEN = (
    f"with gone as (update notifier.replies t set sealed = null, lookup = '' from {_WHO} where t.tenant = w.tenant"
    " and t.borrowers @> array[w.borrower_id] returning t.callback)"
    " update notifier.callbacks c set sealed = null from gone where c.id = gone.callback"
)
"""The text of a reply, its sender, and the request that brought it; what the reply suppressed stays."""
_NAMELESS = (
    "insert into notifier.nameless_contacts (tenant, lookup, at, channel, result, direction, kind)"
    " select t.tenant, coalesce(t.lookup, n.lookup), t.at, t.channel, case t.result when 'reserved' then '' else t.result end,"
    f" t.direction, t.kind from {_WHO} join notifier.contacts t on {_OF} left join notifier.contact_numbers n on t.lookup is null"
    " and (n.tenant, n.borrower_id, n.contact_id) = (t.tenant, t.borrower_id, t.contact_id)"
    " where coalesce(t.lookup, n.lookup) is not null and t.result not in ('refused', 'not_sent', 'cancelled') order by t.at"
)
"""Caps over numbers must still count contacts made or reserved; runs before the hashes are removed from the borrower's rows."""
_STATEMENTS = (
    f"delete from notifier.addresses t using {_WHO} where {_OF}",
    _NAMELESS,
    f"delete from notifier.contact_numbers t using {_WHO} where {_OF}",
    f"update notifier.contacts t set lookup = null from {_WHO} where {_OF} and t.lookup is not null",
    f"update notifier.deliveries t set request = {_REQUEST} from {_WHO} where {_OF} and t.request is not null",
    f"update notifier.preferences t set reason = null from {_WHO} where {_OF} and t.reason is not null",
    f"update notifier.pii_reads t set reason = null from {_WHO} where {_OF} and t.reason is not null",
    f"update notifier.sandbox_messages t set lookup = null, sealed = null from {_WHO} where {_OF}",
    _RAW,
    _SPOKEN,
)


async def forget(conn: AsyncConnection, who: Iterable[Who]) -> None:
    """Remove everything about these borrowers outside their profile; their rows are locked."""
    values = arrays(sorted(who))
    for statement in _STATEMENTS if values["tenants"] else ():
        await conn.execute(text(statement), values)


async def forget_callbacks(conn: AsyncConnection, who: Iterable[Who]) -> None:
    """Remove what providers posted about these borrowers, as a receipt may come after an erasure."""
    values = arrays(sorted(who))
    if values["tenants"]:
        await conn.execute(text(_RAW), values)
