"""Keys are looked up in the database, and outlast its absence by a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import auth
from libs.common.auth import CACHED_FOR, TRUSTED_FOR, Keys, Principal
from libs.common.clock import DrivenClock
from libs.common.db.engine import make_engine

WHOSE = Principal("default", None, frozenset({"events:write"}))


async def test_a_key_that_was_found_holds_while_the_database_is_away_for_an_hour_and_no_other_does(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await auth.add_key(conn, "ingest", "one", WHOSE)
    clock, nowhere = (
        DrivenClock(datetime(2026, 11, 24, tzinfo=UTC)),
        make_engine("postgresql://nobody@127.0.0.1:1/nothing", application="test"),
    )
    keys = Keys(engine, "ingest", clock)
    assert (await keys.principal("one"), await keys.principal("nobody's")) == (WHOSE, None)
    keys.engine = nowhere
    for _ in range(3):
        clock.advance(CACHED_FOR)
        assert await keys.principal("one") == WHOSE
    for unknown in ("nobody's", "another"):
        with pytest.raises(OSError, match="cannot be reached"):
            await keys.principal(unknown)
    clock.advance(TRUSTED_FOR)
    with pytest.raises(OSError, match="cannot be reached"):
        await keys.principal("one")
    await nowhere.dispose()


async def test_a_key_that_was_taken_back_holds_no_longer_than_it_is_remembered(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await auth.add_key(conn, "ingest", "one", WHOSE)
    clock = DrivenClock(datetime(2026, 11, 24, tzinfo=UTC))
    keys = Keys(engine, "ingest", clock)
    assert await keys.principal("one") == WHOSE
    async with engine.begin() as conn:
        await auth.remove_key(conn, "ingest", "one")
    clock.advance(CACHED_FOR - timedelta(seconds=1))
    assert await keys.principal("one") == WHOSE
    clock.advance(timedelta(seconds=1))
    assert await keys.principal("one") is None
