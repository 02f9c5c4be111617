"""A broker and a database that nothing else uses: these tests count the records on the wallets' topics."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.chaos.stage import Stage, on_stage
from tests.support.kafka import Broker, broker_in
from tests.support.kafka_fixture import need_kafka
from tests.support.postgres import Databases, careful_databases


@pytest.fixture(scope="module")
def databases() -> Iterator[Databases]:
    """Databases that make every commit durable, as in production."""
    with careful_databases() as made:
        yield made


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    need_kafka()
    with broker_in(tmp_path / "kafka") as started:
        yield started


@pytest.fixture
async def stage(databases: Databases, broker: Broker, tmp_path: Path) -> AsyncIterator[Stage]:
    async with on_stage(databases, broker, tmp_path / "services") as made:
        yield made
