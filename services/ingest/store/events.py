"""The append-only log of accepted events about loans, and which of them holds a key of its loan.

Repeats that came with ids of their own are kept beside it: each is needed once the event that it repeats is retracted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.db.arrays import column, in_microseconds, joined, moment_of, moments
from libs.common.db.copying import copied
from services.ingest import tables
from services.ingest.store.loans import Key, arrays

L = TypeVar("L")
"""A loan, in whatever form the caller names it."""
Identity = tuple[str, str, str, str]
"""(tenant, loan id, source, event id)."""
RETRACTED = "wallet.event.retracted.v1"
"""The type of an event that retracts another."""


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """An event of the log; `data` is its content in the canonical form that is compared, `business_key` the key that it holds now."""

    tenant: str
    loan_id: str
    source: str
    event_id: str
    type: str
    time: datetime
    business_key: str | None
    data: bytes
    product_version: int | None
    received_at: datetime

    @property
    def identity(self) -> Identity:
        """Return the identity of the event."""
        return self.tenant, self.loan_id, self.source, self.event_id

    @property
    def content(self) -> tuple[str, datetime, bytes]:
        """Return what a repeat must have in common with it."""
        return self.type, self.time, self.data


_COLUMNS = ("tenant", "loan_id", "source", "event_id", "type", "time", "business_key", "data", "product_version", "received_at")
_LIST = ", ".join(_COLUMNS)
_TYPES = {"time": "timestamptz", "data": "bytea", "product_version": "int", "received_at": "timestamptz"}
_TEXTS = tuple(name for name in _COLUMNS if name not in _TYPES)
_MOMENTS = ("time", "received_at")
_READ = ", ".join(moment_of(name) if name in _MOMENTS else name for name in _COLUMNS)


def _given(name: str) -> str:
    if name in _MOMENTS:
        return moments(name)
    return f"cast(:{name} as {_TYPES[name]}[])" if name in _TYPES else column(name)


_INSERT = text(
    f"with added as (insert into ingest.events ({_LIST})"  # fixed names
    f" select {_READ} from unnest({', '.join(map(_given, _COLUMNS))})"
    f" with ordinality as n({_LIST}, place) order by place on conflict do nothing returning tenant, loan_id, source, event_id)"
    " select tenant, loan_id, source, event_id from added where (select count(*) from added) < :all"
    " union all select null, null, null, null where (select count(*) from added) = :all"
)
"""Names the new events only if some are not new: nearly always all are."""
_NAMED = "cast(:tenants as text[]), cast(:loans as text[]), cast(:sources as text[]), cast(:ids as text[])"
_IS_NAMED = "(e.tenant, e.loan_id, e.source, e.event_id) = (k.tenant, k.loan_id, k.source, k.event_id)"
_SAME = text(
    f"select {', '.join('e.' + name for name in _COLUMNS)}"
    f" from unnest({_NAMED}, cast(:keys as text[])) as k(tenant, loan_id, source, event_id, business_key)"
    " cross join lateral (select * from ingest.events where tenant = k.tenant and loan_id = k.loan_id offset 0) e"
    " where (e.source = k.source and e.event_id = k.event_id) or e.business_key = k.business_key"
    f" or e.type = '{RETRACTED}'"
)
_OF_LOANS = text(
    f"select {', '.join('e.' + name for name in _COLUMNS)} from unnest(cast(:tenants as text[]), cast(:loans as text[]))"
    " as k(tenant, loan_id) cross join lateral"
    " (select * from ingest.events where tenant = k.tenant and loan_id = k.loan_id offset 0) e"  # never a scan of the whole log
    " order by e.tenant, e.loan_id, e.received_at, e.time, e.source, e.event_id"
)
_DELETE, _FORGET = (
    text(f"delete from ingest.{table} e using unnest({_NAMED}) as k(tenant, loan_id, source, event_id) where {_IS_NAMED}")
    for table in ("events", "repeats")
)
_PUT_KEYS = text(
    "update ingest.events e set business_key = k.business_key"
    f" from unnest({_NAMED}, cast(:keys as text[])) as k(tenant, loan_id, source, event_id, business_key) where {_IS_NAMED}"
)
_REMEMBERED = tuple(name for name in _COLUMNS if name != "product_version")
_REPEAT_LIST = ", ".join(_REMEMBERED)
_REMEMBER = text(
    f"insert into ingest.repeats ({_REPEAT_LIST}) select {_REPEAT_LIST} from unnest("
    + ", ".join(f"cast(:{name} as {_TYPES.get(name, 'text')}[])" for name in _REMEMBERED)
    + f") as n({_REPEAT_LIST}) order by tenant, loan_id, source, event_id on conflict do nothing"
)
_REPEATS_OF = text(
    f"select {', '.join('r.' + name for name in _REMEMBERED)} from unnest(cast(:tenants as text[]), cast(:loans as text[]))"
    " as k(tenant, loan_id) join ingest.repeats r on r.tenant = k.tenant and r.loan_id = k.loan_id"
    " order by r.received_at, r.source, r.event_id"
)


COPIED = 200
"""From this number on, events are added with COPY; fewer are not worth the three round trips."""
AS_BEFORE = 16
"""After a repeat, insert this many batches before trying COPY again: the rows of a failed COPY stay until a vacuum."""


@dataclass(slots=True)
class Adding:
    """Adds events to the log: with COPY as long as none is a repeat, else with an insert that skips repeats."""

    least: int = COPIED
    _inserts: int = 0

    async def add(self, conn: AsyncConnection, rows: Sequence[LogRow]) -> set[Identity] | None:
        """Add events of locked loans and return the new ones, None for all."""
        if len(rows) < self.least:
            return await insert(conn, rows)
        if self._inserts:
            self._inserts -= 1
        elif await copied(conn, tables.events, _COLUMNS, map(msgspec.structs.astuple, rows)):
            return None
        else:
            self._inserts = AS_BEFORE
        return await insert(conn, rows)


async def insert(conn: AsyncConnection, rows: Sequence[LogRow]) -> set[Identity] | None:
    """Add events and return the new ones, None for all; of two with one key, whatever its kind, the first is new."""
    columns = {name: [getattr(row, name) for row in rows] for name in _COLUMNS}
    texts = {name: joined(columns[name]) for name in _TEXTS} | {name: in_microseconds(columns[name]) for name in _MOMENTS}
    added = (await conn.execute(_INSERT, {**columns, **texts, "all": len(rows)})).all()
    if len(added) == 1 and added[0].tenant is None:
        return None
    return {(r.tenant, r.loan_id, r.source, r.event_id) for r in added}


async def same_keys(conn: AsyncConnection, rows: Sequence[LogRow]) -> list[LogRow]:
    """Return the logged events with the ids or business keys of these rows, and the retractions for their loans."""
    found = await conn.execute(_SAME, {**_identities([row.identity for row in rows]), "keys": [row.business_key for row in rows]})
    return [LogRow(*row) for row in found.all()]


async def of_loans(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, list[LogRow]]:
    """Return all accepted events of these loans."""
    found = await conn.execute(_OF_LOANS, arrays(keys))
    by_loan: dict[Key, list[LogRow]] = {key: [] for key in keys}
    for row in found.all():
        log_row = LogRow(*row)
        by_loan[log_row.tenant, log_row.loan_id].append(log_row)
    return by_loan


async def take_back(conn: AsyncConnection, identities: Sequence[Identity]) -> None:
    """Delete events added in this same transaction because they cannot be used; they are parked instead."""
    if identities:
        await conn.execute(_DELETE, _identities(identities))


async def put_keys(conn: AsyncConnection, rows: Sequence[LogRow]) -> None:
    """Write the keys that these events hold; those that lost theirs come first, since another event may get it."""
    for some in ([row for row in rows if row.business_key is None], [row for row in rows if row.business_key is not None]):
        if some:
            await conn.execute(_PUT_KEYS, {**_identities([row.identity for row in some]), "keys": [row.business_key for row in some]})


async def remember_repeats(conn: AsyncConnection, rows: Sequence[LogRow]) -> None:
    """Keep events that repeat another."""
    if rows:
        await conn.execute(_REMEMBER, {name: [getattr(row, name) for row in rows] for name in _REMEMBERED})


async def repeats_of(conn: AsyncConnection, keys: Sequence[Key]) -> list[LogRow]:
    """Return the kept repeats of these loans, in order of arrival."""
    found = await conn.execute(_REPEATS_OF, arrays(keys))
    return [LogRow(**row, product_version=None) for row in found.mappings().all()]


async def forget_repeats(conn: AsyncConnection, identities: Sequence[Identity]) -> None:
    """Delete repeats that no longer are."""
    if identities:
        await conn.execute(_FORGET, _identities(identities))


def in_groups(loans: Iterable[tuple[L, int]], most: int) -> Iterator[list[L]]:
    """Yield loans, given with their numbers of events, in groups of at most `most` events; a single loan may have more."""
    group: list[L] = []
    events = 0
    for loan, number in loans:
        if group and events + number > most:
            yield group
            group, events = [], 0
        group.append(loan)
        events += number
    if group:
        yield group


def _identities(identities: Sequence[Identity]) -> dict[str, list[str]]:
    tenants, loans, sources, ids = map(list, zip(*identities, strict=True))
    return {"tenants": tenants, "loans": loans, "sources": sources, "ids": ids}
