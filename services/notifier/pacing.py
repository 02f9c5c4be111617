"""When messages start: at the times of their permits, while other batches are still in the air."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from libs.common.clock import stopwatch
from services.notifier.domain.stock import Permit

Item = TypeVar("Item")
Result = TypeVar("Result")


async def paced(
    items: Sequence[Item], permits: Sequence[Permit], start: Callable[[Item, Permit], Awaitable[Result]]
) -> tuple[list[tuple[Item, Result]], list[Item]]:  # fmt: skip
    """Start each item with the next permit still valid at its turn; return the results, and the items left without a permit."""
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


@dataclass(slots=True)
class Flights:
    """Batches in the air, at most `most`: while one awaits its answers, the next is claimed."""

    most: int
    _begun: set[asyncio.Task[None]] = field(default_factory=set)

    async def room(self) -> None:
        """Wait until another batch may begin; errors of batches that have landed are raised here."""
        while len(self._begun) >= self.most:
            done, self._begun = await asyncio.wait(self._begun, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()

    def begin(self, sending: Coroutine[Any, Any, None]) -> None:
        """Start a batch."""
        self._begun.add(asyncio.create_task(sending))

    async def landed(self) -> None:
        """Wait for all batches; errors are raised once all have landed."""
        if self._begun:
            done, self._begun = await asyncio.wait(self._begun)
            for task in done:
                task.result()
