"""Changes of policies and assignments being applied to every debt of a tenant: reminders recomputed, cases planned again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.arrays import unnest
from services.scheduler.store.debts import facts_of
from services.scheduler.store.reach import WITH_SEGMENT

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
_TOLD = "select d.tenant, d.borrower_id, d.loan_id, d.currency, d.case_loan, d.fact_at, d.owed, r.segment"
_DEBTS = text(
    f"{_TOLD} from scheduler.debts d {WITH_SEGMENT} where d.tenant = :tenant and d.live"
    " and (d.borrower_id, d.loan_id) > (:after_borrower, :after_loan) order by d.borrower_id, d.loan_id limit :limit for update of d"
)
_CLAIM_SEGMENTS = text(
    "delete from scheduler.segment_changes s using (select tenant, borrower_id from scheduler.segment_changes where at <= :before"
    " order by at limit :limit for update skip locked) c where (s.tenant, s.borrower_id) = (c.tenant, c.borrower_id)"
    " returning s.tenant, s.borrower_id"
)
_DEBTS_OF = text(
    f"{_TOLD} from {unnest({'tenant': 'text', 'borrower_id': 'text'}, 'k')}"
    f" join scheduler.debts d on (d.tenant, d.borrower_id) = (k.tenant, k.borrower_id) {WITH_SEGMENT}"
    " where d.live order by d.tenant, d.borrower_id, d.loan_id for update of d"
)


@dataclass(frozen=True, slots=True)
class Change:
    """A change, and the last debt it was applied to."""

    tenant: str
    change_id: str
    after_borrower: str
    after_loan: str
    wakes: bool
    """Whether running spells are to be planned again."""


@dataclass(frozen=True, slots=True)
class Told:
    """A debt a change is being applied to."""

    tenant: str
    borrower_id: str
    loan_id: str
    currency: str
    case_loan: str
    fact_at: datetime
    owed: bool
    segment: str | None
    fact: bytes


async def add(conn: AsyncConnection, tenant: str, change_id: str, effective_at: datetime, *, wakes: bool) -> None:
    """Record a change to be applied to every debt of a tenant from a moment on."""
    await conn.execute(_ADD, {"tenant": tenant, "change_id": change_id, "effective_at": effective_at, "wakes": wakes})


async def claim(conn: AsyncConnection, now: datetime) -> Change | None:
    """Claim a change that has taken effect and that nobody else is applying, or None."""
    row = (await conn.execute(_CLAIM, {"now": now})).one_or_none()
    return None if row is None else Change(*row)


async def next_debts(conn: AsyncConnection, change: Change, limit: int) -> list[Told]:
    """Lock the next debts it has not been applied to, in key order."""
    values = {"tenant": change.tenant, "after_borrower": change.after_borrower, "after_loan": change.after_loan, "limit": limit}
    return await _with_facts(conn, (await conn.execute(_DEBTS, values)).all())


async def claim_segments(conn: AsyncConnection, before: datetime, limit: int) -> list[tuple[str, str]]:
    """Take the (tenant, borrower) whose segment had changed by a moment; each change is taken once."""
    return [(row.tenant, row.borrower_id) for row in await conn.execute(_CLAIM_SEGMENTS, {"before": before, "limit": limit})]


async def debts_of(conn: AsyncConnection, borrowers: Sequence[tuple[str, str]]) -> list[Told]:
    """Lock all debts of these (tenant, borrower) in key order."""
    tenants, ids = zip(*borrowers, strict=True)
    return await _with_facts(conn, (await conn.execute(_DEBTS_OF, {"tenant": list(tenants), "borrower_id": list(ids)})).all())


async def move(conn: AsyncConnection, change: Change, last: Told) -> None:
    """Record how far a change has come."""
    key = {"tenant": change.tenant, "change_id": change.change_id}
    await conn.execute(_MOVE, {**key, "after_borrower": last.borrower_id, "after_loan": last.loan_id})


async def end(conn: AsyncConnection, change: Change) -> None:
    """Delete a change that was applied to every debt."""
    await conn.execute(_END, {"tenant": change.tenant, "change_id": change.change_id})


async def _with_facts(conn: AsyncConnection, locked: Sequence[Row[Any]]) -> list[Told]:
    """Return debts with their facts, read after locking: a statement that waits for a lock does not see what changed meanwhile."""
    facts = await facts_of(conn, [(row.tenant, row.borrower_id, row.loan_id) for row in locked])
    return [Told(**row._mapping, fact=facts[row.tenant, row.borrower_id, row.loan_id]) for row in locked]  # noqa: SLF001  # SQLAlchemy's public name
