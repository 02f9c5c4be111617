"""Simulations: requested, taken by one process, kept alive, and ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

LOST_AFTER = timedelta(minutes=2)
"""A simulation not kept alive for this long has lost its process."""
_HEAD = (
    "simulation_id, state, policy, version, document_hash, asked, by, created_at, started_at, ended_at, done, total, reason, hash"
)  # fmt: skip
_ADD = text(
    "insert into scheduler.simulations (tenant, simulation_id, state, policy, version, document, document_hash, asked, by, created_at)"
    " values (:tenant, :simulation_id, 'queued', :policy, :version, :document, :document_hash, :asked, :by, :at) on conflict do nothing"
)
_TAKE = text(
    "update scheduler.simulations s set state = 'running', started_at = :now, seen_at = :now from (select tenant, simulation_id"
    " from scheduler.simulations where state = 'queued' order by created_at, simulation_id limit 1 for update skip locked) q"
    " where (s.tenant, s.simulation_id) = (q.tenant, q.simulation_id)"
    " returning s.tenant, s.simulation_id, s.policy, s.version, s.document, s.document_hash, s.asked"
)
_SEE = text(
    "update scheduler.simulations set seen_at = :now, done = :done, total = :total"
    " where tenant = :tenant and simulation_id = :simulation_id and state = 'running' returning 1"
)
_END = text(
    "update scheduler.simulations set state = :state, ended_at = :now, reason = :reason, result = :result, hash = :hash, seen_at = :now"
    " where tenant = :tenant and simulation_id = :simulation_id and state = 'running' returning 1"
)
_LOSE = text(
    "update scheduler.simulations set state = 'interrupted', ended_at = :now, reason = 'process_gone'"
    " where state = 'running' and seen_at < :lost"
)
_CANCEL = text(
    "update scheduler.simulations set state = 'cancelled', ended_at = :now, reason = :by"
    " where tenant = :tenant and simulation_id = :simulation_id and state in ('queued', 'running') returning 1"
)
_FIND = text(f"select {_HEAD}, result from scheduler.simulations where tenant = :tenant and simulation_id = :simulation_id")
_SEARCH = text(
    f"select {_HEAD} from scheduler.simulations where tenant = :tenant and simulation_id > :after"
    " and (cast(:policy as text) is null or policy = :policy) and (cast(:state as text) is null or state = :state)"
    " order by simulation_id limit :limit"
)


@dataclass(frozen=True, slots=True)
class Asked:
    """A requested simulation; `document` is the policy's JSON, `asked` everything else."""

    tenant: str
    simulation_id: str
    policy: str
    version: int | None
    document: bytes
    document_hash: str
    asked: bytes


async def add(conn: AsyncConnection, asked: Asked, *, by: str, at: datetime) -> None:
    """Store the request; the same id again is the same one."""
    values = {name: getattr(asked, name) for name in Asked.__slots__}
    await conn.execute(_ADD, {**values, "by": by, "at": at})


async def take(conn: AsyncConnection, now: datetime) -> Asked | None:
    """Take the oldest waiting one, or None; those whose process is gone are ended first."""
    await conn.execute(_LOSE, {"now": now, "lost": now - LOST_AFTER})
    row = (await conn.execute(_TAKE, {"now": now})).one_or_none()
    return None if row is None else Asked(*row)


async def go_on(conn: AsyncConnection, asked: Asked, now: datetime, *, done: int, total: int) -> bool:
    """Keep it alive and record its progress; return False if somebody has ended it."""
    found = await conn.execute(_SEE, {**_key(asked.tenant, asked.simulation_id), "now": now, "done": done, "total": total})
    return found.one_or_none() is not None


@dataclass(frozen=True, slots=True)
class Ending:
    """How a simulation ends: with a result and its hash, or with a reason."""

    state: str
    reason: str | None = None
    result: bytes | None = None
    hash: str | None = None


async def end(conn: AsyncConnection, asked: Asked, ending: Ending, now: datetime) -> None:
    """End a running simulation."""
    values = {"state": ending.state, "reason": ending.reason, "result": ending.result, "hash": ending.hash}
    await conn.execute(_END, {**_key(asked.tenant, asked.simulation_id), **values, "now": now})


async def cancel(conn: AsyncConnection, tenant: str, simulation_id: str, *, by: str, now: datetime) -> bool:
    """Cancel a waiting or running one; return False if there is nothing to cancel."""
    return (await conn.execute(_CANCEL, {**_key(tenant, simulation_id), "by": by, "now": now})).one_or_none() is not None


async def find(conn: AsyncConnection, tenant: str, simulation_id: str) -> RowMapping | None:
    """Return one with its result, or None."""
    return (await conn.execute(_FIND, _key(tenant, simulation_id))).mappings().one_or_none()


async def search(
    conn: AsyncConnection, tenant: str, *, policy: str | None, state: str | None, after: str, limit: int
) -> Sequence[RowMapping]:  # fmt: skip
    """Return simulations by id, without their results."""
    values = {"tenant": tenant, "policy": policy, "state": state, "after": after, "limit": limit}
    return (await conn.execute(_SEARCH, values)).mappings().all()


def _key(tenant: str, simulation_id: str) -> dict[str, str]:
    return {"tenant": tenant, "simulation_id": simulation_id}
