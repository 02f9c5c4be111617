"""A real ingest on a database of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.postgres import Databases
from tests.support.running import Running, running_ingest


@pytest.fixture
async def ingest(databases: Databases) -> AsyncIterator[Running]:
    async with databases.fresh("ingest") as engine, running_ingest(engine) as (running, _):
        yield running
