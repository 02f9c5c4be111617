"""Promises to pay, and what each of their debts had received before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.case import Case
from services.scheduler.domain.promises import Promise, PromiseState
from services.scheduler.store.arrays import ID, transposed, unnest

_OF = {"tenant": ID, "borrower_id": ID, "case_id": ID, "spell": "int"}
_ON = "(d.tenant, d.borrower_id, d.promise_id) = (p.tenant, p.borrower_id, p.promise_id)"
_STANDING = text(
    "select p.tenant, p.case_id, p.promise_id, p.spell, p.amount, p.tolerated, p.due_on, p.until, p.made_at, p.state, p.paid,"
    f" p.decided_at, array_agg(d.loan_id) as loans, array_agg(d.since) as sinces from {unnest(_OF, 'k')} join scheduler.promises p"
    " on (p.tenant, p.borrower_id, p.case_id) = (k.tenant, k.borrower_id, k.case_id)"
    f" join scheduler.promise_debts d on {_ON}"
    " where p.spell = k.spell or p.state = 'open' group by p.tenant, p.borrower_id, p.promise_id"
)
_PROMISE = {
    "tenant": "text", "borrower_id": "text", "promise_id": "text", "case_id": "text", "spell": "int", "amount": "bigint",
    "tolerated": "bigint", "due_on": "date", "until": "timestamptz", "made_at": "timestamptz", "made_by": "text", "channel": "text",
    "note": "text",
}  # fmt: skip
_MAKE = text(
    f"insert into scheduler.promises ({', '.join(_PROMISE)}, state, paid)"
    f" select {', '.join(_PROMISE)}, 'open', 0 from {unnest(_PROMISE, 'v')}"
    " order by tenant, borrower_id, promise_id on conflict do nothing returning promise_id"
)
_DEBT = {"tenant": "text", "borrower_id": "text", "promise_id": "text", "loan_id": "text", "since": "bigint"}
_MAKE_DEBTS = text(
    f"insert into scheduler.promise_debts as d ({', '.join(_DEBT)}) select {', '.join(_DEBT)} from {unnest(_DEBT, 'v')}"
    " order by tenant, borrower_id, promise_id, loan_id on conflict (tenant, borrower_id, promise_id, loan_id)"
    " do update set since = excluded.since"
)
_JUDGED = {
    "tenant": "text", "borrower_id": "text", "promise_id": "text", "state": "text", "paid": "bigint", "decided_at": "timestamptz",
}  # fmt: skip
_JUDGE = text(
    f"update scheduler.promises p set state = v.state, paid = v.paid, decided_at = v.decided_at from {unnest(_JUDGED, 'v')}"
    " where (p.tenant, p.borrower_id, p.promise_id) = (v.tenant, v.borrower_id, v.promise_id)"
)
_SHOWN = (
    "select p.promise_id, p.case_id, p.amount, p.due_on, p.until, p.made_at, p.made_by, p.channel, p.note, p.state, p.paid, p.decided_at,"
    f" array_agg(d.loan_id order by d.loan_id) as loans from scheduler.promises p join scheduler.promise_debts d on {_ON}"
    " where p.tenant = :tenant and p.borrower_id = :borrower_id and p.case_id = :case_id"
)
_BY_PROMISE = " group by p.tenant, p.borrower_id, p.promise_id"
_OF_CASE = text(f"{_SHOWN} and p.promise_id > :after{_BY_PROMISE} order by p.promise_id limit :limit")
_FIND = text(f"{_SHOWN} and p.promise_id = :promise_id{_BY_PROMISE}")


@dataclass(frozen=True, slots=True)
class PromiseRow:
    """A new promise."""

    tenant: str
    borrower_id: str
    promise_id: str
    case_id: str
    spell: int
    amount: int
    tolerated: int
    due_on: date
    until: datetime
    made_at: datetime
    made_by: str
    since: Mapping[str, int]
    channel: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """The current state of a promise."""

    tenant: str
    borrower_id: str
    promise_id: str
    state: str
    paid: int
    decided_at: datetime | None
    since: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _DebtRow:
    tenant: str
    borrower_id: str
    promise_id: str
    loan_id: str
    since: int


async def of_cases(conn: AsyncConnection, cases: Sequence[Case]) -> list[tuple[tuple[str, str], Promise]]:
    """Return the promises of these cases' spells, and open ones of any spell, by (tenant, case)."""
    found = await conn.execute(_STANDING, transposed(_OF, cases))
    return [
        (
            (row.tenant, row.case_id),
            Promise(
                row.promise_id, row.amount, row.due_on, row.until, row.made_at, dict(zip(row.loans, row.sinces, strict=True)),
                row.tolerated, PromiseState(row.state), row.paid, row.decided_at, row.spell,
            ),
        )
        for row in found
    ]  # fmt: skip


async def make(conn: AsyncConnection, row: PromiseRow) -> bool:
    """Store a promise; return False if it already exists."""
    new = (await conn.execute(_MAKE, transposed(_PROMISE, [row]))).one_or_none() is not None
    if new:
        await _keep_debts(conn, [row])
    return new


async def judge(conn: AsyncConnection, rows: Sequence[JudgedRow]) -> None:
    """Store the current state of promises."""
    if rows:
        by_key = {(row.tenant, row.borrower_id, row.promise_id): row for row in rows}
        ordered = [by_key[key] for key in sorted(by_key)]
        await conn.execute(_JUDGE, transposed(_JUDGED, ordered))
        await _keep_debts(conn, ordered)


async def of_case(conn: AsyncConnection, of: tuple[str, str, str], *, after: str, limit: int) -> Sequence[RowMapping]:
    """Return the promises of (tenant, borrower, case), by id."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "after": after, "limit": limit}
    return (await conn.execute(_OF_CASE, values)).mappings().all()


async def find(conn: AsyncConnection, of: tuple[str, str, str], promise_id: str) -> RowMapping | None:
    """Return a promise of (tenant, borrower, case), or None."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "promise_id": promise_id}
    return (await conn.execute(_FIND, values)).mappings().one_or_none()


async def _keep_debts(conn: AsyncConnection, made: Sequence[PromiseRow] | Sequence[JudgedRow]) -> None:
    rows = [_DebtRow(one.tenant, one.borrower_id, one.promise_id, loan, since) for one in made for loan, since in one.since.items()]
    await conn.execute(_MAKE_DEBTS, transposed(_DEBT, rows))
