"""The queue of what is due, by tenant: each tenant has its own range of an index, so that no tenant reads through another's backlog.

It has a small row for each delivery with a `next_at`, written in the same statement as the delivery. Columns that change at every step are
indexed only here, so that the delivery itself, ten times as large, can be updated in place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store.borrowers import Who

_TENANTS = (
    "with recursive tenants as ("
    "(select tenant from notifier.queue order by tenant limit 1) union all"
    " select (select q.tenant from notifier.queue q where q.tenant > t.tenant order by q.tenant limit 1)"
    " from tenants t where t.tenant is not null) "
)
"""Every tenant with anything still to do, found with one index step each."""
DUE_TENANTS = (
    _TENANTS + "select tenant from tenants where"
    " (select q.next_at from notifier.queue q where q.tenant = tenants.tenant order by q.next_at limit 1) <= :now"
)
DUE = (
    "select k.next_at, w.tenant, k.borrower_id, k.task_id"
    " from unnest(cast(:tenants as text[]), cast(:nexts as timestamptz[]), cast(:borrowers as text[]), cast(:tasks as text[]))"
    " as w(tenant, next_at, borrower_id, task_id) cross join lateral"
    " (select q.next_at, q.borrower_id, q.task_id from notifier.queue q"
    " where q.tenant = w.tenant and q.next_at <= :now and (q.next_at, q.borrower_id, q.task_id) > (w.next_at, w.borrower_id, w.task_id)"
    " order by q.next_at, q.borrower_id, q.task_id limit :share offset :past) k order by k.next_at, w.tenant, k.borrower_id, k.task_id"
)
_NEXT = (
    _TENANTS + "select min(first) from tenants cross join lateral"
    " (select q.next_at as first from notifier.queue q where q.tenant = tenants.tenant order by q.next_at limit 1) f"
)
_BEFORE_ALL = datetime.min  # noqa: DTZ901  # the driver's word for -infinity
_OF_IT = "q.tenant = m.tenant and q.borrower_id = m.borrower_id and q.task_id = m.task_id"


@dataclass(frozen=True, slots=True)
class Key:
    """A delivery's place in the order of claims."""

    next_at: datetime
    tenant: str
    borrower_id: str
    task_id: str

    @property
    def who(self) -> Who:
        """Return its borrower."""
        return self.tenant, self.borrower_id


def entered(moved: str) -> str:
    """Return the part of a statement that enters these deliveries (key, state, next_at), or moves them, if they have a `next_at`."""
    return (
        "entered as (insert into notifier.queue as q (tenant, borrower_id, task_id, state, next_at)"
        f" select tenant, borrower_id, task_id, state, next_at from {moved} where next_at is not null"
        " on conflict (tenant, borrower_id, task_id) do update set state = excluded.state, next_at = excluded.next_at)"
    )


def put_in_place(moved: str) -> str:
    """Return the part of a statement that moves those of these deliveries that are in the queue and stay there."""
    return (
        f"put as (update notifier.queue q set state = m.state, next_at = m.next_at from {moved} m where {_OF_IT} and m.next_at is not null)"
    )


def taken_out(moved: str) -> str:
    """Return the part of a statement that removes those of these deliveries for which nothing is left to do."""
    return f"taken as (delete from notifier.queue q using {moved} m where {_OF_IT} and m.next_at is null)"


async def due_tenants(conn: AsyncConnection, *, now: datetime) -> list[str]:
    """Return the tenants that have something due."""
    return [row.tenant for row in await conn.execute(text(DUE_TENANTS), {"now": now})]


async def due(conn: AsyncConnection, places: Mapping[str, Key | None], *, now: datetime, share: int, past: int = 0) -> list[Key]:
    """Return up to `share` due deliveries of each tenant, after its place in the order and skipping `past` more; takes no lock."""
    after = list(places.items())
    rows = await conn.execute(
        text(DUE),
        {
            "now": now, "share": share, "past": past, "tenants": [tenant for tenant, _ in after],
            "nexts": [key.next_at if key else _BEFORE_ALL for _, key in after],
            "borrowers": [key.borrower_id if key else "" for _, key in after], "tasks": [key.task_id if key else "" for _, key in after],
        },
    )  # fmt: skip
    return [Key(row.next_at, row.tenant, row.borrower_id, row.task_id) for row in rows]


async def next_due(conn: AsyncConnection) -> datetime | None:
    """Return when the next delivery is due."""
    return (await conn.execute(text(_NEXT))).scalar_one()  # type: ignore[no-any-return]  # typed by the statement
