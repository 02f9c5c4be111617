"""One of several replicas that share a provider's rate, with nothing to send."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import WallClock, stopwatch
from libs.common.metrics import Metrics
from services.notifier.domain.health import Account
from services.notifier.domain.stock import Permit
from services.notifier.metrics import NotifierMetrics
from services.notifier.pacing import paced
from services.notifier.permitting import Till
from services.notifier.store.queue import Key


async def lease_and_start(
    engine: AsyncEngine, account: Account, keys: Sequence[Key], starts: list[float], goes_on: Callable[[], bool]
) -> None:  # fmt: skip
    """Act as one replica for that time: lease permits as a claim does, and start as many as allowed at their moments."""
    till = Till(engine, WallClock(), NotifierMetrics.of(Metrics(CollectorRegistry()), ()))

    async def start(_: Key, permit: Permit) -> None:
        if stopwatch() < permit.until:
            starts.append(stopwatch())

    while goes_on():
        stock = await till.stock(keys)
        permits = stock.permits[account]
        await till.settle(stock, took_s=0.0)
        await paced(keys, permits, start)
        await asyncio.sleep(0.02)


def most_in_a_second(starts: Sequence[float]) -> int:
    """Return the largest number of starts in any second that begins with a start."""
    starts = sorted(starts)
    return max((sum(start <= other < start + 1 for other in starts) for start in starts), default=0)
