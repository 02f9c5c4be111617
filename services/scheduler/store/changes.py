"""Changes of policies and assignments on their way to every debt of the tenant: reminders reckoned anew, cases looked at again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.arrays import transposed, unnest

_ADD = text(
    "insert into scheduler.policy_changes (tenant, change_id, effective_at, wakes) values (:tenant, :change_id, :effective_at, :wakes)"
)
_CLAIM = text(
    "select tenant, change_id, after_borrower, after_loan, wakes from scheduler.policy_changes where effective_at <= :now"
    " order by effective_at, tenant, change_id limit 1 for update skip locked"
)
_MOVE = text(
    "update scheduler.policy_changes set after_borrower = :after_borrower, after_loan = :after_loan"
    " where tenant = :tenant and change_id = :change_id"
)
_END = text("delete from scheduler.policy_changes where tenant = :tenant and change_id = :change_id")
_DEBTS = text(
    "select borrower_id, loan_id, currency, fact_at, owed, fact from scheduler.debts where tenant = :tenant and live"
    " and (borrower_id, loan_id) > (:after_borrower, :after_loan) order by borrower_id, loan_id limit :limit for update"
)
_RECKONED = {"tenant": "text", "borrower_id": "text", "loan_id": "text", "wake_at": "timestamptz"}
_RECKON = text(
    f"update scheduler.debts d set wake_at = v.wake_at from {unnest(_RECKONED, 'v')}"
    " where (d.tenant, d.borrower_id, d.loan_id) = (v.tenant, v.borrower_id, v.loan_id)"
)


@dataclass(frozen=True, slots=True)
class Change:
    """A change, and the last debt that has heard of it."""

    tenant: str
    change_id: str
    after_borrower: str
    after_loan: str
    wakes: bool
    """Whether spells that run are to be looked at."""


@dataclass(frozen=True, slots=True)
class Told:
    """A debt that hears of a change."""

    borrower_id: str
    loan_id: str
    currency: str
    fact_at: datetime
    owed: bool
    fact: bytes


@dataclass(frozen=True, slots=True)
class Reckoned:
    """When a debt's reminder is due now."""

    tenant: str
    borrower_id: str
    loan_id: str
    wake_at: datetime | None


async def add(conn: AsyncConnection, tenant: str, change_id: str, effective_at: datetime, *, wakes: bool) -> None:
    """Note a change that every debt of a tenant is to hear of from a moment on."""
    await conn.execute(_ADD, {"tenant": tenant, "change_id": change_id, "effective_at": effective_at, "wakes": wakes})


async def claim(conn: AsyncConnection, now: datetime) -> Change | None:
    """Take a change whose moment has come and that nobody else is at, or None."""
    row = (await conn.execute(_CLAIM, {"now": now})).one_or_none()
    return None if row is None else Change(*row)


async def next_debts(conn: AsyncConnection, change: Change, limit: int) -> list[Told]:
    """Lock the next debts that have not heard of it, in key order."""
    values = {"tenant": change.tenant, "after_borrower": change.after_borrower, "after_loan": change.after_loan, "limit": limit}
    return [Told(*row) for row in await conn.execute(_DEBTS, values)]


async def reckon(conn: AsyncConnection, rows: Sequence[Reckoned]) -> None:
    """Write when reminders are due."""
    if rows:
        await conn.execute(_RECKON, transposed(_RECKONED, rows))


async def move(conn: AsyncConnection, change: Change, last: Told) -> None:
    """Note how far a change has come."""
    key = {"tenant": change.tenant, "change_id": change.change_id}
    await conn.execute(_MOVE, {**key, "after_borrower": last.borrower_id, "after_loan": last.loan_id})


async def end(conn: AsyncConnection, change: Change) -> None:
    """Forget a change of which every debt has heard."""
    await conn.execute(_END, {"tenant": change.tenant, "change_id": change.change_id})
