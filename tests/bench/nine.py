"""The scheduler's ticker at nine: everything due is planned and committed, with the requests in the outbox. Nothing is published."""

from __future__ import annotations

import asyncio
import sys

import uvloop
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Writer
from libs.common.db.engine import make_engine
from libs.common.lifecycle import spare_the_collector
from libs.common.metrics import Metrics
from libs.common.outbox import Outbox
from services.scheduler.acting import Desk
from services.scheduler.metrics import meters
from services.scheduler.parking import ParkingLimit
from services.scheduler.pausing import SOURCE
from services.scheduler.ticker import Ticker
from tests.bench.events import PARTITIONS, TENANT
from tests.bench.late import NINE


async def run(url: str) -> None:
    """Make one pass on the first line of standard input."""
    logs.configure("scheduler", "bench", level="CRITICAL")
    engine = make_engine(url, application="scheduler")
    ours = ticker(engine, DrivenClock(NINE))
    spare_the_collector()
    print("begin", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    print(f"end {await ours.make_pass()}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await engine.dispose()


def ticker(engine: AsyncEngine, clock: DrivenClock) -> Ticker:
    """Return the scheduler's ticker as the service has it."""
    desk = Desk(Writer(SOURCE, PARTITIONS), Outbox("scheduler"), meters(Metrics()), ParkingLimit(), tenants=(TENANT,))
    return Ticker(engine, clock, desk, PARTITIONS)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1]))
