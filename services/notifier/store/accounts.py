"""Provider accounts and routes, as a tenant's operators set them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.routing import Offer, Route

_COLUMNS = (
    "tenant, name, version, kind, channels, settings, credential_names, sealed, base_url, at_once, per_second,"
    " paused, paused_reason, paused_by, by, at"
)
BY_ITSELF = "dunwell"
"""Marks an account paused because its provider refuses it as a whole: a new version of it is tried at once."""
_settings = msgspec.json.Decoder(dict[str, str]).decode
_routes = msgspec.json.Decoder(tuple[Route, ...]).decode


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account as stored: its credentials and its URL's secret sealed, the secret also as a keyed hash."""

    tenant: str
    name: str
    kind: str
    channels: tuple[str, ...]
    settings: dict[str, str]
    credential_names: tuple[str, ...]
    sealed: bytes
    base_url: str | None
    at_once: int
    by: str
    at: datetime
    version: int = 0
    paused: bool = False
    paused_reason: str | None = None
    paused_by: str | None = None
    per_second: int | None = None
    """How many messages may start in any second, across all replicas."""


@dataclass(frozen=True, slots=True)
class RouteSet:
    """All routes of a tenant, as a single version."""

    version: int
    routes: tuple[Route, ...]
    by: str
    at: datetime


async def put(conn: AsyncConnection, row: AccountRow, *, secret_hash: bytes) -> int:
    """Store an account and return its version; one paused by a person stays paused."""
    stored = await conn.execute(
        text(
            "insert into notifier.provider_accounts as a (tenant, name, version, kind, channels, settings, credential_names, sealed,"
            " secret_hash, base_url, at_once, per_second, by, at) values (:tenant, :name, 1, :kind, cast(:channels as text[]), :settings,"
            " cast(:names as text[]), :sealed, :secret_hash, :base_url, :at_once, :per_second, :by, :at)"
            " on conflict (tenant, name) do update set version = a.version + 1, kind = excluded.kind, channels = excluded.channels,"
            " settings = excluded.settings, credential_names = excluded.credential_names, sealed = excluded.sealed,"
            " secret_hash = excluded.secret_hash, base_url = excluded.base_url, at_once = excluded.at_once,"
            " per_second = excluded.per_second, by = excluded.by, at = excluded.at,"
            " paused = a.paused and a.paused_by is distinct from :itself,"
            " paused_reason = case when a.paused_by is distinct from :itself then a.paused_reason end,"
            " paused_by = nullif(a.paused_by, :itself) returning version"
        ),
        {
            "tenant": row.tenant, "name": row.name, "kind": row.kind, "channels": list(row.channels),
            "settings": msgspec.json.encode(row.settings), "names": list(row.credential_names), "sealed": row.sealed,
            "secret_hash": secret_hash, "base_url": row.base_url, "at_once": row.at_once,
            "per_second": row.per_second, "by": row.by, "at": row.at, "itself": BY_ITSELF,
        },
    )  # fmt: skip
    return int(stored.scalar_one())


async def find(conn: AsyncConnection, tenant: str, name: str, *, lock: bool = False) -> AccountRow | None:
    """Return an account."""
    rows = await conn.execute(
        text(f"select {_COLUMNS} from notifier.provider_accounts where tenant = :tenant and name = :name{' for update' if lock else ''}"),
        {"tenant": tenant, "name": name},
    )
    row = rows.one_or_none()
    return _account(row) if row else None


async def find_by_secret(conn: AsyncConnection, name: str, secret_hash: bytes) -> AccountRow | None:
    """Return the account to which the secret of a URL belongs."""
    rows = await conn.execute(
        text(f"select {_COLUMNS} from notifier.provider_accounts where secret_hash = :secret_hash and name = :name"),  # no value in it
        {"secret_hash": secret_hash, "name": name},
    )
    row = rows.one_or_none()
    return _account(row) if row else None


async def of_tenant(conn: AsyncConnection, tenant: str) -> list[AccountRow]:
    """Return the accounts of a tenant by name."""
    rows = await conn.execute(
        text(f"select {_COLUMNS} from notifier.provider_accounts where tenant = :tenant order by name"),  # no value in it
        {"tenant": tenant},
    )
    return [_account(row) for row in rows]


async def of_kinds(conn: AsyncConnection, kinds: Sequence[str]) -> list[tuple[str, str]]:
    """Return tenant and name of each account of these kinds."""
    rows = await conn.execute(
        text("select tenant, name from notifier.provider_accounts where kind = any(cast(:kinds as text[])) order by tenant, name"),
        {"kinds": list(kinds)},
    )
    return [(row.tenant, row.name) for row in rows]


async def pause(conn: AsyncConnection, tenant: str, name: str, *, reason: str, by: str, version: int | None = None) -> bool:
    """Pause an account, or only this version of it; False if there is none."""
    rows = await conn.execute(
        text(
            "update notifier.provider_accounts set paused = true, paused_reason = :reason, paused_by = :by"
            " where tenant = :tenant and name = :name"
            " and (cast(:version as int) is null or version = :version and not paused) returning name"
        ),
        {"tenant": tenant, "name": name, "reason": reason, "by": by, "version": version},
    )
    return rows.first() is not None


async def resume(conn: AsyncConnection, tenant: str, name: str) -> bool:
    """Resume an account; False if there is none."""
    rows = await conn.execute(
        text(
            "update notifier.provider_accounts set paused = false, paused_reason = null, paused_by = null"
            " where tenant = :tenant and name = :name returning name"
        ),
        {"tenant": tenant, "name": name},
    )
    return rows.first() is not None


async def put_routes(conn: AsyncConnection, tenant: str, routes: Sequence[Route], *, by: str, at: datetime) -> int:
    """Store a tenant's routes as a new version and return its number; earlier versions stay."""
    await conn.execute(text("select pg_advisory_xact_lock(hashtextextended('notifier.routes/' || :tenant, 0))"), {"tenant": tenant})
    stored = await conn.execute(
        text(
            "insert into notifier.routes (tenant, version, routes, by, at)"
            " select :tenant, coalesce(max(version), 0) + 1, :routes, :by, :at from notifier.routes where tenant = :tenant"
            " returning version"
        ),
        {"tenant": tenant, "routes": msgspec.json.encode(routes), "by": by, "at": at},
    )
    return int(stored.scalar_one())


async def routes(conn: AsyncConnection, tenant: str) -> RouteSet | None:
    """Return the current routes of a tenant."""
    return next(iter(await versions_of_routes(conn, tenant, limit=1)), None)


async def versions_of_routes(conn: AsyncConnection, tenant: str, *, limit: int) -> list[RouteSet]:
    """Return the versions of a tenant's routes, newest first."""
    rows = await conn.execute(
        text("select version, routes, by, at from notifier.routes where tenant = :tenant order by version desc limit :limit"),
        {"tenant": tenant, "limit": limit},
    )
    return [RouteSet(row.version, _routes(row.routes), row.by, row.at) for row in rows]


async def all_offers(conn: AsyncConnection) -> dict[str, dict[str, Offer]]:
    """Return the accounts of every tenant, by name."""
    rows = await conn.execute(text("select tenant, name, channels, paused from notifier.provider_accounts"))
    found: dict[str, dict[str, Offer]] = {}
    for row in rows:
        found.setdefault(row.tenant, {})[row.name] = Offer(row.name, tuple(row.channels), paused=row.paused)
    return found


async def all_routes(conn: AsyncConnection) -> dict[str, tuple[Route, ...]]:
    """Return the current routes of every tenant."""
    rows = await conn.execute(text("select distinct on (tenant) tenant, routes from notifier.routes order by tenant, version desc"))
    return {row.tenant: _routes(row.routes) for row in rows}


def _account(row: Row[tuple[object, ...]]) -> AccountRow:
    return AccountRow(
        tenant=row.tenant, name=row.name, kind=row.kind, channels=tuple(row.channels), settings=_settings(row.settings),
        credential_names=tuple(row.credential_names), sealed=row.sealed, base_url=row.base_url, at_once=row.at_once, by=row.by, at=row.at,
        version=row.version, paused=row.paused, paused_reason=row.paused_reason, paused_by=row.paused_by,
        per_second=row.per_second,
    )  # fmt: skip
