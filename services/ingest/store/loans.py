"""Loans: the stub that a later loan waits on, the lock, the fold's result, and the timer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

Key = tuple[str, str]
"""(tenant, loan id)."""


class LoanRow(msgspec.Struct, gc=False, eq=False):
    """A loan as it is stored; `book` and `line` are encoded."""

    tenant: str
    loan_id: str
    known: bool = False
    borrower_id: str | None = None
    product: str | None = None
    product_version: int | None = None
    currency: str | None = None
    timezone: str | None = None
    records: int = 0
    accepted: int = 0
    parked: int = 0
    doubt_since: datetime | None = None
    fold_error: str | None = None
    book: bytes | None = None
    fold: int = 0
    settings: bytes | None = None
    status: str | None = None
    anchor_on: date | None = None
    bucket: str | None = None
    overdue_total: int = 0
    outstanding_total: int = 0
    phase: str | None = None
    published: bool = False
    next_at: datetime | None = None
    read: tuple[object, ...] | None = None
    """Not a column: what the settled columns were when the row was read."""

    @property
    def key(self) -> Key:
        """Return (tenant, loan id)."""
        return self.tenant, self.loan_id


_COLUMNS = tuple(name for name in LoanRow.__struct_fields__ if name != "read")
_SELECTED = ", ".join(f"l.{name}" for name in _COLUMNS)
_TYPES = {
    "known": "boolean", "product_version": "int", "records": "bigint", "accepted": "bigint", "parked": "int", "doubt_since": "timestamptz",
    "book": "bytea", "fold": "int", "settings": "bytea", "anchor_on": "date", "overdue_total": "bigint", "outstanding_total": "bigint",
    "published": "boolean", "next_at": "timestamptz",
}  # fmt: skip
_SETTLED = (
    "known",
    "borrower_id",
    "product",
    "product_version",
    "currency",
    "timezone",
    "settings",
    "fold",
    "parked",
    "doubt_since",
    "fold_error",
)
"""What hardly changes once a loan is known."""
_settled = attrgetter(*_SETTLED)

_ENSURE = text(
    "insert into ingest.loans (tenant, loan_id)"
    " select tenant, loan_id from unnest(cast(:tenants as text[]), cast(:loans as text[])) as k(tenant, loan_id) order by 1, 2"
    " on conflict do nothing"
)
_LOCK = text(
    f"select {_SELECTED} from (select * from unnest(cast(:tenants as text[]), cast(:loans as text[])) as u(tenant, loan_id)"
    " order by 1, 2) k cross join lateral (select * from ingest.loans where tenant = k.tenant and loan_id = k.loan_id for update) l"
)
"""A look into the index a key, in key order: left to choose, the planner reads the whole table until it has seen the statement often."""
_FIND = text(f"select {_SELECTED} from ingest.loans l where l.tenant = :tenant and l.loan_id = :loan_id")
_OF_BORROWER = text(
    f"select {_SELECTED} from ingest.borrower_loans b join ingest.loans l on l.tenant = b.tenant and l.loan_id = b.loan_id"
    " where b.tenant = :tenant and b.borrower_id = :borrower_id and l.known order by l.loan_id"
)


def _saving(columns: Sequence[str]) -> TextClause:
    arrays = ", ".join(f"cast(:{name} as {_TYPES.get(name, 'text')}[])" for name in columns)
    return text(
        f"update ingest.loans l set {', '.join(f'{name} = n.{name}' for name in columns[2:])}"
        f" from unnest({arrays}) as n({', '.join(columns)}) where l.tenant = n.tenant and l.loan_id = n.loan_id"
    )


_MOVING = tuple(name for name in _COLUMNS if name not in _SETTLED)
_SAVE_WHOLE, _SAVE_MOVING = _saving(_COLUMNS), _saving(_MOVING)
_LINK = text(
    "insert into ingest.borrower_loans (tenant, borrower_id, loan_id)"
    " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:loans as text[])) order by 1, 2, 3"
    " on conflict do nothing"
)
_DUE = text(
    f"select {_SELECTED} from ingest.loans l where l.next_at <= :now and (cast(:after as timestamptz) is null or l.next_at >= :after)"
    " order by l.next_at limit :limit for update skip locked"
)
_WAKE_ALL = text("update ingest.loans set next_at = :now where published and (next_at is null or next_at > :now)")
_NEXT = text("select min(next_at) from ingest.loans where next_at is not null")
_BACKLOG = text("select count(*), min(next_at) from ingest.loans where next_at <= :now")


async def lock(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, LoanRow]:
    """Make sure that each loan has a row, lock all of them in key order, and return them.

    The stub is what a second transaction waits on: without it a payment and its disbursement in two open transactions would each
    be committed and one of them never folded.
    """
    ordered = sorted(keys)
    arrays = {"tenants": [tenant for tenant, _ in ordered], "loans": [loan for _, loan in ordered]}
    await conn.execute(_ENSURE, arrays)
    return {row.key: row for row in map(_row, (await conn.execute(_LOCK, arrays)).all())}


async def find(conn: AsyncConnection, tenant: str, loan_id: str) -> LoanRow | None:
    """Return a loan's row."""
    row = (await conn.execute(_FIND, {"tenant": tenant, "loan_id": loan_id})).one_or_none()
    return None if row is None else _row(row)


async def of_borrower(conn: AsyncConnection, tenant: str, borrower_id: str) -> list[LoanRow]:
    """Return the loans of a borrower."""
    rows = await conn.execute(_OF_BORROWER, {"tenant": tenant, "borrower_id": borrower_id})
    return [row for row in map(_row, rows.all()) if row.borrower_id == borrower_id]


async def save(conn: AsyncConnection, rows: Sequence[LoanRow]) -> None:
    """Write loans that are locked; of those whose settled columns are as they were read, only the others."""
    moved = [row for row in rows if row.read == _settled(row)]
    whole = [row for row in rows if row.read != _settled(row)] if len(moved) < len(rows) else []
    for statement, columns, chosen in ((_SAVE_MOVING, _MOVING, moved), (_SAVE_WHOLE, _COLUMNS, whole)):
        if chosen:
            await conn.execute(statement, {name: [getattr(row, name) for row in chosen] for name in columns})


async def link(conn: AsyncConnection, rows: Sequence[LoanRow]) -> None:
    """Note which borrower these loans belong to."""
    if rows:
        arrays = {"tenants": [r.tenant for r in rows], "borrowers": [r.borrower_id for r in rows], "loans": [r.loan_id for r in rows]}
        await conn.execute(_LINK, arrays)


async def claim_due(conn: AsyncConnection, now: datetime, *, after: datetime | None, limit: int) -> list[LoanRow]:
    """Lock loans whose time has come, earliest first, leaving out those that somebody else holds."""
    rows = await conn.execute(_DUE, {"now": now, "after": after, "limit": limit})
    return [_row(row) for row in rows.all()]


async def wake_published(conn: AsyncConnection, now: datetime) -> int:
    """Let every loan with a published fact be looked at again: its fact must be said anew."""
    return (await conn.execute(_WAKE_ALL, {"now": now})).rowcount


async def next_at(conn: AsyncConnection) -> datetime | None:
    """Return the earliest moment at which a loan's fact changes by time."""
    return (await conn.execute(_NEXT)).scalar_one()  # type: ignore[no-any-return]  # typed by the column


async def backlog(conn: AsyncConnection, now: datetime) -> tuple[int, datetime | None]:
    """Return how many loans are due and since when the oldest is."""
    row = (await conn.execute(_BACKLOG, {"now": now})).one()
    return row[0], row[1]


def _row(row: Any) -> LoanRow:
    made = LoanRow(*row)
    made.read = _settled(made)
    return made
