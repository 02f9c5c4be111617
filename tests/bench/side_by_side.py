"""A notifier in the bench's own process, or several on one database, each in its own process: how an operator uses more than one core."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping

from tests.bench.contacts import World
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess
from tests.bench.stack import Stack

PROCESSES = 2


async def sent(stack: Stack, world: World, url: str, count: int, *, processes: int, beside: Mapping[str, int]) -> Measured:
    """Send everything due, and measure until it is recorded and announced; the processes in `beside` are included."""
    trees = {"postgres": stack.postgres_pid, **beside}
    if processes == 1:
        watch = Stopwatch({"notifier": os.getpid(), **trees}, alone=[os.getpid()])
        await world.service.pump()
        return watch.stop(count)
    workers = [sender(world, url, 0) for _ in range(processes)]
    try:
        for worker in workers:
            worker.wait_for("begin")
        watch = Stopwatch({f"notifier {n}": worker.process.pid for n, worker in enumerate(workers, start=1)} | trees)
        for worker in workers:
            worker.say("go")
        await asyncio.gather(*(asyncio.to_thread(worker.wait_for, "end") for worker in workers))
        return watch.stop(count)
    finally:
        for worker in workers:
            worker.end()


def sender(world: World, url: str, later_s: int) -> WorkerProcess:
    """Start a notifier that sends when told to, as if so much later."""
    return WorkerProcess("sending", url, f"{world.private.hex()},{world.digest.hex()}", str(later_s))
