"""A provider's rate across replicas, each in a separate process: the number of starts in the fullest sliding second."""

from __future__ import annotations

import asyncio

from tests.bench import contacts, wire
from tests.bench.ingest import require
from tests.bench.measuring import WorkerProcess, enough, whole
from tests.bench.stack import Stack
from tests.support.leasing import most_in_a_second

LIMIT = 100
"""Messages a second."""
REPLICAS = 3
LEAST_SHARE = 0.5
"""The share of the limit that must be reached: a run that starts less is inconclusive."""


async def run(stack: Stack, lasts_s: float, rounds: int) -> list[str]:
    """Let the replicas lease side by side, and return the figures."""
    lines = []
    for _ in range(rounds):
        starts = await _starts(stack, lasts_s)
        most = most_in_a_second(starts)
        require("no more in any sliding second than the limit", most <= LIMIT, expected=True)
        enough(f"only {len(starts)} starts in {lasts_s:.0f} s", there=len(starts) >= LEAST_SHARE * LIMIT * lasts_s)
        rate = whole(len(starts) / (max(starts) - min(starts)))
        lines.append(f"  {most} in the fullest sliding second of {len(starts):,} starts, {rate} a second on average")
    return lines


async def _starts(stack: Stack, lasts_s: float) -> list[float]:
    async with stack.database("notifier") as url:
        with wire.provider() as there:
            async with contacts.world(url, place="CN", fakes=True) as world:
                await wire.through(world, there.account | {"per_second": LIMIT}, "sms")
        workers = [WorkerProcess("leasing", url, str(lasts_s)) for _ in range(REPLICAS)]
        try:
            said = [await asyncio.to_thread(worker.wait_for, "end") for worker in workers]
        finally:
            for worker in workers:
                worker.end()
    return sorted(float(start) for line in said for start in line.split())
