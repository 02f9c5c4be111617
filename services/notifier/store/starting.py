"""Contacts that start: their deliveries marked in flight and the contacts entered in the ledger, in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.arrays import column, joined
from services.notifier.domain.delivery import Delivery
from services.notifier.store.borrowers import joined_arrays
from services.notifier.store.contacts import AGAIN, BY_US, Contact
from services.notifier.store.queue import put_in_place

_encode = msgspec.json.Encoder().encode
_START = text(
    f"with n as materialized (select * from unnest({column('tenants')}, {column('borrowers')}, {column('tasks')}, {column('channels')},"
    f" {column('contacts')}, {column('lookups')}, {column('kinds')}, {column('loans')}, {column('cases')}, cast(:turns as int[]),"
    " cast(:decisions as bytea[]))"
    " as n(tenant, borrower_id, task_id, channel, contact_id, lookup, kind, loans, case_id, turn, decision)),"
    " marked as (update notifier.deliveries d set revision = d.revision + 1, state = 'in_flight', reason = null, next_at = :until,"
    " waiting = false, lost_time = null, turn = n.turn, channel = n.channel, decision = '['::bytea || n.decision || ']'::bytea"
    " from n where d.tenant = n.tenant and d.borrower_id = n.borrower_id and d.task_id = n.task_id),"
    " moved as (select tenant, borrower_id, task_id, 'in_flight' as state, cast(:until as timestamptz) as next_at from n),"
    f" {put_in_place('moved')}"
    " insert into notifier.contacts as c"
    " (tenant, borrower_id, contact_id, at, channel, result, by, direction, lookup, kind, loans, task_id, case_id, decision)"
    " select tenant, borrower_id, contact_id, :now, channel, '', :us, 'outbound', lookup, kind,"
    f" coalesce(string_to_array(loans, ','), '{{}}'), task_id, case_id, decision from n{AGAIN}"
)


async def start(conn: AsyncConnection, started: Sequence[tuple[Delivery, Contact]], *, now: datetime, until: datetime) -> None:
    """Mark pending deliveries as in flight until `until`, and enter their contacts, in key order."""
    ordered = sorted(started, key=lambda one: one[0].key)
    if not ordered:
        return
    await conn.execute(
        _START,
        {
            **joined_arrays(d.key[:2] for d, _ in ordered), "tasks": joined([d.task_id for d, _ in ordered]),
            "channels": joined([c.channel for _, c in ordered]), "contacts": joined([c.contact_id for _, c in ordered]),
            "lookups": joined([c.lookup or None for _, c in ordered]), "kinds": joined([c.kind for _, c in ordered]),
            "loans": joined([",".join(c.loans) or None for _, c in ordered]), "cases": joined([c.case_id for _, c in ordered]),
            "turns": [d.turn for d, _ in ordered], "decisions": [_encode(c.decision) for _, c in ordered],
            "now": now, "until": until, "us": BY_US,
        },
    )  # fmt: skip
