"""Which case a debt is in: its own or its borrower's, as its policy asks, but it never leaves one with a running spell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.arrays import transposed, unnest


def runs(debt: str, owed: str) -> str:
    """Return the condition that a debt's case keeps it: a spell is running, or it is pre-due and this debt is not overdue."""
    return (
        "exists (select from scheduler.cases c where (c.tenant, c.borrower_id, c.currency, c.loan_id)"
        f" = ({debt}.tenant, {debt}.borrower_id, {debt}.currency, {debt}.case_loan)"
        f" and (c.state = 'cured' or c.state = 'open' and (c.stage = 'overdue' or not {owed})))"
    )


def housed(debt: str, owed: str, wished: str) -> str:
    """Return the expression for a debt's case from now on; if it is already in the right one, no lookup is made."""
    return (
        f"case when {debt}.case_loan = {wished} then {debt}.case_loan"
        f" when {runs(debt, owed)} then {debt}.case_loan else {wished} end"
    )  # fmt: skip


_RECKONED = {"tenant": "text", "borrower_id": "text", "loan_id": "text", "wake_at": "timestamptz", "case_loan": "text"}
_RECKON = text(
    f"update scheduler.debts d set wake_at = v.wake_at, case_loan = {housed('d', 'd.owed', 'v.case_loan')}"
    f" from {unnest(_RECKONED, 'v')} where (d.tenant, d.borrower_id, d.loan_id) = (v.tenant, v.borrower_id, v.loan_id)"
    " returning d.tenant, d.borrower_id, d.loan_id, d.case_loan"
)


@dataclass(frozen=True, slots=True)
class Reckoned:
    """When a debt's reminder is now due, and which case it should be in."""

    tenant: str
    borrower_id: str
    loan_id: str
    wake_at: datetime | None
    case_loan: str


async def reckon(conn: AsyncConnection, rows: Sequence[Reckoned]) -> dict[tuple[str, str, str], str]:
    """Store when the reminders of these locked debts are due; return which case each is in from now on."""
    if not rows:
        return {}
    found = await conn.execute(_RECKON, transposed(_RECKONED, rows))
    return {(row.tenant, row.borrower_id, row.loan_id): row.case_loan for row in found}
