"""What is remembered of a partition between two looks: where it ended, and when its position last moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, TypeVar

from libs.common.clock import stopwatch

KEPT = 600
"""Ends remembered for one partition: ten minutes of looks a second; of older ones the newer say the same, only later."""

P = TypeVar("P", bound=Hashable)


@dataclass(slots=True)
class Marks(Generic[P]):
    """Where each partition ended at each look, until the position has passed it.

    Whoever only compares the position with the end of this moment finds a busy partition never caught up with, and every sender waits
    for a watermark that does not come.
    """

    _seen: dict[P, deque[tuple[int, datetime]]] = field(default_factory=dict)

    def see(self, place: P, end: int, at: datetime) -> None:
        """Remember that all that stood at `at` lies before `end`."""
        self._seen.setdefault(place, deque(maxlen=KEPT)).append((end, at))

    def passed(self, place: P, position: int) -> tuple[int, datetime] | None:
        """Return the newest end that the position has reached, with its moment, and forget the older ones."""
        reached, seen = None, self._seen.get(place, deque())
        while seen and seen[0][0] <= position:
            reached = seen.popleft()
        return reached

    def forget(self, place: P) -> None:
        """Drop what was seen: somebody else reads on, or the offsets mean something else now."""
        self._seen.pop(place, None)


@dataclass(slots=True)
class Movement(Generic[P]):
    """When the position of each partition last moved."""

    _at: dict[P, float] = field(default_factory=dict)

    def moved(self, place: P) -> None:
        """Note that it moves now."""
        self._at[place] = stopwatch()

    def stood_still_s(self, place: P, *, behind: bool) -> float:
        """Return for how many seconds it has not moved although there was more; 0 when there was not."""
        now = stopwatch()
        if not behind:
            self._at[place] = now
        return now - self._at.setdefault(place, now)

    def forget(self, place: P) -> None:
        """Drop what is known of it."""
        self._at.pop(place, None)
