"""Ingest as a separate service, wired by its own `build`, from its first record to an empty outbox."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs, sealing
from libs.common.bus.kafka import KafkaBus
from libs.common.clock import WallClock, stopwatch
from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC, Topic
from libs.common.db.engine import make_engine
from libs.common.lifecycle import Ending, Service, spare_the_collector, working
from libs.common.ports import Ports
from services.ingest import service as ingest
from services.ingest.settings import Settings
from tests.bench.events import PARTITIONS, TENANT

LOOK_EVERY_S = 0.02
JOINED_LOOK_S = 0.002


async def run(bootstrap: str, database: str, events: int, members: int) -> None:
    """Ingest so many events, as one of so many members of the group; says `begin` once it has its share of partitions.

    A group that was used before with another database finds its offsets ahead and begins a new epoch, as after a restore: before
    the first record, and on empty tables.
    """
    async with wired(bootstrap, database) as (_, service), working([service], ending := Ending()):
        await joined(service, PARTITIONS // members)
        print("begin", flush=True)
        began = stopwatch()
        await all_taken(database, "ingest", LOAN_EVENTS_TOPIC, events, ending)
        print(f"end {stopwatch() - began:.3f}", flush=True)
        await asyncio.to_thread(sys.stdin.read)


@asynccontextmanager
async def wired(bootstrap: str, database: str) -> AsyncIterator[tuple[AsyncEngine, Service]]:
    """Yield ingest as the program wires it, but not started."""
    logs.configure("ingest", "bench", level="CRITICAL")
    spare_the_collector()
    clock = WallClock()
    engine = make_engine(database, application="ingest")
    bus = KafkaBus(bootstrap, clock=clock, client_id="dunwell-ingest", partitions=PARTITIONS)
    try:
        yield engine, ingest.build(Ports(engine, bus, clock, "bench"), Settings((TENANT,), sealing.new_pair()[1], sealing.random_key()))
    finally:
        await bus.close()
        await engine.dispose()


async def joined(service: Service, partitions: int, topic: Topic = LOAN_EVENTS_TOPIC) -> None:
    """Return once this member has so many partitions of a topic, by default of the loan events."""
    health = service.consumers[0].health
    while not (health.joined and health.assigned.get(topic.name) == partitions):  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(JOINED_LOOK_S)


async def all_taken(database: str, schema: str, topic: Topic, records: int, ending: Ending) -> None:
    """Return once so many records of a topic are committed, and everything that follows is on the bus; polling costs next to nothing."""
    conn = await asyncpg.connect(database)
    try:
        taken = await conn.prepare(f"select coalesce(sum(next_offset), 0) from {schema}.positions where topic = $1")  # the schema is ours
        left = await conn.prepare(f"select exists (select from {schema}.outbox)")  # the schema is ours
        while await taken.fetchval(topic.name) < records:
            if ending.code:
                raise RuntimeError(ending.reason)
            await asyncio.sleep(LOOK_EVERY_S)
        while await left.fetchval():  # noqa: ASYNC110  # there is no event to wait for
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        await conn.close()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
