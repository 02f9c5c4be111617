"""The health of providers, one row per account: leased from and written in separate short transactions, in key order."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.breaker import Breaker, Phase
from services.notifier.domain.health import Account, Health, LastFault

_COLUMNS = "s.tenant, s.name, s.free_at, s.slowed_until, s.slowings, s.phase, s.since, s.until, s.calls, s.faults, s.trips, s.last_faults"
_encode = msgspec.json.Encoder().encode
_faults = msgspec.json.Decoder(tuple[LastFault, ...]).decode
_detail = msgspec.json.Decoder(dict[str, str | int | None]).decode


@dataclass(frozen=True, slots=True)
class Known:
    """An account's health and limits: how many calls at once, and its rate if it has one."""

    health: Health
    per_second: int | None
    at_once: int


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to an account; `by` is None if no person did it."""

    at: datetime
    kind: str
    by: str | None = None
    detail: Mapping[str, str | int | None] = field(default_factory=dict)


async def begin(conn: AsyncConnection, account: Account) -> None:
    """Create the row of an account."""
    await conn.execute(
        text("insert into notifier.provider_states (tenant, name) values (:tenant, :name) on conflict (tenant, name) do nothing"),
        {"tenant": account[0], "name": account[1]},
    )


async def bounded(conn: AsyncConnection, tenants: Collection[str], *, now: datetime) -> list[Account]:
    """Return the accounts of these tenants that are limited: they have a rate, rest, or have failed."""
    rows = await conn.execute(
        text(
            "select a.tenant, a.name from unnest(cast(:tenants as text[])) as w(tenant) join notifier.provider_accounts a using (tenant)"
            " join notifier.provider_states s using (tenant, name)"
            " where not a.paused and (a.per_second is not null or s.phase <> 'closed' or s.slowed_until > :now) order by 1, 2"
        ),
        {"tenants": sorted(tenants), "now": now},
    )
    return [(row.tenant, row.name) for row in rows]


async def lock(conn: AsyncConnection, accounts: Collection[Account]) -> dict[Account, Known]:
    """Lock the rows of these accounts in key order, and return them."""
    ordered = sorted(accounts)
    rows = await conn.execute(
        text(
            f"select {_COLUMNS}, a.per_second, a.at_once"  # no value in it
            " from unnest(cast(:tenants as text[]), cast(:names as text[])) as w(tenant, name)"
            " join notifier.provider_states s using (tenant, name) join notifier.provider_accounts a using (tenant, name)"
            " order by s.tenant, s.name for update of s"
        ),
        _arrays(ordered),
    )
    return {(row.tenant, row.name): Known(_health(row), row.per_second, row.at_once) for row in rows}


async def find(conn: AsyncConnection, account: Account) -> Health | None:
    """Return the health of an account; takes no lock."""
    rows = await conn.execute(
        text(f"select {_COLUMNS} from notifier.provider_states s where s.tenant = :tenant and s.name = :name"),  # no value in it
        {"tenant": account[0], "name": account[1]},
    )
    row = rows.one_or_none()
    return _health(row) if row is not None else None


async def of_tenant(conn: AsyncConnection, tenant: str) -> dict[str, Health]:
    """Return the health of a tenant's accounts, by name."""
    rows = await conn.execute(
        text(f"select {_COLUMNS} from notifier.provider_states s where s.tenant = :tenant"),  # no value in it
        {"tenant": tenant},
    )
    return {row.name: _health(row) for row in rows}


async def save(conn: AsyncConnection, healths: Mapping[Account, Health]) -> None:
    """Write locked rows back."""
    if not healths:
        return
    ordered = sorted(healths.items())
    every = [health for _, health in ordered]
    breakers = [health.breaker for health in every]
    await conn.execute(
        text(
            "update notifier.provider_states s set free_at = n.free_at, slowed_until = n.slowed_until, slowings = n.slowings,"
            " phase = n.phase, since = n.since, until = n.until, calls = n.calls, faults = n.faults, trips = n.trips,"
            " last_faults = n.last_faults"
            " from unnest(cast(:tenants as text[]), cast(:names as text[]), cast(:frees as timestamptz[]), cast(:sloweds as timestamptz[]),"
            " cast(:slowings as int[]), cast(:phases as text[]), cast(:sinces as timestamptz[]), cast(:untils as timestamptz[]),"
            " cast(:calls as int[]), cast(:faults as int[]), cast(:trips as int[]), cast(:lasts as bytea[]))"
            " as n(tenant, name, free_at, slowed_until, slowings, phase, since, until, calls, faults, trips, last_faults)"
            " where s.tenant = n.tenant and s.name = n.name"
        ),
        {
            **_arrays([account for account, _ in ordered]), "frees": [h.free_at for h in every],
            "sloweds": [h.slowed_until for h in every], "slowings": [h.slowings for h in every],
            "phases": [b.phase.value for b in breakers], "sinces": [b.since for b in breakers], "untils": [b.until for b in breakers],
            "calls": [b.calls for b in breakers], "faults": [b.faults for b in breakers], "trips": [b.trips for b in breakers],
            "lasts": [_encode(h.last_faults) for h in every],
        },
    )  # fmt: skip


async def note(conn: AsyncConnection, account: Account, events: Sequence[Event]) -> None:
    """Add to an account's history."""
    for event in events:
        await conn.execute(
            text(
                "insert into notifier.provider_events (tenant, name, at, kind, by, detail)"
                " values (:tenant, :name, :at, :kind, :by, :detail)"
            ),
            {
                "tenant": account[0], "name": account[1], "at": event.at, "kind": event.kind, "by": event.by,
                "detail": _encode(event.detail),
            },
        )  # fmt: skip


async def history(conn: AsyncConnection, account: Account, *, limit: int) -> list[Event]:
    """Return an account's history, newest first."""
    rows = await conn.execute(
        text(
            "select at, kind, by, detail from notifier.provider_events where tenant = :tenant and name = :name"
            " order by id desc limit :limit"
        ),
        {"tenant": account[0], "name": account[1], "limit": limit},
    )
    return [Event(row.at, row.kind, row.by, _detail(row.detail)) for row in rows]


async def stopped(conn: AsyncConnection) -> dict[str, tuple[int, int]]:
    """Return, by name, how many accounts are paused and how many have a breaker that is not closed."""
    rows = await conn.execute(
        text(
            "select a.name, count(*) filter (where a.paused) as paused, count(*) filter (where s.phase <> 'closed') as broken"
            " from notifier.provider_accounts a join notifier.provider_states s using (tenant, name) group by a.name"
        )
    )
    return {row.name: (row.paused, row.broken) for row in rows}


def _health(row: Row[tuple[object, ...]]) -> Health:
    breaker = Breaker(Phase(row.phase), row.since, row.until, row.calls, row.faults, row.trips)
    return Health(row.free_at, row.slowed_until, row.slowings, breaker, _faults(row.last_faults) if row.last_faults else ())


def _arrays(accounts: Sequence[Account]) -> dict[str, list[str]]:
    return {"tenants": [tenant for tenant, _ in accounts], "names": [name for _, name in accounts]}
