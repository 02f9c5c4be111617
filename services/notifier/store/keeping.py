"""Deletes the past once it is old enough; never what was decided and done, by whom and why."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_REQUESTS = text(
    "with oldest as (select id, received_at from notifier.callbacks order by id limit :most for update skip locked)"
    " delete from notifier.callbacks c using oldest o where c.id = o.id and o.received_at < :before"
)
"""They arrive in the order of their ids, so the first that is too young ends the search."""
_HISTORY = text(
    "delete from notifier.provider_events e using (select tenant, name, id from notifier.provider_events"
    " where at < :before and by is null limit :most for update skip locked) o where (e.tenant, e.name, e.id) = (o.tenant, o.name, o.id)"
)
_SANDBOX = text(
    "delete from notifier.sandbox_messages where id in (select id from notifier.sandbox_messages where accepted_at < :before"
    " limit :most for update skip locked)"
)
_PARTS = text(
    "delete from notifier.parts p using (select tenant, provider, provider_ref from notifier.parts where kept_at < :before"
    " limit :most for update skip locked) o"
    " where (p.tenant, p.provider, p.provider_ref) = (o.tenant, o.provider, o.provider_ref)"
)
_NAMELESS = text(
    "delete from notifier.nameless_contacts n using (select id from notifier.nameless_contacts where at < :before order by at"
    " limit :most for update skip locked) o where n.id = o.id"
)
_SLOTS = text(
    "with o as (select tenant, borrower_id, contact_id from notifier.contacts"
    " where reserved_until < :before order by reserved_until limit :most for update skip locked),"
    " numbers as (delete from notifier.contact_numbers n using o"
    " where (n.tenant, n.borrower_id, n.contact_id) = (o.tenant, o.borrower_id, o.contact_id))"
    " delete from notifier.contacts c using o"
    " where (c.tenant, c.borrower_id, c.contact_id) = (o.tenant, o.borrower_id, o.contact_id)"
)
_UNCLAIMED = text(
    "update notifier.replies r set sealed = null, lookup = '' from (select tenant, provider, id from notifier.replies"
    " where received_at < :before and borrowers = '{}' and sealed is not null order by received_at limit :most for update skip locked) o"
    " where (r.tenant, r.provider, r.id) = (o.tenant, o.provider, o.id)"
)


async def forget_requests(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete what providers posted before a time; the receipts and replies read from it stay."""
    return (await conn.execute(_REQUESTS, {"before": before, "most": most})).rowcount == most


async def forget_history(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete the history of providers before a time; what a person did stays."""
    return (await conn.execute(_HISTORY, {"before": before, "most": most})).rowcount == most


async def forget_sandbox(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete what the sandbox was given before a time; its deliveries stay."""
    return (await conn.execute(_SANDBOX, {"before": before, "most": most})).rowcount == most


async def forget_parts(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete the names of parts of messages sent before a time: no more receipts come for them."""
    return (await conn.execute(_PARTS, {"before": before, "most": most})).rowcount == most


async def forget_slots(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete slots that ended before a time, where nothing was recorded, or a contact that carries the decision itself."""
    return (await conn.execute(_SLOTS, {"before": before, "most": most})).rowcount == most


async def forget_nameless(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete contacts with the numbers of erased owners made before a time: no rule counts them any more."""
    return (await conn.execute(_NAMELESS, {"before": before, "most": most})).rowcount == most


async def forget_unclaimed(conn: AsyncConnection, before: datetime, most: int) -> bool:
    """Delete what strangers wrote before a time, and their addresses, as no borrower's erasure covers them; what it suppressed stays."""
    return (await conn.execute(_UNCLAIMED, {"before": before, "most": most})).rowcount == most
