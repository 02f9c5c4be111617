"""Product lines: every PUT is a version, and a version never changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_NEWEST = text(
    "select distinct on (p.tenant, p.name) p.tenant, p.name, p.version from unnest(cast(:tenants as text[]), cast(:names as text[]))"
    " as k(tenant, name) join ingest.products p on p.tenant = k.tenant and p.name = k.name order by p.tenant, p.name, p.version desc"
)
_FIND = text("select settings from ingest.products where tenant = :tenant and name = :name and version = :version")
_ADD = text(
    "insert into ingest.products (tenant, name, version, settings, created_at)"
    " select :tenant, :name, coalesce(max(version), 0) + 1, :settings, :now from ingest.products where tenant = :tenant and name = :name"
    " returning version"
)
_SERIALISE = text("select pg_advisory_xact_lock(hashtextextended(:what, 0))")

Name = tuple[str, str]
"""(tenant, product name)."""


@dataclass(slots=True)
class ProductBook:
    """Reads versions of product lines and caches them, since they never change."""

    _kept: dict[tuple[str, str, int], bytes] = field(default_factory=dict)

    async def newest(self, conn: AsyncConnection, names: Iterable[Name]) -> dict[Name, int]:
        """Return the version in force of each product; products without one are left out."""
        wanted = sorted(set(names))
        if not wanted:
            return {}
        found = await conn.execute(_NEWEST, {"tenants": [tenant for tenant, _ in wanted], "names": [name for _, name in wanted]})
        return {(row.tenant, row.name): row.version for row in found.all()}

    async def settings(self, conn: AsyncConnection, tenant: str, name: str, version: int) -> bytes:
        """Return the settings of one version."""
        key = (tenant, name, version)
        if key not in self._kept:
            self._kept[key] = (await conn.execute(_FIND, {"tenant": tenant, "name": name, "version": version})).scalar_one()
        return self._kept[key]

    async def add(self, conn: AsyncConnection, tenant: str, name: str, *, settings: bytes, now: datetime) -> int:
        """Create the next version, and return its number."""
        await conn.execute(_SERIALISE, {"what": f"dunwell-product/{tenant}/{name}"})
        return int((await conn.execute(_ADD, {"tenant": tenant, "name": name, "settings": settings, "now": now})).scalar_one())
