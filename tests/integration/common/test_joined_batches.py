"""Scheduler and notifier take batches of several partitions in together: each partition keeps its own watermark."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from libs.common import sealing
from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import Record
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.overdue_facts import DebtWatermark
from libs.common.ports import Ports
from services.notifier import service as notifier
from services.notifier.settings import Settings as NotifierSettings
from services.scheduler import service as scheduler
from services.scheduler.settings import Settings as SchedulerSettings
from tests.support.postgres import Databases
from tests.support.wallet import NOON

PARTITIONS = 3


def mark(n: int, partition: int) -> Record:
    """Return the nth watermark on a partition: with each partition later, and one of them with a silent feed."""
    until, stale = NOON + timedelta(minutes=partition, seconds=n), ("default",) if partition == 1 else ()
    envelope = Envelope("debt.watermark.v1", f"w{n}", "test", NOON, "-", "watermark")
    made = Writer("test", PARTITIONS).broadcast(FACTS, envelope, DebtWatermark(until=until, stale_feeds=stale), key="watermark")[partition]
    return Record(made.topic, partition, n, made.key, made.value, made.headers, NOON)


@pytest.mark.parametrize("schema", ["scheduler", "notifier"])
async def test_each_partition_of_a_joined_batch_has_its_own_newest_watermark(databases: Databases, schema: str) -> None:
    async with databases.fresh(schema) as engine:
        clock = DrivenClock(NOON + timedelta(hours=1))
        ports = Ports(engine, InProcessBus(clock=clock, partitions=PARTITIONS), clock, "test")
        built = (
            scheduler.build(ports, SchedulerSettings())
            if schema == "scheduler"
            else notifier.build(ports, NotifierSettings(sealing.new_pair()[0], b"d" * 32))
        )
        async with engine.begin() as conn:
            await built.consumers[0].subscription.handler(conn, [mark(n, partition) for partition in range(PARTITIONS) for n in (2, 1)])
            rows = await conn.execute(text(f"select partition, until, stale_feeds from {schema}.watermarks order by 1"))
            found = [tuple(row) for row in rows]
        newest = [NOON + timedelta(minutes=partition, seconds=2) for partition in range(PARTITIONS)]
        assert found == [(0, newest[0], []), (1, newest[1], ["default"]), (2, newest[2], [])]
