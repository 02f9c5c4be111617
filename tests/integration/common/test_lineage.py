"""Whether this database is where it was."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.db import lineage
from libs.common.db.engine import whereabouts
from libs.common.db.lineage import Lineage

SCHEMA = "ingest"


async def check(engine: AsyncEngine) -> Lineage:
    async with engine.begin() as conn:
        return await lineage.check(conn, SCHEMA)


async def test_the_first_start_is_epoch_one_and_another_one_on_the_same_database_stays_there(engine: AsyncEngine) -> None:
    assert await check(engine) == Lineage(1, rose=False)
    assert await check(engine) == Lineage(1, rose=False)


@pytest.mark.parametrize("moved", ["system_identifier = '1'", "timeline = timeline + 1"])
async def test_another_system_or_another_timeline_begins_an_epoch_and_only_once(engine: AsyncEngine, moved: str) -> None:
    await check(engine)
    async with engine.begin() as conn:
        await conn.execute(text(f"update ingest.lineage set {moved}"))
    assert await check(engine) == Lineage(2, rose=True)
    assert await check(engine) == Lineage(2, rose=False)
    async with engine.connect() as conn:
        row = (await conn.execute(text("select system_identifier, timeline from ingest.lineage"))).one()
        assert tuple(row) == await whereabouts(conn)


async def test_a_bus_that_knows_a_later_moment_begins_an_epoch_on_the_very_same_server(engine: AsyncEngine) -> None:
    await check(engine)
    async with engine.begin() as conn:
        assert await lineage.raise_epoch(conn, SCHEMA) == Lineage(2, rose=True)
    assert await check(engine) == Lineage(2, rose=False)


async def test_the_epoch_of_a_transaction_that_fails_is_not_begun(engine: AsyncEngine) -> None:
    await check(engine)
    async with engine.connect() as conn, conn.begin() as transaction:
        await lineage.raise_epoch(conn, SCHEMA)
        await transaction.rollback()
    assert (await check(engine)).epoch == 1
