"""Long work on the thread that also answers callers: one lot at a time, in pieces between which everyone else gets a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from libs.common.clock import stopwatch

LONGEST_S = 0.002
"""How long others wait for one piece: a post needs a dozen turns of the event loop, and used to wait for a whole batch at each."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Turns:
    """Works through one lot after the other: interleaved lots would all finish, and release their locks, only with the last."""

    longest_s: float = LONGEST_S
    _one_lot: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def each(self, items: Iterable[T], do: Callable[[T], R]) -> list[R]:
        """Return the result of `do` for each item, in order; after every `longest_s` of work, whatever else is waiting gets to run."""
        done: list[R] = []
        async with self._one_lot:
            began = stopwatch()
            for item in items:
                if stopwatch() - began >= self.longest_s:
                    await asyncio.sleep(0)
                    began = stopwatch()
                done.append(do(item))
        return done
