"""Queries for the HTTP API."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.states import State

_DELIVERY = (
    "tenant, borrower_id, task_id, case_id, request, taken_at, expires_at, state, reason, next_at, waiting, sequence, turn, channel,"
    " spent, decision, resolve_by"
)
OPEN = frozenset({State.PENDING, State.IN_FLIGHT, State.UNKNOWN})
"""States in which something is always scheduled."""
_OPEN = (
    " and (borrower_id, task_id) in (select q.borrower_id, q.task_id from notifier.queue q where q.tenant = :tenant and q.state = :state)"
)


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries are asked for; `after` is the last task id of the previous page."""

    tenant: str
    borrower_id: str | None = None
    case_id: str | None = None
    state: str | None = None
    after: str | None = None
    limit: int = 100


async def deliveries(conn: AsyncConnection, wanted: Filter) -> Sequence[Row[tuple[object, ...]]]:
    """Return deliveries by task id; those not ended are looked up in the queue, which is far smaller."""
    rows = await conn.execute(
        text(
            f"select {_DELIVERY} from notifier.deliveries d where tenant = :tenant{_OPEN if wanted.state in OPEN else ''}"  # no value in it
            " and (cast(:borrower as text) is null or borrower_id = :borrower) and (cast(:case as text) is null or case_id = :case)"
            " and (cast(:state as text) is null or state = :state) and (cast(:after as text) is null or task_id > :after)"
            " order by task_id limit :limit"
        ),
        {
            "tenant": wanted.tenant, "borrower": wanted.borrower_id, "case": wanted.case_id, "state": wanted.state,
            "after": wanted.after, "limit": wanted.limit,
        },
    )  # fmt: skip
    return rows.all()


async def delivery(conn: AsyncConnection, tenant: str, task_id: str) -> Row[tuple[object, ...]] | None:
    """Return a delivery, or None."""
    rows = await conn.execute(
        text(f"select {_DELIVERY} from notifier.deliveries where tenant = :tenant and task_id = :task"),  # no value in it
        {"tenant": tenant, "task": task_id},
    )
    return rows.first()


async def attempts(conn: AsyncConnection, tenant: str, borrower_id: str, task_id: str) -> Sequence[Row[tuple[object, ...]]]:
    """Return the attempts of a delivery, oldest first."""
    rows = await conn.execute(
        text(
            "select channel, turn, provider, locale, version, began_at, ended_at, result, provider_ref, code, fault, receipt"
            " from notifier.attempts where tenant = :tenant and borrower_id = :borrower and task_id = :task order by turn"
        ),
        {"tenant": tenant, "borrower": borrower_id, "task": task_id},
    )
    return rows.all()


async def receipts(conn: AsyncConnection, tenant: str, borrower_id: str, task_id: str) -> Sequence[Row[tuple[object, ...]]]:
    """Return everything a provider said about the attempts of a delivery, in order of arrival."""
    rows = await conn.execute(
        text(
            "select a.channel, r.provider, r.at, r.received_at, r.standing, r.code, r.fault, c.sealed"
            " from notifier.attempts a join notifier.receipts r on r.tenant = a.tenant and r.provider = a.provider"
            " and (r.message_id = a.message_id or (r.message_id is null and r.provider_ref = a.provider_ref))"
            " left join notifier.callbacks c on c.id = r.callback"
            " where a.tenant = :tenant and a.borrower_id = :borrower and a.task_id = :task order by r.received_at, r.standing, r.id"
        ),
        {"tenant": tenant, "borrower": borrower_id, "task": task_id},
    )
    return rows.all()


async def contacts(
    conn: AsyncConnection, tenant: str, borrower_id: str, *, after: tuple[datetime, str] | None, limit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """Return a borrower's contacts by (time, id), oldest first; `after` is where the previous page ended."""
    at, last = after or (None, None)
    rows = await conn.execute(
        text(
            "select contact_id, at, channel, result, by, direction, kind, loans, task_id, case_id, decision, reserved_until"
            " from notifier.contacts"
            " where tenant = :tenant and borrower_id = :borrower"
            " and (cast(:at as timestamptz) is null or (at, contact_id) > (:at, :last))"
            " order by at, contact_id limit :limit"
        ),
        {"tenant": tenant, "borrower": borrower_id, "at": at, "last": last, "limit": limit},
    )
    return rows.all()


async def is_known(conn: AsyncConnection, tenant: str, borrower_id: str) -> bool:
    """Return whether anything has ever been heard about a borrower."""
    rows = await conn.execute(
        text("select 1 from notifier.borrowers where tenant = :tenant and borrower_id = :borrower"),
        {"tenant": tenant, "borrower": borrower_id},
    )
    return rows.first() is not None
