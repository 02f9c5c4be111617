"""A notifier without consumers: `python -m tests.bench.sending URL KEYS LATER_S` sends what is due, once told to on standard input."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import uvloop

from libs.common import logs
from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import DrivenClock
from libs.common.db.engine import make_engine
from libs.common.lifecycle import spare_the_collector
from libs.common.ports import Ports
from services.notifier.service import build
from services.notifier.settings import Settings
from tests.bench.contacts import MORNING
from tests.bench.events import PARTITIONS


async def send(url: str, private: bytes, digest: bytes, later: timedelta) -> None:
    """Send from the first line of standard input until nothing is due, with a clock this much later than the requests."""
    clock, engine = DrivenClock(MORNING + later), make_engine(url, application="notifier")
    bus = InProcessBus(clock=clock, partitions=PARTITIONS)
    service = build(Ports(engine, bus, clock, "bench"), Settings(private, digest, fakes=True))
    await service.start()
    spare_the_collector()
    print("begin", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await service.pump()
    print("end", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await service.close()
    await engine.dispose()


if __name__ == "__main__":
    logs.configure("bench", "bench", level="CRITICAL")
    address, keys, seconds = sys.argv[1:]
    sealing, lookups = (bytes.fromhex(key) for key in keys.split(","))
    uvloop.run(send(address, sealing, lookups, timedelta(seconds=float(seconds))))
