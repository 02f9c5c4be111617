"""Holds: set once, ended once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.arrays import transposed, unnest

_COLUMNS = {
    "tenant": "text", "borrower_id": "text", "hold_id": "text", "case_id": "text", "stop": "text", "contacts": "text", "loan_id": "text",
    "channel": "text", "from_at": "timestamptz", "until": "timestamptz", "ends_with": "text", "source": "text", "matter": "text",
    "paused": "text", "reason": "text", "set_by": "text", "set_at": "timestamptz",
}  # fmt: skip
_SET = text(
    f"insert into scheduler.holds ({', '.join(_COLUMNS)}) select {', '.join(_COLUMNS)} from {unnest(_COLUMNS, 'v')}"
    " order by tenant, borrower_id, hold_id on conflict do nothing returning tenant, borrower_id, hold_id"
)
_ENDED = {
    "tenant": "text", "borrower_id": "text", "hold_id": "text", "ended_at": "timestamptz", "ended_by": "text", "end_reason": "text",
}  # fmt: skip
_END = text(
    "with ended as (update scheduler.holds h set ended_at = v.ended_at, ended_by = v.ended_by, end_reason = v.end_reason"
    f" from {unnest(_ENDED, 'v')} where (h.tenant, h.borrower_id, h.hold_id) = (v.tenant, v.borrower_id, v.hold_id)"
    " and h.ended_at is null returning h.tenant, h.borrower_id, h.case_id, h.loan_id, h.channel)"
    " select tenant, borrower_id, case_id from ended where loan_id is null and channel is null"
)
_SHOWN = (
    "hold_id, case_id, stop, contacts, loan_id, channel, from_at, until, ends_with, source, paused, reason, set_by, set_at, ended_at,"
    " ended_by, end_reason"
)
_OF_CASE = text(
    f"select {_SHOWN} from scheduler.holds where tenant = :tenant and borrower_id = :borrower_id and case_id = :case_id"
    " and hold_id > :after order by hold_id limit :limit"
)
_FIND = text(
    f"select {_SHOWN} from scheduler.holds where tenant = :tenant and borrower_id = :borrower_id and case_id = :case_id"
    " and hold_id = :hold_id"
)
_CASES = {"tenant": "text", "borrower_id": "text", "case_id": "text"}
_HAPPENED = text(
    f"update scheduler.holds h set until = least(h.until, :at) from {unnest(_CASES, 'v')}"
    " where (h.tenant, h.borrower_id) = (v.tenant, v.borrower_id) and (h.case_id = v.case_id or h.loan_id is null)"
    " and h.ends_with = :ends_with and h.ended_at is null and h.from_at <= :at returning v.tenant, v.borrower_id, v.case_id"
)


class CaseOf(NamedTuple):
    """A case by its key in every table."""

    tenant: str
    borrower_id: str
    case_id: str


@dataclass(frozen=True, slots=True)
class HoldRow:
    """A new hold."""

    tenant: str
    borrower_id: str
    hold_id: str
    case_id: str
    stop: str
    contacts: str
    from_at: datetime
    until: datetime | None
    set_by: str
    set_at: datetime
    loan_id: str | None = None
    channel: str | None = None
    ends_with: str | None = None
    source: str | None = None
    matter: str | None = None
    paused: str = ""
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class EndedRow:
    """The end of a hold."""

    tenant: str
    borrower_id: str
    hold_id: str
    ended_at: datetime
    ended_by: str | None
    end_reason: str


async def put(conn: AsyncConnection, rows: Sequence[HoldRow]) -> set[str]:
    """Store holds; return the ids of the new ones."""
    if not rows:
        return set()
    return {row.hold_id for row in await conn.execute(_SET, transposed(_COLUMNS, rows))}


async def end(conn: AsyncConnection, rows: Sequence[EndedRow]) -> list[CaseOf]:
    """End holds that have not ended yet. Return the cases of those that applied to all of a borrower's cases."""
    if not rows:
        return []
    ordered = sorted(rows, key=lambda row: (row.tenant, row.borrower_id, row.hold_id))
    return [CaseOf(*row) for row in await conn.execute(_END, transposed(_ENDED, ordered))]


async def end_with(conn: AsyncConnection, of: Sequence[CaseOf], event: str, at: datetime) -> list[CaseOf]:
    """Expire holds that end with this event: these cases' own, and person-wide ones; return the cases in which any expired.

    The case that owns a hold releases it when it is next planned.
    """
    if not of:
        return []
    values = {**transposed(_CASES, sorted(of)), "ends_with": event, "at": at}
    return sorted({CaseOf(*row) for row in await conn.execute(_HAPPENED, values)})


async def of_case(conn: AsyncConnection, of: tuple[str, str, str], *, after: str, limit: int) -> Sequence[RowMapping]:
    """Return the holds of (tenant, borrower, case) by id, including ended ones."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "after": after, "limit": limit}
    return (await conn.execute(_OF_CASE, values)).mappings().all()


async def find(conn: AsyncConnection, of: tuple[str, str, str], hold_id: str) -> RowMapping | None:
    """Return a hold of (tenant, borrower, case), or None."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "hold_id": hold_id}
    return (await conn.execute(_FIND, values)).mappings().one_or_none()
