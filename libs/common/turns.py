"""Long work on the thread that also answers callers: one at a time, in pieces between which everybody else has a turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from libs.common.clock import stopwatch

LONGEST_S = 0.002
"""How long others wait for one piece: a post needs a dozen turns of the loop, and waited for a whole batch at each."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(slots=True)
class Turns:
    """Works off one lot after the other: lots side by side would all end, and let go of what they have locked, with the last."""

    longest_s: float = LONGEST_S
    _one_lot: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def each(self, items: Iterable[T], do: Callable[[T], R]) -> list[R]:
        """Return what this gives for each, in order; whenever that has lasted for so long, whatever else waits runs once."""
        done: list[R] = []
        async with self._one_lot:
            began = stopwatch()
            for item in items:
                if stopwatch() - began >= self.longest_s:
                    await asyncio.sleep(0)
                    began = stopwatch()
                done.append(do(item))
        return done
