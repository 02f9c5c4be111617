"""Policies: versions, which of them is active from when, assignments, and the chain of all changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.value import Value
from services.scheduler.domain.chain import BEGINNING, Link
from services.scheduler.store.arrays import transposed, unnest

_HEAD = (
    "tenant, name, version, state, revision, writers, created_at, changed_at, submitted_by, submitted_at, decided_by, decided_at, comment,"
    " retired_at, simulation_id, simulation_hash"
)
_LOCK_CHAIN = (
    text("insert into scheduler.policy_chains (tenant, chain, seq, hash) values (:tenant, :chain, 0, :hash) on conflict do nothing"),
    text("select seq, hash from scheduler.policy_chains where tenant = :tenant and chain = :chain for update"),
)
_LINK = {
    "tenant": "text", "chain": "text", "seq": "bigint", "at": "timestamptz", "by": "text", "action": "text", "version": "int",
    "detail": "bytea", "previous": "bytea", "hash": "bytea",
}  # fmt: skip
_ADD_LINK = text(f"insert into scheduler.policy_audit ({', '.join(_LINK)}) values ({', '.join(f':{name}' for name in _LINK)})")
_MOVE_CHAIN = text("update scheduler.policy_chains set seq = :seq, hash = :hash where tenant = :tenant and chain = :chain")
_LINKS = text(
    f"select {', '.join(_LINK)} from scheduler.policy_audit where tenant = :tenant and chain = :chain and seq > :after"
    " order by seq limit :limit"
)
_FIND = text(
    f"select {_HEAD}, source, document from scheduler.policy_versions where tenant = :tenant and name = :name and version = :version"
)
_NEWEST = text("select coalesce(max(version), 0) from scheduler.policy_versions where tenant = :tenant and name = :name")
_ADD = text(
    "insert into scheduler.policy_versions (tenant, name, version, state, revision, source, document, writers, created_at, changed_at)"
    " values (:tenant, :name, :version, 'draft', 1, :source, :document, array[cast(:by as text)], :at, :at)"
)
_REWRITE = text(
    "update scheduler.policy_versions set source = :source, document = :document, changed_at = :at, revision = revision + 1,"
    " writers = case when :by = any(writers) then writers else writers || cast(:by as text) end"
    " where tenant = :tenant and name = :name and version = :version"
)
_PUT_STATE = text(
    "update scheduler.policy_versions set state = cast(:state as text), changed_at = :at, revision = revision + 1,"
    " submitted_by = case when cast(:state as text) = 'submitted' then :by else submitted_by end,"
    " submitted_at = case when cast(:state as text) = 'submitted' then :at else submitted_at end,"
    " decided_by = case when cast(:state as text) in ('approved', 'rejected') then :by else decided_by end,"
    " decided_at = case when cast(:state as text) in ('approved', 'rejected') then :at else decided_at end,"
    " retired_at = case when cast(:state as text) = 'retired' then :at else retired_at end,"
    " comment = coalesce(cast(:comment as text), comment)"
    " where tenant = :tenant and name = :name and version = :version"
)
_PIN_SIMULATION = text(
    "update scheduler.policy_versions set simulation_id = :simulation_id, simulation_hash = :hash"
    " where tenant = :tenant and name = :name and version = :version"
)
_ACTIVATE = text(
    "insert into scheduler.policy_activations (tenant, name, seq, version, effective_at, in_flight, by, at)"
    " select :tenant, :name, coalesce(max(seq), 0) + 1, :version, :effective_at, :in_flight, :by, :at"
    " from scheduler.policy_activations where tenant = :tenant and name = :name"
)
_LATEST = (
    "select distinct on (a.tenant, a.name) a.tenant, a.name, a.version, a.in_flight from scheduler.policy_activations a"
    " where a.tenant = any(cast(:tenants as text[])) and a.effective_at <= :now order by a.tenant, a.name, a.effective_at desc, a.seq desc"
)
_ACTIVE = text(_LATEST)
_COMING = text(
    "select version, effective_at, in_flight from scheduler.policy_activations where tenant = :tenant and name = :name"
    " and effective_at > :now order by effective_at, seq"
)
_WITHDRAW = text(
    "delete from scheduler.policy_activations where tenant = :tenant and name = :name and version = :version and effective_at > :now"
    " returning effective_at"
)
_ASSIGNED = text("select tenant, items from scheduler.assignments where tenant = any(cast(:tenants as text[]))")
_ASSIGNMENTS = text("select revision, items from scheduler.assignments where tenant = :tenant")
_ASSIGN = text(
    "insert into scheduler.assignments (tenant, revision, items, at, by) values (:tenant, 1, :items, :at, :by)"
    " on conflict (tenant) do update set revision = assignments.revision + 1, items = excluded.items, at = excluded.at, by = excluded.by"
)
_IN_USE = text(
    "select tenant, name, version, document from scheduler.policy_versions where tenant = :tenant and state in ('approved', 'retired')"
)
_WANTED = {"tenant": "text", "name": "text", "version": "int"}
_DOCUMENTS = text(
    f"select v.tenant, v.name, v.version, v.document from {unnest(_WANTED, 'k')}"
    " join scheduler.policy_versions v on (v.tenant, v.name, v.version) = (k.tenant, k.name, k.version)"
)


class Which(Value, frozen=True, order=True):
    """A version of a tenant's policy."""

    tenant: str
    name: str
    version: int


@dataclass(frozen=True, slots=True)
class Doing:
    """Who does something, and when."""

    by: str
    at: datetime


async def hold(conn: AsyncConnection, tenant: str, chain: str) -> Link:
    """Lock a chain by its last link, so that nobody else changes what it is about; create the chain if it is new."""
    make, take = _LOCK_CHAIN
    await conn.execute(make, {"tenant": tenant, "chain": chain, "hash": BEGINNING})
    row = (await conn.execute(take, {"tenant": tenant, "chain": chain})).one()
    return Link(tenant, chain, row.seq, datetime.min, "", "", None, b"{}", BEGINNING, row.hash)  # noqa: DTZ901  # only its number and hash are read


async def add_link(conn: AsyncConnection, last: Link, doing: Doing, action: str, *, version: int | None, detail: bytes) -> Link:
    """Add a change to a locked chain, and return it."""
    new = Link(last.tenant, last.chain, last.seq + 1, doing.at, doing.by, action, version, detail, last.hash)
    new = replace(new, hash=new.hashed())
    await conn.execute(_ADD_LINK, {name: getattr(new, name) for name in _LINK})
    await conn.execute(_MOVE_CHAIN, {"tenant": new.tenant, "chain": new.chain, "seq": new.seq, "hash": new.hash})
    return new


async def links(conn: AsyncConnection, tenant: str, chain: str, *, after: int = 0, limit: int = 1_000_000) -> list[Link]:
    """Return the changes of a chain in order."""
    found = await conn.execute(_LINKS, {"tenant": tenant, "chain": chain, "after": after, "limit": limit})
    return [Link(*row) for row in found]


async def find(conn: AsyncConnection, which: Which) -> RowMapping | None:
    """Return a version with its document, or None."""
    return (await conn.execute(_FIND, _key(which))).mappings().one_or_none()


async def search(conn: AsyncConnection, tenant: str, *, name: str | None, after: tuple[str, int], limit: int) -> Sequence[RowMapping]:
    """Return versions by name and number, after a key."""
    only = "" if name is None else " and name = :name"
    statement = text(
        f"select {_HEAD} from scheduler.policy_versions where tenant = :tenant{only} and (name, version) > (:after_name, :after_version)"
        " order by name, version limit :limit"
    )
    values = {"tenant": tenant, "after_name": after[0], "after_version": after[1], "limit": limit}
    return (await conn.execute(statement, values if name is None else {**values, "name": name})).mappings().all()


async def newest(conn: AsyncConnection, tenant: str, name: str) -> int:
    """Return the number of the newest version, 0 for none."""
    return int((await conn.execute(_NEWEST, {"tenant": tenant, "name": name})).scalar_one())


async def add_draft(conn: AsyncConnection, which: Which, doing: Doing, *, source: str, document: bytes) -> None:
    """Write a new draft."""
    await conn.execute(_ADD, {**_key(which), "by": doing.by, "at": doing.at, "source": source, "document": document})


async def rewrite_draft(conn: AsyncConnection, which: Which, doing: Doing, *, source: str, document: bytes) -> None:
    """Rewrite a draft; all its writers are remembered."""
    await conn.execute(_REWRITE, {**_key(which), "by": doing.by, "at": doing.at, "source": source, "document": document})


async def put_state(conn: AsyncConnection, which: Which, doing: Doing, state: str, *, comment: str | None = None) -> None:
    """Set the state of a version: submitted, approved, rejected, retired."""
    await conn.execute(_PUT_STATE, {**_key(which), "by": doing.by, "at": doing.at, "state": state, "comment": comment})


async def pin_simulation(conn: AsyncConnection, which: Which, simulation_id: str, result_hash: str) -> None:
    """Record the simulation, and its result, that a decision on a version was based on."""
    await conn.execute(_PIN_SIMULATION, {**_key(which), "simulation_id": simulation_id, "hash": result_hash})


async def activate(conn: AsyncConnection, which: Which, doing: Doing, *, effective_at: datetime, in_flight: str) -> None:
    """Record from when a version is active."""
    values = {**_key(which), "effective_at": effective_at, "in_flight": in_flight, "by": doing.by, "at": doing.at}
    await conn.execute(_ACTIVATE, values)


async def active(conn: AsyncConnection, tenants: Iterable[str], now: datetime) -> list[tuple[Which, str]]:
    """Return the active version of each policy, and what it asks of running spells."""
    found = await conn.execute(_ACTIVE, {"tenants": sorted(set(tenants)), "now": now})
    return [(Which(row.tenant, row.name, row.version), row.in_flight) for row in found]


async def coming(conn: AsyncConnection, tenant: str, name: str, now: datetime) -> Sequence[RowMapping]:
    """Return the upcoming activations of a policy."""
    return (await conn.execute(_COMING, {"tenant": tenant, "name": name, "now": now})).mappings().all()


async def withdraw(conn: AsyncConnection, which: Which, now: datetime) -> list[datetime]:
    """Delete the upcoming activations of a version, and return their moments."""
    found = await conn.execute(_WITHDRAW, {"tenant": which.tenant, "name": which.name, "version": which.version, "now": now})
    return sorted(row.effective_at for row in found)


async def assigned(conn: AsyncConnection, tenants: Iterable[str]) -> dict[str, bytes]:
    """Return the assignments of these tenants as JSON; tenants without any are absent."""
    found = await conn.execute(_ASSIGNED, {"tenants": sorted(set(tenants))})
    return {row[0]: row[1] for row in found}


async def assignments(conn: AsyncConnection, tenant: str) -> tuple[int, bytes]:
    """Return (revision, assignments as JSON); revision 0 if there never were any."""
    row = (await conn.execute(_ASSIGNMENTS, {"tenant": tenant})).one_or_none()
    return (0, b"[]") if row is None else (row[0], row[1])


async def assign(conn: AsyncConnection, tenant: str, doing: Doing, items: bytes) -> None:
    """Replace the assignments of a tenant."""
    await conn.execute(_ASSIGN, {"tenant": tenant, "items": items, "at": doing.at, "by": doing.by})


async def documents(conn: AsyncConnection, wanted: Iterable[Which]) -> list[tuple[Which, bytes]]:
    """Return the documents of these versions, as JSON."""
    found = await conn.execute(_DOCUMENTS, transposed(_WANTED, sorted(set(wanted))))
    return [(Which(row.tenant, row.name, row.version), row.document) for row in found]


def _key(which: Which) -> dict[str, Any]:
    return {"tenant": which.tenant, "name": which.name, "version": which.version}


async def in_use(conn: AsyncConnection, tenant: str) -> list[tuple[Which, bytes]]:
    """Return the documents of all versions a tenant's case may be pinned to."""
    found = await conn.execute(_IN_USE, {"tenant": tenant})
    return [(Which(row.tenant, row.name, row.version), row.document) for row in found]
