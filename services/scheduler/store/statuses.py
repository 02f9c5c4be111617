"""Stops of borrowers: of two values of the same status, the greater (time, id) is kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.arrays import joined
from services.scheduler.domain.stops import Ending, Hold, Stop
from services.scheduler.store.arrays import ID, transposed, unnest

_COLUMNS = {
    "tenant": "text", "borrower_id": "text", "status_id": "text", "kind": "text", "from_at": "timestamptz", "until": "timestamptz",
    "stands": "boolean", "time": "timestamptz", "event_id": "text",
}  # fmt: skip
_UPSERT = text(
    f"insert into scheduler.statuses as s ({', '.join(_COLUMNS)})"  # the columns are ours
    f" select {', '.join(_COLUMNS)} from {unnest(_COLUMNS, 'v')} order by tenant, borrower_id, status_id"
    f" on conflict (tenant, borrower_id, status_id) do update set {', '.join(f'{name} = excluded.{name}' for name in list(_COLUMNS)[3:])}"
    ' where (excluded.time, excluded.event_id collate "C") > (s.time, s.event_id collate "C")'
    " returning tenant, borrower_id, status_id"
)
_OF = {"tenant": ID, "borrower_id": ID}
_STANDING = text(
    "select s.tenant, s.borrower_id, s.status_id, s.kind, s.from_at, s.until, null as loan_id, null as channel, null as case_id,"
    f" null as ends_with, null as source, null as matter, null as paused, null as contacts from {unnest(_OF, 'k')}"
    " join scheduler.statuses s on (s.tenant, s.borrower_id) = (k.tenant, k.borrower_id) where s.stands"
    " union all select h.tenant, h.borrower_id, h.hold_id, h.stop, h.from_at, h.until, h.loan_id, h.channel, h.case_id, h.ends_with,"
    f" h.source, h.matter, h.paused, h.contacts from {unnest(_OF, 'k')}"
    " join scheduler.holds h on (h.tenant, h.borrower_id) = (k.tenant, k.borrower_id) where h.ended_at is null"
)
_FORGET = text(
    f"delete from scheduler.statuses s using {unnest(_OF, 'k')}"
    " join scheduler.statuses e on (e.tenant, e.borrower_id) = (k.tenant, k.borrower_id) and e.status_id = :by"
    " where (s.tenant, s.borrower_id) = (k.tenant, k.borrower_id) and s.status_id <> :by"
    ' and (s.time, s.event_id collate "C") <= (e.time, e.event_id collate "C") returning s.tenant, s.borrower_id, s.status_id'
)


@dataclass(frozen=True, slots=True)
class StatusRow:
    """A stored status; one that no longer stands is kept to mark when it ended."""

    tenant: str
    borrower_id: str
    status_id: str
    kind: str
    from_at: datetime
    until: datetime | None
    stands: bool
    time: datetime
    event_id: str


async def keep_greater(conn: AsyncConnection, rows: Sequence[StatusRow]) -> set[tuple[str, str, str]]:
    """Store these values (one per status) if they are greater; return (tenant, borrower, status) of those."""
    return {(row.tenant, row.borrower_id, row.status_id) for row in await conn.execute(_UPSERT, transposed(_COLUMNS, rows))}


async def forget_overtaken(conn: AsyncConnection, borrowers: Collection[tuple[str, str]], *, by: str) -> set[tuple[str, str, str]]:
    """Delete the statuses of these borrowers that are not newer than their erasure (itself a status), and return which."""
    tenants, ids = zip(*sorted(borrowers), strict=True)
    gone = await conn.execute(_FORGET, {"tenant": joined(tenants), "borrower_id": joined(ids), "by": by})
    return {(row.tenant, row.borrower_id, row.status_id) for row in gone}


async def stops(conn: AsyncConnection, borrowers: Sequence[tuple[str, str]]) -> list[tuple[tuple[str, str], Stop]]:
    """Return the stops of these (tenant, borrower): statuses and holds."""
    tenants, ids = zip(*borrowers, strict=True)
    found = await conn.execute(_STANDING, {"tenant": joined(tenants), "borrower_id": joined(ids)})
    return [((row.tenant, row.borrower_id), _stop(row)) for row in found]


def _stop(row: Row[Any]) -> Stop:
    return Stop(row.status_id, row.kind, row.from_at, row.until, row.loan_id, row.channel, _hold(row), row.contacts)


def _hold(row: Row[Any]) -> Hold | None:
    if row.case_id is None:
        return None
    ends_with = None if row.ends_with is None else Ending(row.ends_with)
    return Hold(row.case_id, ends_with, row.source, row.matter, tuple(row.paused.split()))
