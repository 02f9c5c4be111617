"""The queue of what is due: by tenant, each through an index of its own order, so that no tenant's backlog is read for another's."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store.deliveries import Key

_TENANTS = (
    "with recursive tenants as ("
    "(select tenant from notifier.deliveries where next_at is not null order by tenant limit 1) union all"
    " select (select d.tenant from notifier.deliveries d where d.tenant > t.tenant and d.next_at is not null order by d.tenant limit 1)"
    " from tenants t where t.tenant is not null) "
)
"""Who has anything to be done at all, found by one step in the index for each."""
DUE_TENANTS = (
    _TENANTS + "select tenant from tenants where"
    " (select d.next_at from notifier.deliveries d where d.tenant = tenants.tenant and d.next_at is not null order by d.next_at limit 1)"
    " <= :now"
)
DUE = (
    "select k.next_at, w.tenant, k.borrower_id, k.task_id"
    " from unnest(cast(:tenants as text[]), cast(:nexts as timestamptz[]), cast(:borrowers as text[]), cast(:tasks as text[]))"
    " as w(tenant, next_at, borrower_id, task_id) cross join lateral"
    " (select d.next_at, d.borrower_id, d.task_id from notifier.deliveries d"
    " where d.tenant = w.tenant and d.next_at <= :now and (d.next_at, d.borrower_id, d.task_id) > (w.next_at, w.borrower_id, w.task_id)"
    " order by d.next_at, d.borrower_id, d.task_id limit :share) k order by k.next_at, w.tenant, k.borrower_id, k.task_id"
)
_NEXT = (
    _TENANTS + "select min(first) from tenants cross join lateral"
    " (select d.next_at as first from notifier.deliveries d where d.tenant = tenants.tenant and d.next_at is not null"
    " order by d.next_at limit 1) f"
)
_BEFORE_ALL = datetime.min  # noqa: DTZ901  # the driver's word for -infinity


async def due_tenants(conn: AsyncConnection, *, now: datetime) -> list[str]:
    """Return the tenants of whom something is due."""
    return [row.tenant for row in await conn.execute(text(DUE_TENANTS), {"now": now})]


async def due(conn: AsyncConnection, places: Mapping[str, Key | None], *, now: datetime, share: int) -> list[Key]:
    """Return up to so many of each tenant that are due, from the place in its order on; nothing is locked."""
    after = list(places.items())
    rows = await conn.execute(
        text(DUE),
        {
            "now": now, "share": share, "tenants": [tenant for tenant, _ in after],
            "nexts": [key.next_at if key else _BEFORE_ALL for _, key in after],
            "borrowers": [key.borrower_id if key else "" for _, key in after], "tasks": [key.task_id if key else "" for _, key in after],
        },
    )  # fmt: skip
    return [Key(row.next_at, row.tenant, row.borrower_id, row.task_id) for row in rows]


async def next_due(conn: AsyncConnection) -> datetime | None:
    """Return when the next delivery is due."""
    return (await conn.execute(text(_NEXT))).scalar_one()  # type: ignore[no-any-return]  # typed by the statement
