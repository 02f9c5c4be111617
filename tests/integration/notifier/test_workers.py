"""The service as it runs: workers that send by themselves, a watcher, and what keeps it from starting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import text

from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import DrivenClock
from libs.common.lifecycle import Ending, working
from libs.common.ports import Ports
from services.notifier.service import build
from services.notifier.settings import Settings
from services.notifier.tables import metadata
from tests.integration.notifier.world import DIGEST_KEY, MORNING, PRIVATE, World, a_keyed_database
from tests.support.postgres import Databases
from tests.support.running import until


@asynccontextmanager
async def at_work(databases: Databases) -> AsyncIterator[tuple[World, Ending]]:
    """A notifier with all of its workers running."""
    async with a_keyed_database(databases) as engine:
        clock = DrivenClock(MORNING)
        bus = InProcessBus(clock=clock)
        settings = Settings(sealing_private=PRIVATE, digest_key=DIGEST_KEY)
        world = World(engine, bus, clock, build(Ports(engine, bus, clock, "test"), settings), settings)
        async with working([world.service], ending := Ending()):
            await world.fresh_watermarks()
            yield world, ending


async def test_the_workers_send_by_themselves_and_stop_when_asked(databases: Databases) -> None:
    async with at_work(databases) as (world, ending):
        await world.late_borrower("b1")
        await world.request("b1")
        await world.late_borrower("b2")
        await world.request("b2", not_before=MORNING + timedelta(hours=1))
        await until(partial(count, world, 1), "the first message")
        await world.fresh_watermarks(until=MORNING + timedelta(hours=1))
        world.clock.advance(timedelta(hours=1))
        await until(partial(count, world, 2), "the second message")
        await until(partial(world.scalar, "select count(*) = 0 from notifier.outbox"), "an empty outbox")
        assert not ending.asked.is_set()


async def test_the_watcher_shows_what_stands_in_the_tables(databases: Databases) -> None:
    async with at_work(databases) as (world, _):
        await world.late_borrower("b1", addresses={"email": "unknown@example.org"})
        await world.request("b1", channels=("email",))
        await world.request("b1", "later", not_before=MORNING + timedelta(hours=1))
        await until(partial(world.scalar, "select count(*) > 0 from notifier.deliveries where state = 'unknown'"), "an unknown contact")
        another = world.another()
        watcher = next(worker for worker in another.workers if worker.name == "watcher")
        stop = asyncio.Event()
        looking = asyncio.ensure_future(watcher.run(stop))
        world.service = another
        await until(partial(shows, world, 'dunwell_contacts_unknown{provider="sandbox"} 1.0'), "the number of unknown contacts")
        shown = (await world.call("GET", "/metrics")).text
        stop.set()
        await looking
        assert 'dunwell_deliveries{state="pending"} 1.0' in shown
        assert 'dunwell_ready{check="database"} 1.0' in shown
        assert 'dunwell_ready{check="consumer"} 0.0' in shown
        assert 'dunwell_feed_watermark_timestamp_seconds{partition="0",topic="dunning.overdue-facts"} 1.7954856e+09' in shown


async def count(world: World, wanted: int) -> bool:
    return len(await world.messages()) >= wanted


async def shows(world: World, line: str) -> bool:
    return line in (await world.call("GET", "/metrics")).text


async def test_a_schema_that_is_not_migrated_keeps_it_from_starting(databases: Databases) -> None:
    async with databases.fresh() as engine:
        clock = DrivenClock(MORNING)
        service = build(Ports(engine, InProcessBus(clock=clock), clock, "test"), Settings(PRIVATE, DIGEST_KEY))
        with pytest.raises(RuntimeError, match="dunwell migrate"):
            await service.start()


async def test_the_tables_are_those_that_the_migration_makes(databases: Databases) -> None:
    async with databases.fresh("notifier") as engine, engine.connect() as conn:
        rows = await conn.execute(
            text(
                "select c.table_name, c.column_name, c.is_nullable = 'YES' as nullable from information_schema.columns c"
                " join pg_class p on p.relname = c.table_name and p.relnamespace = 'notifier'::regnamespace"
                " where c.table_schema = 'notifier' and not p.relispartition and c.table_name <> 'alembic_version'"
            )
        )
        made = {(row.table_name, row.column_name, row.nullable) for row in rows}
    declared = {(table.name, column.name, bool(column.nullable)) for table in metadata.tables.values() for column in table.columns}
    assert declared == made
