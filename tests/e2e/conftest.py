"""A platform on its own database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.e2e.world import World, one_process
from tests.support.postgres import Databases

ALL = ("ingest", "scheduler", "notifier")


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    async with databases.fresh(*ALL, pool_size=16) as engine, one_process(engine) as made:
        yield made
