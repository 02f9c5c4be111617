"""Versions of texts: drafts, the published one for each place, and retired ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.message import TextRef

_COLUMNS = (
    "name, version, locale, channel, state, subject, body, html, jurisdictions, purpose,"
    " created_by, created_at, published_by, published_at, retired_by, retired_at"
)
Version = Row[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A draft to store."""

    tenant: str
    name: str
    locale: str
    channel: str
    subject: str | None
    body: str
    html: str | None
    jurisdictions: Sequence[str] | None
    purpose: str
    by: str


async def add(conn: AsyncConnection, new: NewVersion, *, now: datetime) -> Version:
    """Store a draft as the next version of its name; versions of a name are numbered one at a time."""
    await _lock(conn, new.tenant, new.name)
    rows = await conn.execute(
        text(
            "insert into notifier.templates (tenant, name, version, locale, channel, state, subject, body, html, jurisdictions, purpose,"
            " created_by, created_at)"
            " select :tenant, :name, coalesce(max(version), 0) + 1, :locale, :channel, 'draft', :subject, :body, :html,"
            " cast(:jurisdictions as text[]), :purpose, :by, :now from notifier.templates where tenant = :tenant and name = :name"
            f" returning {_COLUMNS}"
        ),
        {
            "tenant": new.tenant, "name": new.name, "locale": new.locale, "channel": new.channel, "subject": new.subject,
            "body": new.body, "html": new.html, "jurisdictions": list(new.jurisdictions) if new.jurisdictions is not None else None,
            "purpose": new.purpose, "by": new.by, "now": now,
        },
    )  # fmt: skip
    return rows.one()


async def lock(conn: AsyncConnection, tenant: str, name: str, version: int) -> Version | None:
    """Return a version, with its name locked until the transaction ends; None if there is none."""
    await _lock(conn, tenant, name)
    return await find(conn, tenant, name, version)


async def publish(conn: AsyncConnection, tenant: str, row: Version, *, by: str, now: datetime) -> Version:
    """Publish a draft, and retire the version published in its place."""
    await conn.execute(
        text(
            "update notifier.templates set state = 'retired', retired_by = :by, retired_at = :now"
            " where tenant = :tenant and name = :name and locale = :locale and channel = :channel and state = 'published'"
        ),
        {"tenant": tenant, "name": row.name, "locale": row.locale, "channel": row.channel, "by": by, "now": now},
    )
    return await _move(conn, tenant, row, state="published", by=by, now=now)


async def retire(conn: AsyncConnection, tenant: str, row: Version, *, by: str, now: datetime) -> Version:
    """Retire a version."""
    return await _move(conn, tenant, row, state="retired", by=by, now=now)


async def find(conn: AsyncConnection, tenant: str, name: str, version: int) -> Version | None:
    """Return a version, or None."""
    rows = await conn.execute(
        text(f"select {_COLUMNS} from notifier.templates where tenant = :tenant and name = :name and version = :version"),
        {"tenant": tenant, "name": name, "version": version},
    )
    return rows.first()


async def versions(conn: AsyncConnection, tenant: str, name: str, *, limit: int) -> Sequence[Version]:
    """Return the versions of a name, oldest first."""
    rows = await conn.execute(
        text(f"select {_COLUMNS} from notifier.templates where tenant = :tenant and name = :name order by version limit :limit"),
        {"tenant": tenant, "name": name, "limit": limit},
    )
    return rows.all()


async def places(conn: AsyncConnection, tenant: str) -> list[tuple[TextRef, int]]:
    """Return every place a tenant has a text for, with the version published there (0: none) and the number of drafts."""
    rows = await conn.execute(
        text(
            "select name, locale, channel, coalesce(max(version) filter (where state = 'published'), 0) as version,"
            " count(*) filter (where state = 'draft') as drafts"
            " from notifier.templates where tenant = :tenant group by name, locale, channel"
        ),
        {"tenant": tenant},
    )
    return [(TextRef(row.name, row.locale, row.channel, row.version), row.drafts) for row in rows]


async def published(conn: AsyncConnection, wanted: Iterable[tuple[str, str]]) -> set[tuple[str, TextRef]]:
    """Return which texts are published for these (tenant, name)."""
    pairs = sorted(set(wanted))
    rows = await conn.execute(
        text(
            "select t.tenant, t.name, t.locale, t.channel, t.version"
            " from unnest(cast(:tenants as text[]), cast(:names as text[])) as w(tenant, name)"
            " join notifier.templates t on t.tenant = w.tenant and t.name = w.name where t.state = 'published'"
        ),
        {"tenants": [tenant for tenant, _ in pairs], "names": [name for _, name in pairs]},
    )
    return {(row.tenant, TextRef(row.name, row.locale, row.channel, row.version)) for row in rows}


async def sources(conn: AsyncConnection, wanted: Iterable[tuple[str, str, int]]) -> Sequence[Row[tuple[object, ...]]]:
    """Return the sources of these (tenant, name, version)."""
    keys = sorted(set(wanted))
    rows = await conn.execute(
        text(
            "select t.tenant, t.name, t.locale, t.channel, t.version, t.subject, t.body, t.html"
            " from unnest(cast(:tenants as text[]), cast(:names as text[]), cast(:versions as int[])) as w(tenant, name, version)"
            " join notifier.templates t on t.tenant = w.tenant and t.name = w.name and t.version = w.version"
        ),
        {"tenants": [key[0] for key in keys], "names": [key[1] for key in keys], "versions": [key[2] for key in keys]},
    )
    return rows.all()


async def _move(conn: AsyncConnection, tenant: str, row: Version, *, state: str, by: str, now: datetime) -> Version:
    rows = await conn.execute(
        text(
            f"update notifier.templates set state = :state, {state}_by = :by, {state}_at = :now"
            f" where tenant = :tenant and name = :name and version = :version returning {_COLUMNS}"
        ),
        {"tenant": tenant, "name": row.name, "version": row.version, "state": state, "by": by, "now": now},
    )
    return rows.one()


async def _lock(conn: AsyncConnection, tenant: str, name: str) -> None:
    await conn.execute(text("select pg_advisory_xact_lock(hashtextextended(:key, 0))"), {"key": f"notifier.templates/{tenant}/{name}"})
