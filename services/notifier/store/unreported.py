"""Messages that a provider has accepted and not reported on, by its own names for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.receipts import Standing

ENDED = Standing.FAILED.value
"""From this standing on a provider has said its final word, or nearly."""


@dataclass(frozen=True, slots=True)
class Unreported:
    """A message or part by its provider's name: in the form used for comparison, and as the provider wrote it."""

    tenant: str
    provider: str
    provider_ref: str
    spelled: str


async def keep(conn: AsyncConnection, taken: Sequence[Unreported], *, now: datetime, due_at: datetime) -> None:
    """Store what is to be asked about unless a report comes first."""
    ordered = sorted(taken, key=lambda one: (one.tenant, one.provider, one.provider_ref))
    if not ordered:
        return
    await conn.execute(
        text(
            "insert into notifier.unreported (tenant, provider, provider_ref, spelled, taken_at, due_at)"
            " select n.*, :now, :due_at from unnest(cast(:tenants as text[]), cast(:providers as text[]), cast(:refs as text[]),"
            " cast(:names as text[])) as n on conflict do nothing"
        ),
        {
            "now": now, "due_at": due_at, "tenants": [one.tenant for one in ordered], "providers": [one.provider for one in ordered],
            "refs": [one.provider_ref for one in ordered], "names": [one.spelled for one in ordered],
        },
    )  # fmt: skip


async def claim(conn: AsyncConnection, pauses: Sequence[timedelta], *, now: datetime, limit: int) -> tuple[list[Unreported], int]:
    """Count one more question for each message whose next is due; return those to ask, and how many were looked at.

    A message reported on by now is dropped without asking; so is one that is too old, even if its account was paused the whole time.
    """
    rows = await conn.execute(
        text(
            "with due as (select u.tenant, u.provider, u.provider_ref, not p.paused and u.due_at <= :now and not exists"
            " (select from notifier.receipts r where r.tenant = u.tenant and r.provider = u.provider and r.provider_ref = u.provider_ref"
            " and r.message_id is null and r.standing >= :ended) as asks"
            " from notifier.unreported u join notifier.provider_accounts p on p.tenant = u.tenant and p.name = u.provider"
            " where u.due_at <= :now and (not p.paused or u.taken_at < :over) order by u.due_at limit :limit for update of u skip locked),"
            " asked as (update notifier.unreported u set asked = u.asked + 1,"
            " due_at = u.taken_at + (cast(:pauses as interval[]))[u.asked + 2] from due"
            " where (u.tenant, u.provider, u.provider_ref) = (due.tenant, due.provider, due.provider_ref)"
            " and due.asks and u.asked + 1 < cardinality(cast(:pauses as interval[])) returning u.*),"
            " gone as (delete from notifier.unreported u using due"
            " where (u.tenant, u.provider, u.provider_ref) = (due.tenant, due.provider, due.provider_ref)"
            " and not (due.asks and u.asked + 1 < cardinality(cast(:pauses as interval[]))) returning u.*, due.asks)"
            " select tenant, provider, provider_ref, spelled, true as asks from asked"
            " union all select tenant, provider, provider_ref, spelled, asks from gone"
        ),
        {"now": now, "over": now - pauses[-1] * 2, "pauses": list(pauses), "ended": ENDED, "limit": limit},
    )
    found = rows.all()
    return [Unreported(row.tenant, row.provider, row.provider_ref, row.spelled) for row in found if row.asks], len(found)
