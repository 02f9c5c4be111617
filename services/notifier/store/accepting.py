"""Acceptances by providers of deliveries unchanged since their claim: delivery, attempt and contact in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.arrays import column, joined
from services.notifier.domain.delivery import Delivery, Task
from services.notifier.store import contacts
from services.notifier.store.attempts import Closing
from services.notifier.store.borrowers import joined_arrays
from services.notifier.store.queue import put_in_place, taken_out

_ACCEPT = text(
    f"with n as materialized (select * from unnest({column('tenants')}, {column('borrowers')}, {column('tasks')}, {column('channels')},"
    f" {column('contacts')}, {column('receipts')}, {column('states')}, cast(:revisions as int[]), cast(:sequences as int[]),"
    " cast(:turns as int[]), cast(:nexts as timestamptz[]), cast(:refs as text[]))"
    " as n(tenant, borrower_id, task_id, channel, contact_id, receipt, state, revision, sequence, turn, next_at, ref)),"
    " moved as (update notifier.deliveries d set revision = d.revision + 1, state = n.state, sequence = n.sequence, next_at = n.next_at"
    " from n where d.tenant = n.tenant and d.borrower_id = n.borrower_id and d.task_id = n.task_id and d.revision = n.revision"
    " returning n.*),"
    " closed as (update notifier.attempts a set ended_at = :now, result = 'accepted', again = false, provider_ref = m.ref, code = null,"
    " fault = 'none', receipt = m.receipt from moved m where a.tenant = m.tenant and a.borrower_id = m.borrower_id"
    " and a.task_id = m.task_id and a.channel = m.channel and a.turn = m.turn and a.receipt is null),"
    " noted as (update notifier.contacts c set result = coalesce(m.receipt, 'accepted') from moved m where c.tenant = m.tenant"
    " and c.borrower_id = m.borrower_id and c.contact_id = m.contact_id and c.result <> 'delivered'),"
    f" {put_in_place('moved')}, {taken_out('moved')}"
    " select tenant, borrower_id, task_id from moved"
)


async def accept(conn: AsyncConnection, accepted: Sequence[tuple[Delivery, Closing]], *, now: datetime) -> set[Task]:
    """Record progress and closings for deliveries that nobody has written since they were read; return the keys of these."""
    if not accepted:
        return set()
    values = {
        **joined_arrays(d.key[:2] for d, _ in accepted), "tasks": joined([d.task_id for d, _ in accepted]),
        "channels": joined([c.attempt.channel for _, c in accepted]), "receipts": joined([c.receipt for _, c in accepted]),
        "contacts": joined([contacts.id_of(d.task_id, c.attempt.channel) for d, c in accepted]),
        "states": joined([d.state.value for d, _ in accepted]), "revisions": [d.revision for d, _ in accepted],
        "sequences": [d.sequence for d, _ in accepted], "turns": [c.attempt.turn for _, c in accepted],
        "nexts": [d.next_at for d, _ in accepted], "refs": [c.provider_ref for _, c in accepted], "now": now,
    }  # fmt: skip
    return {(tenant, borrower, task) for tenant, borrower, task in await conn.execute(_ACCEPT, values)}
