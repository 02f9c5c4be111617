"""Loans: the stub for a loan not yet known, the lock, the result of the fold, and the timer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.arrays import column, joined
from services.ingest.domain.fold import FOLD

Key = tuple[str, str]
"""(tenant, loan id)."""
Place = tuple[datetime, str, str]
"""(next moment, tenant, loan id): the order in which due loans are claimed."""


class LoanRow(msgspec.Struct, gc=False, eq=False):
    """A loan as stored; `book` and `settings` are encoded."""

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
    said_on: date | None = None
    """The loan's local day on which its first fact was published."""
    next_at: datetime | None = None
    read: tuple[object, ...] | None = None
    """Not a column: the values, when the row was read, of the columns that need not be saved every time."""

    @property
    def key(self) -> Key:
        """Return (tenant, loan id)."""
        return self.tenant, self.loan_id


_COLUMNS = tuple(name for name in LoanRow.__struct_fields__ if name != "read")
_SELECTED = ", ".join(f"l.{name}" for name in _COLUMNS)
_TYPES = {
    "known": "boolean", "product_version": "int", "records": "bigint", "accepted": "bigint", "parked": "int", "doubt_since": "timestamptz",
    "book": "bytea", "fold": "int", "settings": "bytea", "anchor_on": "date", "overdue_total": "bigint", "outstanding_total": "bigint",
    "published": "boolean", "said_on": "date", "next_at": "timestamptz",
}  # fmt: skip
_LINKED = ("known", "borrower_id")
_SETTLED = (
    *_LINKED,
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
"""Columns that rarely change once a loan is known."""
_FOLDED = ("records", "accepted", "book")
"""Columns that only a record changes, not time alone."""
_PLACED = ("status", "anchor_on", "bucket", "phase", "published", "said_on", "next_at")
"""Columns that most payments leave unchanged, since they only change sums."""
_compared = attrgetter(*_SETTLED, *_FOLDED, *_PLACED)
_AS_SETTLED, _AS_FOLDED = slice(len(_SETTLED)), slice(len(_SETTLED), len(_SETTLED) + len(_FOLDED))
_AS_PLACED, _AS_LINKED = slice(-len(_PLACED), None), slice(len(_LINKED))
_JOINED = ("tenant", "loan_id", "status", "phase")

_ENSURE = text(
    "insert into ingest.loans (tenant, loan_id, fold)"
    f" select tenant, loan_id, {FOLD} from unnest({column('tenants')}, {column('loans')}) as k(tenant, loan_id) left join lateral"
    " (select true as there from ingest.loans where tenant = k.tenant and loan_id = k.loan_id offset 0) l on true"
    " where there is null order by 1, 2 on conflict do nothing"
)
"""Existing rows are looked up first, which is cheaper than a conflict in the index; one not yet visible is waited for as usual."""
_LOCK = text(
    f"select {_SELECTED} from (select * from unnest({column('tenants')}, {column('loans')}) as u(tenant, loan_id)"
    " order by 1, 2) k cross join lateral (select * from ingest.loans where tenant = k.tenant and loan_id = k.loan_id for update) l"
)
"""One index lookup per key, in key order: left to choose, the planner reads the whole table until it has seen the statement often."""
_FIND = text(f"select {_SELECTED} from ingest.loans l where l.tenant = :tenant and l.loan_id = :loan_id")
_OF_BORROWER = text(
    f"select {_SELECTED} from ingest.borrower_loans b join ingest.loans l on l.tenant = b.tenant and l.loan_id = b.loan_id"
    " where b.tenant = :tenant and b.borrower_id = :borrower_id and l.known"
    " and l.borrower_id = b.borrower_id and l.loan_id > :after order by l.loan_id limit :limit"
)


def arrays(keys: Sequence[Key]) -> dict[str, list[str]]:
    """Return keys as the two arrays that statements about several loans join on."""
    return {"tenants": [tenant for tenant, _ in keys], "loans": [loan for _, loan in keys]}


def _saving(columns: Sequence[str]) -> TextClause:
    given = ", ".join(column(name) if name in _JOINED else f"cast(:{name} as {_TYPES.get(name, 'text')}[])" for name in columns)
    return text(
        f"update ingest.loans l set {', '.join(f'{name} = n.{name}' for name in columns[2:])}"
        f" from unnest({given}) as n({', '.join(columns)}) where l.tenant = n.tenant and l.loan_id = n.loan_id"
    )


_MOVING = tuple(name for name in _COLUMNS if name not in _SETTLED)
_STANDING = tuple(name for name in _MOVING if name not in _FOLDED)
_PAID = tuple(name for name in _MOVING if name not in _PLACED)
_SAVES = tuple((_saving(columns), columns) for columns in (_STANDING, _PAID, _MOVING, _COLUMNS))
_LINK = text(
    "insert into ingest.borrower_loans (tenant, borrower_id, loan_id)"
    f" select * from unnest({column('tenants')}, {column('borrowers')}, {column('loans')}) order by 1, 2, 3"
    " on conflict do nothing"
)
BEGINNING: Place = (datetime(1, 1, 1, tzinfo=UTC), "", "")
_DUE = text(
    f"select {_SELECTED} from ingest.loans l where l.next_at <= :now"
    " and (l.next_at, l.tenant, l.loan_id) > (cast(:at as timestamptz), cast(:tenant as text), cast(:loan_id as text))"
    " order by l.next_at, l.tenant, l.loan_id limit :limit for update skip locked"
)
_WAKE_ALL = text("update ingest.loans set next_at = :now where published and (next_at is null or next_at > :now)")
_NEXT = text("select min(next_at) from ingest.loans where next_at is not null")
_BACKLOG = text("select count(*), min(next_at) from ingest.loans where next_at <= :now")


async def lock(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, LoanRow]:
    """Make sure that each loan has a row, lock all rows in key order (the statements sort), and return them.

    The stub is what a second transaction waits on: without it, a payment and its disbursement in two open transactions would both be
    committed and one of them never folded.
    """
    wanted = {name: joined(values) for name, values in arrays(keys).items()}
    await conn.execute(_ENSURE, wanted)
    return {row.key: row for row in map(_row, (await conn.execute(_LOCK, wanted)).all())}


async def find(conn: AsyncConnection, tenant: str, loan_id: str) -> LoanRow | None:
    """Return a loan's row."""
    row = (await conn.execute(_FIND, {"tenant": tenant, "loan_id": loan_id})).one_or_none()
    return None if row is None else _row(row)


async def of_borrower(conn: AsyncConnection, tenant: str, borrower_id: str, *, after: str, limit: int) -> list[LoanRow]:
    """Return loans of a borrower in id order, starting after `after`."""
    rows = await conn.execute(_OF_BORROWER, {"tenant": tenant, "borrower_id": borrower_id, "after": after, "limit": limit})
    return [_row(row) for row in rows.all()]


async def save(conn: AsyncConnection, rows: Sequence[LoanRow]) -> None:
    """Save locked loans, writing of each only what may differ from what was read."""
    chosen: tuple[list[LoanRow], ...] = ([], [], [], [])
    for row in rows:
        chosen[_how_much(row)].append(row)
    for (statement, columns), some in zip(_SAVES, chosen, strict=True):
        if some:
            given = {name: [getattr(row, name) for row in some] for name in columns}
            await conn.execute(statement, given | {name: joined(given[name]) for name in _JOINED if name in given})


def _how_much(row: LoanRow) -> int:
    """Return 0 if only time has passed, 1 if records changed only sums, 2 if they changed more, 3 for anything rare."""
    read = row.read
    if read is None:
        return 3
    now = _compared(row)
    if read[_AS_SETTLED] != now[_AS_SETTLED]:
        return 3
    if read[_AS_FOLDED] == now[_AS_FOLDED]:
        return 0
    return 1 if read[_AS_PLACED] == now[_AS_PLACED] else 2


async def link(conn: AsyncConnection, rows: Sequence[LoanRow]) -> None:
    """Record which borrower these loans belong to, if that was not known when they were read."""
    new = [row for row in rows if row.known and (row.read is None or row.read[_AS_LINKED] != (True, row.borrower_id))]
    if new:
        tenants, borrowers = joined([row.tenant for row in new]), joined([row.borrower_id for row in new])
        await conn.execute(_LINK, {"tenants": tenants, "borrowers": borrowers, "loans": joined([row.loan_id for row in new])})


async def claim_due(conn: AsyncConnection, now: datetime, *, after: Place, limit: int) -> list[LoanRow]:
    """Lock due loans after a place, in order of due moment and key, skipping those locked by others.

    The place keeps a claim from scanning the dead rows of earlier claims at the same midnight while an old snapshot is held.
    """
    at, tenant, loan_id = after
    rows = await conn.execute(_DUE, {"now": now, "at": at, "tenant": tenant, "loan_id": loan_id, "limit": limit})
    return [_row(row) for row in rows.all()]


async def wake_published(conn: AsyncConnection, now: datetime) -> int:
    """Make every loan with a published fact due: its fact must be published again."""
    return (await conn.execute(_WAKE_ALL, {"now": now})).rowcount


async def next_at(conn: AsyncConnection) -> datetime | None:
    """Return the earliest moment at which a loan's fact changes by time."""
    return (await conn.execute(_NEXT)).scalar_one()  # type: ignore[no-any-return]  # typed by the column


async def backlog(conn: AsyncConnection, now: datetime) -> tuple[int, datetime | None]:
    """Return how many loans are due, and since when the oldest has been."""
    row = (await conn.execute(_BACKLOG, {"now": now})).one()
    return row[0], row[1]


def _row(row: Any) -> LoanRow:
    made = LoanRow(*row)
    made.read = _compared(made)
    return made
