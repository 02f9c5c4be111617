"""Migrate a service's schema to its newest version: one Alembic environment and one schema per service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

SERVICES = ("ingest", "scheduler", "notifier")
LOCK_TIMEOUT = "5s"
_ROOT = Path(__file__).resolve().parents[3]


async def upgrade(engine: AsyncEngine, service: str) -> None:
    """Migrate one service's schema; concurrent attempts take turns."""
    async with engine.connect() as conn:
        await conn.execute(text(f"set lock_timeout = '{LOCK_TIMEOUT}'"))
        await conn.execute(text("select pg_advisory_lock(hashtext(:name))"), {"name": f"dunwell-migrate-{service}"})
        await conn.execute(text(f"create schema if not exists {service}"))
        await conn.commit()
        try:
            if (ahead := _ahead(await _version(conn, service), service)) is not None:
                raise RuntimeError(ahead)
            await conn.run_sync(_upgrade, service)
            await conn.commit()
        finally:
            await conn.rollback()
            await conn.execute(text("select pg_advisory_unlock(hashtext(:name))"), {"name": f"dunwell-migrate-{service}"})
            await conn.commit()


async def pending(engine: AsyncEngine, service: str) -> str | None:
    """Return None if the schema is at its newest version, else what is missing."""
    async with engine.connect() as conn:
        at = await _version(conn, service)
    if (ahead := _ahead(at, service)) is not None:
        return ahead
    head = _script(service).get_current_head()
    place = "empty" if at is None else f"at {at}"
    return None if at == head else f"schema {service} is {place}, this release needs {head}: run `dunwell migrate`"


def run_environment(context: EnvironmentContext | Any, metadata: MetaData, schema: str) -> None:
    """What each service's `env.py` does: use the connection it was given, and keep the version table in its schema."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, version_table_schema=schema, include_schemas=True)
    with context.begin_transaction():
        context.run_migrations()


async def _version(conn: AsyncConnection, service: str) -> str | None:
    exists = await conn.execute(text("select to_regclass(:name)"), {"name": f"{service}.alembic_version"})
    if exists.scalar_one() is None:
        return None
    return (await conn.execute(text(f"select version_num from {service}.alembic_version"))).scalar_one_or_none()


def _ahead(at: str | None, service: str) -> str | None:
    """Return an error if a newer release has migrated the schema; the only way back is a backup from before."""
    if at is None or at in {revision.revision for revision in _script(service).walk_revisions()}:
        return None
    return f"schema {service} is at {at}, which this release does not know: run the release that migrated it, or a newer one"


def _script(service: str) -> ScriptDirectory:
    return ScriptDirectory.from_config(_config(service))


def _upgrade(connection: Connection, service: str) -> None:
    config = _config(service)
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _config(service: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_ROOT / "services" / service / "migrations"))
    config.set_main_option("path_separator", "os")
    return config
