"""A real PostgreSQL for the tests: one server per run, a separate database for every test."""

from __future__ import annotations

import asyncio
import fcntl
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db import migrate
from libs.common.db.embedded import EmbeddedPostgres
from libs.common.db.engine import make_engine
from tests.support.memory import folder_in_memory

CARELESS = ("fsync = off", "full_page_writes = off", "max_wal_size = '256MB'")
"""Settings that differ from a careful server only in a power cut; killed processes lose nothing by them."""


KEEP_SEEDS = """
do $$ declare one regclass; begin
    create schema seeds;
    for one in select oid from pg_class where relkind = 'r' and oid >= 16384 and pg_relation_size(oid) > 0 loop
        execute format('create table seeds.%I as table %s', one::text, one);
    end loop;
end $$"""
EMPTY = """
do $$ declare one regclass; filled text[] := '{}'; begin
    perform pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid();
    select coalesce(array_agg(oid::regclass::text), '{}') into filled from pg_class
        where relkind = 'r' and oid >= 16384 and relnamespace <> 'seeds'::regnamespace and pg_relation_size(oid) > 0;
    if cardinality(filled) > 0 then
        execute 'truncate ' || array_to_string(filled, ', ') || ' restart identity cascade';
    end if;
    for one in select oid from pg_class where relkind = 'r' and relnamespace = 'seeds'::regnamespace loop
        execute format('insert into %s overriding system value table %s', (select relname from pg_class where oid = one), one);
    end loop;
    perform pg_stat_reset();
end $$"""
SHAPE = """
select md5(string_agg(kind || name || about, ',' order by kind, name, about)) from (
    select 'c' as kind, relname::text as name, relnatts::text as about from pg_class where oid >= 16384 and relkind <> 't'
    union all select 'f', proname, '' from pg_proc where oid >= 16384
    union all select 't', tgname, tgrelid::regclass::text from pg_trigger where not tgisinternal) as all_of_it"""


@dataclass
class Databases:
    """Makes migrated databases from templates, at a thousand files each."""

    server: EmbeddedPostgres
    again: bool = False
    """Whether a finished database is emptied and reused; otherwise it is dropped."""
    _idle: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    _shapes: dict[str, str] = field(default_factory=dict)
    """By template."""

    @asynccontextmanager
    async def fresh(self, *services: str, pool_size: int = 8) -> AsyncIterator[AsyncEngine]:
        """An engine on a database with these services' schemas, as the migrations leave it."""
        wanted = tuple(sorted(services))
        idle = self._idle.setdefault(wanted, [])
        name = idle.pop() if idle else await self._made(wanted)
        engine = make_engine(self.server.url(name), application="test", pool_size=pool_size)
        try:
            yield engine
        finally:
            await engine.dispose()
            if self.again and await self._emptied(name, _template_of(wanted)):
                idle.append(name)
            else:
                await _administer(self.server, f'drop database if exists "{name}" with (force)')

    async def _made(self, services: tuple[str, ...]) -> str:
        name, template = f"t_{uuid.uuid4().hex[:12]}", _template_of(services)
        if template not in self._shapes:
            url = await self.server.create(template)
            engine = make_engine(url, application="template")
            for service in services:
                await migrate.upgrade(engine, service)
            await engine.dispose()
            self._shapes[template] = await _administer(self.server, KEEP_SEEDS, SHAPE, database=template)
        await _administer(self.server, f'create database "{name}" template "{template}" strategy file_copy')
        return name

    async def _emptied(self, name: str, template: str) -> bool:
        """Reset a database to its initial state; False when the test changed more than rows, or dropped it."""
        try:
            return await _administer(self.server, EMPTY, SHAPE, database=name) == self._shapes[template]
        except (asyncpg.PostgresError, OSError):
            return False


def _template_of(services: tuple[str, ...]) -> str:
    return "template_" + "_".join(services or ("empty",))


@contextmanager
def careful_databases() -> Iterator[Databases]:
    """Databases on a server with production settings, which is stopped at the end.

    Not under pytest's own temporary folder: when root runs the tests, the next run closes that to the user that PostgreSQL runs as.
    """
    with tempfile.TemporaryDirectory(prefix="dunwell-tests-", ignore_cleanup_errors=True) as folder, _server_in(Path(folder)) as server:
        yield Databases(server)


@contextmanager
def quick_databases() -> Iterator[Databases]:
    """Databases on a server that does not survive a power cut, which is stopped at the end."""
    with folder_in_memory() as folder, _server_in(folder) as server:
        asyncio.run(_administer(server, *[f"alter system set {setting}" for setting in CARELESS], "select pg_reload_conf()"))
        yield Databases(server, again=True)


@contextmanager
def _server_in(folder: Path) -> Iterator[EmbeddedPostgres]:
    with (Path(tempfile.gettempdir()) / "dunwell-tests.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # under root the first start creates PostgreSQL's user, which two processes cannot do at once
        server = EmbeddedPostgres(folder / "postgres")
    yield server
    asyncio.run(server.stop())


async def _administer(server: EmbeddedPostgres, *statements: str, database: str = "postgres") -> str:
    """Run these one by one, and return the result of the last one, if any."""
    conn = await asyncpg.connect(server.url(database))
    try:
        for statement in statements[:-1]:
            await conn.execute(statement)
        return str(await conn.fetchval(statements[-1]))
    finally:
        await conn.close()
