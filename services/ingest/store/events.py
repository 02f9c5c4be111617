"""The log of accepted events about loans: only ever added to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.ingest.store.loans import Key

Identity = tuple[str, str, str, str]
"""(tenant, loan id, source, event id)."""


class LogRow(msgspec.Struct, frozen=True, gc=False):
    """An event of the log; `data` is its content in the one spelling that is compared."""

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
        """Return what makes it this event."""
        return self.tenant, self.loan_id, self.source, self.event_id

    @property
    def content(self) -> tuple[str, datetime, bytes]:
        """Return what a repeat has the same."""
        return self.type, self.time, self.data


_COLUMNS = ("tenant", "loan_id", "source", "event_id", "type", "time", "business_key", "data", "product_version", "received_at")
_LIST = ", ".join(_COLUMNS)
_TYPES = {"time": "timestamptz", "data": "bytea", "product_version": "int", "received_at": "timestamptz"}
_ARRAYS = ", ".join(f"cast(:{name} as {_TYPES.get(name, 'text')}[])" for name in _COLUMNS)

_INSERT = text(
    f"insert into ingest.events ({_LIST}) select {_LIST} from unnest({_ARRAYS})"  # fixed names
    f" with ordinality as n({_LIST}, place) order by place on conflict do nothing returning tenant, loan_id, source, event_id"
)
_SAME = text(
    f"select {', '.join('e.' + name for name in _COLUMNS)} from unnest(cast(:tenants as text[]), cast(:loans as text[]),"
    " cast(:sources as text[]), cast(:ids as text[]), cast(:keys as text[])) as k(tenant, loan_id, source, event_id, business_key)"
    " cross join lateral (select * from ingest.events where tenant = k.tenant and loan_id = k.loan_id offset 0) e"
    " where (e.source = k.source and e.event_id = k.event_id) or e.business_key = k.business_key"
)
_OF_LOANS = text(
    f"select {', '.join('e.' + name for name in _COLUMNS)} from unnest(cast(:tenants as text[]), cast(:loans as text[]))"
    " as k(tenant, loan_id) cross join lateral"
    " (select * from ingest.events where tenant = k.tenant and loan_id = k.loan_id offset 0) e"  # never a scan of the whole log
    " order by e.tenant, e.loan_id, e.received_at, e.time, e.source, e.event_id"
)
_DELETE = text(
    "delete from ingest.events e using unnest(cast(:tenants as text[]), cast(:loans as text[]), cast(:sources as text[]),"
    " cast(:ids as text[])) as k(tenant, loan_id, source, event_id)"
    " where (e.tenant, e.loan_id, e.source, e.event_id) = (k.tenant, k.loan_id, k.source, k.event_id)"
)


async def insert(conn: AsyncConnection, rows: Sequence[LogRow]) -> set[Identity]:
    """Add events and return which of them are new; the first of two under one key is, whatever kind of key it is."""
    added = await conn.execute(_INSERT, {name: [getattr(row, name) for row in rows] for name in _COLUMNS})
    return {(r.tenant, r.loan_id, r.source, r.event_id) for r in added.all()}


async def same_keys(conn: AsyncConnection, rows: Sequence[LogRow]) -> list[LogRow]:
    """Return what stands in the log under the ids or business keys of these."""
    found = await conn.execute(
        _SAME,
        {
            "tenants": [r.tenant for r in rows], "loans": [r.loan_id for r in rows], "sources": [r.source for r in rows],
            "ids": [r.event_id for r in rows], "keys": [r.business_key for r in rows],
        },
    )  # fmt: skip
    return [LogRow(*row) for row in found.all()]


async def of_loans(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, list[LogRow]]:
    """Return all accepted events of these loans."""
    found = await conn.execute(_OF_LOANS, {"tenants": [tenant for tenant, _ in keys], "loans": [loan for _, loan in keys]})
    by_loan: dict[Key, list[LogRow]] = {key: [] for key in keys}
    for row in found.all():
        log_row = LogRow(*row)
        by_loan[log_row.tenant, log_row.loan_id].append(log_row)
    return by_loan


async def take_back(conn: AsyncConnection, identities: Sequence[Identity]) -> None:
    """Take out events added in this very transaction, since the ledger cannot digest them; they are parked instead."""
    columns = list(zip(*identities, strict=True)) if identities else []
    if columns:
        await conn.execute(_DELETE, dict(zip(("tenants", "loans", "sources", "ids"), map(list, columns), strict=True)))
