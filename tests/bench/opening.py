"""The scheduler as a separate service, from the first fact to the last committed case and an empty outbox; its timers do not run."""

from __future__ import annotations

import asyncio
import dataclasses
import sys

import uvloop

from libs.common import logs
from libs.common.bus.kafka import KafkaBus
from libs.common.clock import WallClock
from libs.common.contracts.catalogue import FACTS
from libs.common.db.engine import make_engine
from libs.common.lifecycle import Ending, spare_the_collector, working
from libs.common.ports import Ports
from services.scheduler import service as scheduler
from services.scheduler.settings import Settings
from tests.bench.events import PARTITIONS
from tests.bench.late import put_policy
from tests.bench.ours import all_taken, joined
from tests.bench.ticking import TICKER


async def run(bootstrap: str, database: str, facts: int) -> None:
    """Consume so many facts; says `begin` once it has the partitions."""
    logs.configure("scheduler", "bench", level="CRITICAL")
    spare_the_collector()
    clock = WallClock()
    engine = make_engine(database, application="scheduler")
    await put_policy(engine, clock.now())
    bus = KafkaBus(bootstrap, clock=clock, client_id="dunwell-scheduler", partitions=PARTITIONS)
    service = scheduler.build(Ports(engine, bus, clock, "bench"), Settings())
    resting = dataclasses.replace(service, workers=[worker for worker in service.workers if worker.name != TICKER])
    try:
        async with working([resting], ending := Ending()):
            await joined(service, PARTITIONS, FACTS)
            print("begin", flush=True)
            await all_taken(database, "scheduler", FACTS, facts, ending)
            print("end", flush=True)
            await asyncio.to_thread(sys.stdin.read)
    finally:
        await bus.close()
        await engine.dispose()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2], int(sys.argv[3])))
