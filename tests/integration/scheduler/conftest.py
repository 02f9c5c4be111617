"""A scheduler for every test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.scheduler.world import World, scheduling
from tests.support.postgres import Databases


@pytest.fixture
async def engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    async with databases.fresh("scheduler") as made:
        yield made


@pytest.fixture
async def world(engine: AsyncEngine) -> AsyncIterator[World]:
    async with scheduling(engine) as made:
        yield made
