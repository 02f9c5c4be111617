"""Bulk holds in progress, and which cases they are for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.debts import FACT
from services.scheduler.store.held import CaseKey

_DEBT_WITH = (
    "exists (select from scheduler.debts d where (d.tenant, d.borrower_id, d.currency, d.case_loan)"
    " = (c.tenant, c.borrower_id, c.currency, c.loan_id) and d.live"
    " and {})"
)
_FILTERS = {
    "borrower_ids": "c.borrower_id = any(:borrower_ids)",
    "policy": "c.policy = :policy",
    "stage": "c.stage = :stage",
    "products": _DEBT_WITH.format(f"convert_from({FACT}, 'UTF8')::jsonb ->> 'product' = any(:products)"),
    "jurisdictions": _DEBT_WITH.format(f"convert_from({FACT}, 'UTF8')::jsonb -> 'jurisdictions' ?| :jurisdictions"),
}
_SHOWN = 'batch_id, number, done, "by", at, ended_at'
_BEGIN = text(
    'insert into scheduler.hold_batches (tenant, batch_id, asked, "by", at, number) values (:tenant, :batch_id, :asked, :by, :at, :number)'
    " on conflict do nothing"
)
_FIND = text(f"select {_SHOWN} from scheduler.hold_batches where tenant = :tenant and batch_id = :batch_id")
_CLAIM = text(
    'select tenant, batch_id, asked, "by", after_borrower, after_case from scheduler.hold_batches where ended_at is null'
    " order by at, tenant, batch_id limit 1 for update skip locked"
)
_MOVE = text(
    "update scheduler.hold_batches set after_borrower = :after_borrower, after_case = :after_case, done = done + :done,"
    " ended_at = :ended_at, asked = case when cast(:ended_at as timestamptz) is null then asked else '' end"
    " where tenant = :tenant and batch_id = :batch_id"
)
"""What was asked for goes with the end: whom it was for and why is told by the holds, which an erasure reaches."""
_GIVE_UP = text("update scheduler.hold_batches set ended_at = :at where tenant = :tenant and batch_id = :batch_id")


@dataclass(frozen=True, slots=True)
class CaseFilter:
    """Which open cases; None matches everything."""

    borrower_ids: list[str] | None = None
    products: list[str] | None = None
    jurisdictions: list[str] | None = None
    policy: str | None = None
    stage: str | None = None


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, and the last case that already has its hold."""

    tenant: str
    batch_id: str
    asked: bytes
    by: str
    after_borrower: str
    after_case: str


async def count(conn: AsyncConnection, tenant: str, chosen: CaseFilter) -> int:
    """Return how many open cases match a filter."""
    where, values = _where(tenant, chosen)
    return int((await conn.execute(text(f"select count(*) from scheduler.cases c where {where}"), values)).scalar_one())


async def begin(conn: AsyncConnection, batch: Batch, *, number: int, at: datetime) -> None:
    """Write a batch; an existing one with this id is left as it is."""
    values = {"tenant": batch.tenant, "batch_id": batch.batch_id, "asked": batch.asked, "by": batch.by, "at": at, "number": number}
    await conn.execute(_BEGIN, values)


async def find(conn: AsyncConnection, tenant: str, batch_id: str) -> RowMapping | None:
    """Return a batch's progress, or None."""
    return (await conn.execute(_FIND, {"tenant": tenant, "batch_id": batch_id})).mappings().one_or_none()


async def claim(conn: AsyncConnection) -> Batch | None:
    """Claim an unfinished batch that nobody else is working on, or None."""
    row = (await conn.execute(_CLAIM)).one_or_none()
    return None if row is None else Batch(*row)


async def next_cases(conn: AsyncConnection, batch: Batch, chosen: CaseFilter, limit: int) -> Sequence[CaseKey]:
    """Return the next open cases of a batch, in key order."""
    where, values = _where(batch.tenant, chosen)
    statement = text(
        f"select c.tenant, c.borrower_id, c.case_id, c.currency, c.loan_id from scheduler.cases c where {where}"
        " and (c.borrower_id, c.case_id) > (:after_borrower, :after_case) order by c.borrower_id, c.case_id limit :limit"
    )
    place = {"after_borrower": batch.after_borrower, "after_case": batch.after_case, "limit": limit}
    return [CaseKey(*row) for row in await conn.execute(statement, {**values, **place})]


async def move(conn: AsyncConnection, batch: Batch, done: Sequence[CaseKey], *, ended_at: datetime | None) -> None:
    """Record a batch's progress, or its end."""
    last = (done[-1].borrower_id, done[-1].case_id) if done else (batch.after_borrower, batch.after_case)
    values = {"tenant": batch.tenant, "batch_id": batch.batch_id, "done": len(done), "ended_at": ended_at}
    await conn.execute(_MOVE, {**values, "after_borrower": last[0], "after_case": last[1]})


async def give_up(conn: AsyncConnection, batch: Batch, at: datetime) -> None:
    """Note that a batch ends where it is; what was asked for stays, for whoever looks into it."""
    await conn.execute(_GIVE_UP, {"tenant": batch.tenant, "batch_id": batch.batch_id, "at": at})


def _where(tenant: str, chosen: CaseFilter) -> tuple[str, dict[str, Any]]:
    given = {name: value for name in _FILTERS if (value := getattr(chosen, name)) is not None}
    parts = ["c.tenant = :tenant", "c.spell > 0", "c.state <> 'closed'", *(_FILTERS[name] for name in given)]
    return " and ".join(parts), {"tenant": tenant, **given}
