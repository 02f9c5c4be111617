"""Starts messages at the moments of their permits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from libs.common.clock import stopwatch
from services.notifier.domain.stock import Permit

Item = TypeVar("Item")
Result = TypeVar("Result")


async def paced(
    items: Sequence[Item], permits: Sequence[Permit], start: Callable[[Item, Permit], Awaitable[Result]]
) -> tuple[list[tuple[Item, Result]], list[Item]]:  # fmt: skip
    """Start each item with the next permit that is not void when its turn comes; return what came of them, and those left without one."""
    waiting = deque(items)
    started: list[tuple[Item, asyncio.Future[Result]]] = []
    for permit in permits:
        if not waiting:
            break
        if (early := permit.not_before - stopwatch()) > 0:
            await asyncio.sleep(early)
        if stopwatch() < permit.until:
            item = waiting.popleft()
            started.append((item, asyncio.ensure_future(start(item, permit))))
    results = await asyncio.gather(*(future for _, future in started))
    return [(item, result) for (item, _), result in zip(started, results, strict=True)], list(waiting)
