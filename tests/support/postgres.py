"""A real PostgreSQL for the tests: one server a run, a database of its own for every test."""

from __future__ import annotations

import asyncio
import fcntl
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from libs.common.db import migrate
from libs.common.db.embedded import EmbeddedPostgres
from libs.common.db.engine import make_engine
from tests.support.memory import folder_in_memory

CARELESS = ("fsync = off", "full_page_writes = off", "max_wal_size = '256MB'")
"""What only a power cut could tell from a careful server; killed processes lose nothing by it."""


@dataclass
class Databases:
    """Makes migrated databases out of templates: a thousand files each, hence in memory where there is room."""

    server: EmbeddedPostgres
    _templates: dict[tuple[str, ...], str] = field(default_factory=dict)

    @asynccontextmanager
    async def fresh(self, *services: str, pool_size: int = 8) -> AsyncIterator[AsyncEngine]:
        """An engine on a new database with these services' schemas; dropped afterwards."""
        name, template = f"t_{uuid.uuid4().hex[:12]}", await self._template(tuple(sorted(services)))
        await _administer(self.server, f'create database "{name}" template "{template}" strategy file_copy')
        engine = make_engine(self.server.url(name), application="test", pool_size=pool_size)
        try:
            yield engine
        finally:
            await engine.dispose()
            await _administer(self.server, f'drop database if exists "{name}" with (force)')

    async def _template(self, services: tuple[str, ...]) -> str:
        if services not in self._templates:
            url = await self.server.create(name := "template_" + "_".join(services or ("empty",)))
            engine = make_engine(url, application="template")
            for service in services:
                await migrate.upgrade(engine, service)
            await engine.dispose()
            self._templates[services] = name
        return self._templates[services]


@contextmanager
def careful_databases() -> Iterator[Databases]:
    """Databases on a server as it is in operation, which ends with this.

    Not under pytest's own temporary folder: the next run closes that to the user under whom PostgreSQL runs when root starts it.
    """
    with tempfile.TemporaryDirectory(prefix="dunwell-tests-", ignore_cleanup_errors=True) as folder, _server_in(Path(folder)) as server:
        yield Databases(server)


@contextmanager
def quick_databases() -> Iterator[Databases]:
    """Databases on a server that keeps nothing for after a power cut, which ends with this."""
    with folder_in_memory() as folder, _server_in(folder) as server:
        asyncio.run(_administer(server, *[f"alter system set {setting}" for setting in CARELESS], "select pg_reload_conf()"))
        yield Databases(server)


@contextmanager
def _server_in(folder: Path) -> Iterator[EmbeddedPostgres]:
    with (Path(tempfile.gettempdir()) / "dunwell-tests.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # under root the first start makes PostgreSQL's user, which two at once cannot
        server = EmbeddedPostgres(folder / "postgres")
    yield server
    asyncio.run(server.stop())


async def _administer(server: EmbeddedPostgres, *statements: str) -> None:
    engine = create_async_engine(server.url("postgres").replace("postgresql://", "postgresql+asyncpg://"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as conn:
        for statement in statements:
            await conn.execute(text(statement))
    await engine.dispose()
