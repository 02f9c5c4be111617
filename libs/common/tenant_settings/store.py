"""SQL of tenants' settings: every version is kept, with who wrote it and when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Kept:
    """One version of a tenant's settings, as JSON."""

    tenant: str
    version: int
    settings: bytes
    by: str
    at: datetime


async def current(conn: AsyncConnection, schema: str, tenants: Iterable[str]) -> dict[str, Kept]:
    """Return the newest settings of tenants that have any."""
    rows = await conn.execute(
        text(
            "select distinct on (s.tenant) s.tenant, s.version, s.settings, s.by, s.at"
            f" from unnest(cast(:tenants as text[])) as w(tenant) join {schema}.settings s on s.tenant = w.tenant"  # the schema is ours
            " order by s.tenant, s.version desc"
        ),
        {"tenants": sorted(set(tenants))},
    )
    return {row.tenant: Kept(row.tenant, row.version, row.settings, row.by, row.at) for row in rows}


async def history(conn: AsyncConnection, schema: str, tenant: str, *, below: int | None, limit: int) -> list[Kept]:
    """Return the versions of a tenant's settings below a number, newest first."""
    rows = await conn.execute(
        text(
            f"select tenant, version, settings, by, at from {schema}.settings"
            " where tenant = :tenant and (cast(:below as int) is null or version < :below) order by version desc limit :limit"
        ),
        {"tenant": tenant, "below": below, "limit": limit},
    )
    return [Kept(row.tenant, row.version, row.settings, row.by, row.at) for row in rows]


async def put(conn: AsyncConnection, schema: str, kept: Kept) -> bool:
    """Store a version; False when somebody else has already written it."""
    rows = await conn.execute(
        text(
            f"insert into {schema}.settings (tenant, version, settings, by, at) values (:tenant, :version, :settings, :by, :at)"
            " on conflict (tenant, version) do nothing returning version"
        ),
        {"tenant": kept.tenant, "version": kept.version, "settings": kept.settings, "by": kept.by, "at": kept.at},
    )
    return rows.first() is not None
