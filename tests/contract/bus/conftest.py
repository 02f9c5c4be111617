"""The buses under contract test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.contract.bus.rigs import Rig, in_process_rig, kafka_rig
from tests.support.kafka import Broker
from tests.support.kafka_fixture import kafka
from tests.support.postgres import Databases

__all__ = ["kafka"]


@pytest.fixture(params=["inprocess", pytest.param("kafka", marks=pytest.mark.kafka)])
async def rig(request: pytest.FixtureRequest, databases: Databases) -> AsyncIterator[Rig]:
    broker = request.getfixturevalue("kafka") if request.param == "kafka" else None
    async with databases.fresh("ingest") as engine, in_process_rig(engine) if broker is None else kafka_rig(engine, broker) as made:
        yield made


@pytest.fixture
async def on_kafka(databases: Databases, kafka: Broker) -> AsyncIterator[Rig]:
    async with databases.fresh("ingest") as engine, kafka_rig(engine, kafka) as made:
        yield made
