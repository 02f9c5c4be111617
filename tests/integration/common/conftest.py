"""A database with the tables that every service has."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.support.postgres import Databases


@pytest.fixture
async def engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    async with databases.fresh("ingest", pool_size=16) as made:
        yield made
