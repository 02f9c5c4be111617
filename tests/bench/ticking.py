"""Ingest as a separate service, whose ticker waits for a command: events are ingested before the storm of due loans, and during it."""

from __future__ import annotations

import asyncio
import dataclasses
import sys

import uvloop

from libs.common.lifecycle import Ending, working
from tests.bench.events import PARTITIONS
from tests.bench.ours import joined, wired

TICKER = "ticker"


async def run(bootstrap: str, database: str) -> None:
    """Ingest what arrives; drain what is due from the first line of standard input on, until that ends."""
    async with wired(bootstrap, database) as (_, service):
        [ticker] = [worker for worker in service.workers if worker.name == TICKER]
        others = [worker for worker in service.workers if worker.name != TICKER]
        async with working([dataclasses.replace(service, workers=others)], ending := Ending()):
            await joined(service, PARTITIONS)
            print("begin", flush=True)
            await asyncio.to_thread(sys.stdin.readline)
            ticking = asyncio.ensure_future(ticker.run(stop := asyncio.Event()))
            waiting = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
            await asyncio.wait({ticking, waiting, asyncio.create_task(ending.asked.wait())}, return_when=asyncio.FIRST_COMPLETED)
            stop.set()
            await ticking
    if ending.code:
        raise RuntimeError(ending.reason)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2]))
