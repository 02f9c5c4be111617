"""Events that could not be used and wait for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.store.loans import Key, arrays


@dataclass(frozen=True, slots=True)
class ParkedRow:
    """An event that was set aside; personal parts are sealed."""

    tenant: str
    parked_id: str
    loan_id: str | None
    borrower_id: str | None
    topic: str
    event: bytes
    error: str
    detail: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Decision:
    """A decision about a parked event."""

    decision: str
    by: str
    reason: str


Decided = tuple[ParkedRow, Decision]

_COLUMNS = tuple(ParkedRow.__dataclass_fields__)
_LIST = ", ".join(_COLUMNS)
_TYPES = {"event": "bytea", "at": "timestamptz"}
_ARRAYS = ", ".join(f"cast(:{name} as {_TYPES.get(name, 'text')}[])" for name in _COLUMNS)
_INSERT = text(
    f"insert into ingest.parked ({_LIST}) select {_LIST} from unnest({_ARRAYS}) as n({_LIST}) order by tenant, parked_id"
    " on conflict do nothing returning tenant, parked_id"
)
_OPEN_OF = text(
    "select p.tenant, p.loan_id, p.parked_id from unnest(cast(:tenants as text[]), cast(:loans as text[])) as k(tenant, loan_id)"
    " join ingest.parked p on p.tenant = k.tenant and p.loan_id = k.loan_id where p.resolved_at is null order by p.at, p.parked_id"
)
_PAGE = text(
    f"select {_LIST} from ingest.parked where tenant = :tenant and resolved_at is null"
    " and (cast(:loan_id as text) is null or loan_id = :loan_id) and (cast(:since as timestamptz) is null or at >= :since)"
    " and parked_id > :after order by parked_id limit :limit"
)
_FIND = text(f"select {_LIST} from ingest.parked where tenant = :tenant and parked_id = :parked_id")
_CLAIM = text("select resolved_at from ingest.parked where tenant = :tenant and parked_id = :parked_id for update")
_CONFLICTS_OF = text(
    f"select {', '.join('p.' + name for name in _COLUMNS)} from unnest(cast(:tenants as text[]), cast(:loans as text[]))"
    " as k(tenant, loan_id) join ingest.parked p on p.tenant = k.tenant and p.loan_id = k.loan_id"
    " where p.resolved_at is null and p.error = 'conflict' order by p.at, p.parked_id"
)
_RESOLVE = text(
    "update ingest.parked p set resolved_at = :now, decision = n.decision, decided_by = n.decided_by, decision_reason = n.reason"
    " from unnest(cast(:tenants as text[]), cast(:ids as text[]), cast(:decisions as text[]), cast(:by as text[]),"
    " cast(:reasons as text[])) as n(tenant, parked_id, decision, decided_by, reason)"
    " where p.tenant = n.tenant and p.parked_id = n.parked_id and p.resolved_at is null"
)
_COUNTS = text("select error, count(*), min(at) from ingest.parked where resolved_at is null group by error")


async def insert(conn: AsyncConnection, rows: Sequence[ParkedRow]) -> set[tuple[str, str]]:
    """Park events, and return the new ones as (tenant, parked id); a repeat of a parked or decided event is not new."""
    if not rows:
        return set()
    added = await conn.execute(_INSERT, {name: [getattr(row, name) for row in rows] for name in _COLUMNS})
    return {(r.tenant, r.parked_id) for r in added.all()}


async def open_of(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, tuple[str, ...]]:
    """Return the undecided parked events of these loans, oldest first."""
    found = await conn.execute(_OPEN_OF, arrays(keys))
    by_loan: dict[Key, list[str]] = {}
    for row in found.all():
        by_loan.setdefault((row.tenant, row.loan_id), []).append(row.parked_id)
    return {key: tuple(ids) for key, ids in by_loan.items()}


async def page(  # the filters of one listing
    conn: AsyncConnection, tenant: str, *, loan_id: str | None, since: datetime | None, after: str, limit: int
) -> list[ParkedRow]:
    """Return undecided parked events in id order."""
    found = await conn.execute(_PAGE, {"tenant": tenant, "loan_id": loan_id, "since": since, "after": after, "limit": limit})
    return [ParkedRow(*row) for row in found.all()]


async def find(conn: AsyncConnection, tenant: str, parked_id: str) -> ParkedRow | None:
    """Return a parked event, decided or not."""
    row = (await conn.execute(_FIND, {"tenant": tenant, "parked_id": parked_id})).one_or_none()
    return None if row is None else ParkedRow(*row)


async def claim(conn: AsyncConnection, parked: ParkedRow) -> datetime | None:
    """Lock a parked event, after its loan, and return when it was decided, if it was."""
    found = await conn.execute(_CLAIM, {"tenant": parked.tenant, "parked_id": parked.parked_id})
    return found.scalar_one()  # type: ignore[no-any-return]  # typed by the column


async def conflicts_of(conn: AsyncConnection, keys: Sequence[Key]) -> list[ParkedRow]:
    """Return the undecided conflicts of these loans, oldest first."""
    found = await conn.execute(_CONFLICTS_OF, arrays(keys))
    return [ParkedRow(*row) for row in found.all()]


async def resolve(conn: AsyncConnection, decided: Sequence[Decided], *, now: datetime) -> None:
    """Write decisions; each is itself a record of the loan."""
    if decided:
        await conn.execute(
            _RESOLVE,
            {
                "tenants": [row.tenant for row, _ in decided], "ids": [row.parked_id for row, _ in decided], "now": now,
                "decisions": [one.decision for _, one in decided], "by": [one.by for _, one in decided],
                "reasons": [one.reason for _, one in decided],
            },
        )  # fmt: skip


async def counts(conn: AsyncConnection) -> list[tuple[str, int, datetime]]:
    """Return how many are waiting, by error, and since when."""
    return [(row[0], row[1], row[2]) for row in (await conn.execute(_COUNTS)).all()]
