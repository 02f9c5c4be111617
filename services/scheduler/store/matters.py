"""What borrowers raised and how it was resolved, and the contacts made by people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.arrays import transposed, unnest

_MATTER = {
    "tenant": "text", "borrower_id": "text", "matter_id": "text", "case_id": "text", "kind": "text", "loan_id": "text", "line": "text",
    "channel": "text", "note": "text", "opened_at": "timestamptz", "opened_by": "text",
}  # fmt: skip
_OPEN = text(
    f"insert into scheduler.matters ({', '.join(_MATTER)}, state) select {', '.join(_MATTER)}, 'open' from {unnest(_MATTER, 'v')}"
    " order by tenant, borrower_id, matter_id on conflict do nothing returning matter_id"
)
_SHOWN = (
    "select matter_id, case_id, kind, loan_id, line, channel, note, state, opened_at, opened_by, outcome, answer, resolved_at, resolved_by"
    " from scheduler.matters where tenant = :tenant and borrower_id = :borrower_id and case_id = :case_id"
)
_OF_CASE = text(f"{_SHOWN} and kind = any(:kinds) and matter_id > :after order by matter_id limit :limit")
_FIND = text(f"{_SHOWN} and matter_id = :matter_id")
_RESOLVE = text(
    "update scheduler.matters set state = 'resolved', outcome = :outcome, answer = :answer, resolved_at = :at, resolved_by = :by"
    " where tenant = :tenant and borrower_id = :borrower_id and matter_id = :matter_id and state = 'open'"
)
_CONTACT = {
    "tenant": "text", "borrower_id": "text", "contact_id": "text", "case_id": "text", "spell": "int", "channel": "text",
    "at": "timestamptz", "result": "text", "loan_id": "text", "task_id": "text", "by": "text", "note": "text", "recorded_at": "timestamptz",
}  # fmt: skip
_RECORD = text(
    f"insert into scheduler.recorded_contacts ({', '.join(_CONTACT)}) select {', '.join(_CONTACT)} from {unnest(_CONTACT, 'v')}"
    " on conflict do nothing returning contact_id"
)


@dataclass(frozen=True, slots=True)
class MatterRow:
    """A new matter."""

    tenant: str
    borrower_id: str
    matter_id: str
    case_id: str
    kind: str
    opened_at: datetime
    opened_by: str
    loan_id: str | None = None
    line: str | None = None
    channel: str | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    """How a matter was resolved, and by whom."""

    outcome: str
    answer: str | None
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact made by a person."""

    tenant: str
    borrower_id: str
    contact_id: str
    case_id: str
    spell: int
    channel: str
    at: datetime
    result: str
    loan_id: str | None
    task_id: str | None
    by: str
    note: str | None
    recorded_at: datetime


async def open_(conn: AsyncConnection, rows: Sequence[MatterRow]) -> set[str]:
    """Store matters; return the ids of the new ones."""
    if not rows:
        return set()
    return {row.matter_id for row in await conn.execute(_OPEN, transposed(_MATTER, rows))}


async def resolve(conn: AsyncConnection, of: tuple[str, str], matter_id: str, found: Resolution) -> None:
    """Record the resolution of an open matter of (tenant, borrower)."""
    values = {"tenant": of[0], "borrower_id": of[1], "matter_id": matter_id}
    await conn.execute(_RESOLVE, {**values, "outcome": found.outcome, "answer": found.answer, "at": found.at, "by": found.by})


async def of_case(conn: AsyncConnection, of: tuple[str, str, str], kinds: Sequence[str], *, after: str, limit: int) -> Sequence[RowMapping]:
    """Return the matters of these kinds in (tenant, borrower, case), by id."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "kinds": list(kinds), "after": after, "limit": limit}
    return (await conn.execute(_OF_CASE, values)).mappings().all()


async def find(conn: AsyncConnection, of: tuple[str, str, str], matter_id: str) -> RowMapping | None:
    """Return a matter of (tenant, borrower, case), or None."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "matter_id": matter_id}
    return (await conn.execute(_FIND, values)).mappings().one_or_none()


async def record(conn: AsyncConnection, row: ContactRow) -> bool:
    """Store a contact; return False if it already exists."""
    return (await conn.execute(_RECORD, transposed(_CONTACT, [row]))).one_or_none() is not None
