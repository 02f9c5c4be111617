"""Borrowers: their sealing keys, the accepted events about them, and the newest value of each part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Key = tuple[str, str]
"""(tenant, borrower id)."""
Identity = tuple[str, str, str, str]
"""(tenant, borrower id, source, event id)."""
Stamp = tuple[datetime, str]
"""(time, event id): of two values of one part the one with the greater stands."""
ERASURE = "erased"
"""The part that says when a borrower was erased last."""


@dataclass(slots=True)
class BorrowerRow:
    """A borrower's keys, enough for sealing; None once erased."""

    tenant: str
    borrower_id: str
    public_key: bytes | None
    wrapped_key: bytes | None
    erased_at: datetime | None


@dataclass(frozen=True, slots=True)
class LogRow:
    """An accepted event about a borrower, its personal parts sealed."""

    tenant: str
    borrower_id: str
    source: str
    event_id: str
    type: str
    time: datetime
    digest: bytes
    data: bytes
    received_at: datetime

    @property
    def identity(self) -> Identity:
        """Return the identity of the event."""
        return self.tenant, self.borrower_id, self.source, self.event_id

    @property
    def key(self) -> Key:
        """Return whom it is about."""
        return self.tenant, self.borrower_id

    @property
    def stamp(self) -> Stamp:
        """Return its place among the others of the borrower."""
        return self.time, self.event_id


@dataclass(frozen=True, slots=True)
class ValueRow:
    """A part of a borrower's data, and the event it comes from."""

    tenant: str
    borrower_id: str
    what: str
    time: datetime
    event_id: str
    value: bytes

    @property
    def stamp(self) -> Stamp:
        """Return what decides between two values of this part."""
        return self.time, self.event_id


_ENSURE = text(
    "insert into ingest.borrowers (tenant, borrower_id)"
    " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[])) order by 1, 2 on conflict do nothing"
)
_LOCK = text(
    "select b.tenant, b.borrower_id, b.public_key, b.wrapped_key, b.erased_at"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as k(tenant, borrower_id)"
    " join ingest.borrowers b on b.tenant = k.tenant and b.borrower_id = k.borrower_id"
    " order by b.tenant, b.borrower_id for update of b"
)
_SAVE_KEYS = text(
    "update ingest.borrowers b set public_key = n.public_key, wrapped_key = n.wrapped_key, erased_at = n.erased_at"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:publics as bytea[]), cast(:wrapped as bytea[]),"
    " cast(:erased as timestamptz[])) as n(tenant, borrower_id, public_key, wrapped_key, erased_at)"
    " where b.tenant = n.tenant and b.borrower_id = n.borrower_id"
)
_LOG = tuple(LogRow.__dataclass_fields__)
_LOG_TYPES = {"time": "timestamptz", "digest": "bytea", "data": "bytea", "received_at": "timestamptz"}
_INSERT = text(
    f"insert into ingest.borrower_events ({', '.join(_LOG)}) select {', '.join(_LOG)} from unnest("  # fixed names
    + ", ".join(f"cast(:{name} as {_LOG_TYPES.get(name, 'text')}[])" for name in _LOG)
    + f") with ordinality as n({', '.join(_LOG)}, place) order by place on conflict do nothing"
    " returning tenant, borrower_id, source, event_id"
)
_DIGESTS = text(
    "select e.tenant, e.borrower_id, e.source, e.event_id, e.digest from unnest(cast(:tenants as text[]), cast(:borrowers as text[]),"
    " cast(:sources as text[]), cast(:ids as text[])) as k(tenant, borrower_id, source, event_id)"
    " join ingest.borrower_events e"
    " on (e.tenant, e.borrower_id, e.source, e.event_id) = (k.tenant, k.borrower_id, k.source, k.event_id)"
)
_VALUE = tuple(ValueRow.__dataclass_fields__)
_VALUE_TYPES = {"time": "timestamptz", "value": "bytea"}
_UPSERT = text(
    f"insert into ingest.borrower_values as v ({', '.join(_VALUE)}) select {', '.join(_VALUE)} from unnest("
    + ", ".join(f"cast(:{name} as {_VALUE_TYPES.get(name, 'text')}[])" for name in _VALUE)
    + f") as n({', '.join(_VALUE)}) order by tenant, borrower_id, what"
    " on conflict (tenant, borrower_id, what) do update set time = excluded.time, event_id = excluded.event_id, value = excluded.value"
    ' where (v.time, v.event_id collate "C") < (excluded.time, excluded.event_id collate "C") returning v.tenant, v.borrower_id, v.what'
)
_VALUES_OF = text(
    f"select {', '.join('v.' + name for name in _VALUE)} from unnest(cast(:tenants as text[]), cast(:borrowers as text[]))"
    " as k(tenant, borrower_id) join ingest.borrower_values v on v.tenant = k.tenant and v.borrower_id = k.borrower_id"
    " where v.what = any(cast(:whats as text[])) and v.value is not null"
)
_ERASURES = (
    "unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:times as timestamptz[]), cast(:ids as text[]))"
    " as k(tenant, borrower_id, time, event_id)"
)
_FORGET = text(
    f"delete from ingest.borrower_values v using {_ERASURES}"  # no value in it
    " where v.tenant = k.tenant and v.borrower_id = k.borrower_id and v.what = any(cast(:whats as text[]))"
    ' and (v.time, v.event_id collate "C") <= (k.time, k.event_id collate "C")'
)
_EMPTY = text(
    "update ingest.borrower_events e set data = convert_to('{\"borrower_id\":\"' || e.borrower_id || '\"}', 'UTF8')"
    f" from {_ERASURES} where e.tenant = k.tenant and e.borrower_id = k.borrower_id and e.type = :type"  # no value in it
    ' and (e.time, e.event_id collate "C") <= (k.time, k.event_id collate "C")'
)
_COUNT = text(
    "select k.tenant, k.borrower_id, count(*) as records"
    " from unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as k(tenant, borrower_id)"
    " join ingest.borrower_events e on e.tenant = k.tenant and e.borrower_id = k.borrower_id group by 1, 2"
)


async def lock(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, BorrowerRow]:
    """Make sure that each borrower has a row, and lock all rows in key order."""
    ordered = sorted(keys)
    arrays = {"tenants": [tenant for tenant, _ in ordered], "borrowers": [borrower for _, borrower in ordered]}
    await conn.execute(_ENSURE, arrays)
    return {(row.tenant, row.borrower_id): BorrowerRow(*row) for row in (await conn.execute(_LOCK, arrays)).all()}


async def save_keys(conn: AsyncConnection, rows: Sequence[BorrowerRow]) -> None:
    """Write the keys of locked borrowers."""
    if rows:
        arrays = {
            "tenants": [r.tenant for r in rows], "borrowers": [r.borrower_id for r in rows], "publics": [r.public_key for r in rows],
            "wrapped": [r.wrapped_key for r in rows], "erased": [r.erased_at for r in rows],
        }  # fmt: skip
        await conn.execute(_SAVE_KEYS, arrays)


async def insert(conn: AsyncConnection, rows: Sequence[LogRow]) -> set[Identity]:
    """Add events, and return the identities of the new ones."""
    added = await conn.execute(_INSERT, {name: [getattr(row, name) for row in rows] for name in _LOG})
    return {(r.tenant, r.borrower_id, r.source, r.event_id) for r in added.all()}


async def digests(conn: AsyncConnection, rows: Sequence[LogRow]) -> dict[Identity, bytes]:
    """Return the digests of the content stored under the ids of these rows."""
    found = await conn.execute(
        _DIGESTS,
        {
            "tenants": [r.tenant for r in rows], "borrowers": [r.borrower_id for r in rows],
            "sources": [r.source for r in rows], "ids": [r.event_id for r in rows],
        },
    )  # fmt: skip
    return {(r.tenant, r.borrower_id, r.source, r.event_id): r.digest for r in found.all()}


async def put_values(conn: AsyncConnection, rows: Sequence[ValueRow]) -> set[tuple[str, str, str]]:
    """Write the parts that are newer than the stored ones, and return which were."""
    if not rows:
        return set()
    written = await conn.execute(_UPSERT, {name: [getattr(row, name) for row in rows] for name in _VALUE})
    return {(r.tenant, r.borrower_id, r.what) for r in written.all()}


async def values_of(conn: AsyncConnection, keys: Sequence[Key], whats: Sequence[str]) -> list[ValueRow]:
    """Return these parts of these borrowers."""
    found = await conn.execute(
        _VALUES_OF, {"tenants": [tenant for tenant, _ in keys], "borrowers": [b for _, b in keys], "whats": list(whats)}
    )
    return [ValueRow(*row) for row in found.all()]


async def count(conn: AsyncConnection, keys: Sequence[Key]) -> dict[Key, int]:
    """Return how many events about each of these borrowers were accepted."""
    found = await conn.execute(_COUNT, {"tenants": [tenant for tenant, _ in keys], "borrowers": [b for _, b in keys]})
    return {(row.tenant, row.borrower_id): row.records for row in found.all()}


async def forget(conn: AsyncConnection, erasures: Mapping[Key, Stamp], *, whats: Sequence[str], type_: str) -> None:
    """Drop these parts as far as they are not newer than the erasure, and what events of this type said of them."""
    keys = sorted(erasures)
    arrays = {
        "tenants": [tenant for tenant, _ in keys], "borrowers": [borrower for _, borrower in keys],
        "times": [erasures[key][0] for key in keys], "ids": [erasures[key][1] for key in keys],
    }  # fmt: skip
    await conn.execute(_FORGET, {**arrays, "whats": list(whats)})
    await conn.execute(_EMPTY, {**arrays, "type": type_})
