"""What is remembered of a partition between two looks: where it ended, and when its position last moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from libs.common.clock import stopwatch

KEPT = 600
"""Ends remembered for one partition: ten minutes of looks a second; of older ones the newer say the same, only later."""

ASKED_IN_VAIN = 2
"""Rounds after which a partition that gave nothing has nothing to give: in the first one it may still be on its way here."""

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
    """When the position of each partition last moved, and whether its turn has come since."""

    _at: dict[P, tuple[float, int]] = field(default_factory=dict)
    _last_of_any: float = 0.0
    _rounds: int = 0

    def moved(self, place: P) -> None:
        """Note that it moves now."""
        self._last_of_any = stopwatch()
        self._at[place] = self._last_of_any, self._rounds

    def asked_all(self) -> None:
        """Note that each partition has had its turn, whether anything came of it or not."""
        self._rounds += 1

    def stood_still_s(self, place: P, *, behind: bool) -> float:
        """Return for how many seconds it has not moved although there was more, nothing else came first, and it had its turn; else 0."""
        now = stopwatch()
        if not behind:
            self._at[place] = now, self._rounds
        since, rounds = self._at.setdefault(place, (now, self._rounds))
        if self._rounds - rounds < ASKED_IN_VAIN:
            since = max(since, self._last_of_any)
        return now - since

    def unseen(self) -> None:
        """Begin anew: a look that failed says nothing, and while broker or database are away nobody can move."""
        self._at.clear()

    def forget(self, place: P) -> None:
        """Drop what is known of it."""
        self._at.pop(place, None)


class Ordered(Hashable, Protocol):
    """A partition that can be sorted."""

    def __lt__(self, other: Any, /) -> bool:
        """Say whether it comes before another."""
        ...


Q = TypeVar("Q", bound=Ordered)


@dataclass(slots=True)
class Standing(Generic[Q]):
    """Where a member of a group stands on its partitions."""

    expected: dict[Q, int] = field(default_factory=dict)
    """The offset that comes next, by partition; it has those that are its own."""
    movement: Movement[Q] = field(default_factory=Movement)
    marks: Marks[Q] = field(default_factory=Marks)
    uncommitted: dict[Q, int] = field(default_factory=dict)
    """What the broker has not been told."""

    def reached(self, place: Q, next_offset: int) -> None:
        """Note that all before this offset is taken in."""
        self.expected[place] = self.uncommitted[place] = next_offset
        self.movement.moved(place)

    def go_to(self, place: Q, offset: int) -> None:
        """Go on from another place."""
        self.expected[place] = offset
        self.marks.forget(place)
        self.movement.moved(place)

    def forget(self, place: Q) -> None:
        """Leave a partition to somebody else."""
        self.expected.pop(place, None)
        self.movement.forget(place)
        self.marks.forget(place)

    def looked_at(self, ends: Mapping[Q, int], at: datetime) -> list[tuple[Q, tuple[int, datetime]]]:
        """Note where partitions ended at a moment, and return the newest end of each that has been reached."""
        for place, end in ends.items():
            self.marks.see(place, end, at)
        found = ((place, self.marks.passed(place, self.expected.get(place, -1))) for place in sorted(ends))
        return [(place, mark) for place, mark in found if mark is not None]

    def take_uncommitted(self) -> dict[Q, int]:
        """Return what to tell the broker, once."""
        offsets = {place: offset for place, offset in self.uncommitted.items() if place in self.expected}
        self.uncommitted.clear()
        return offsets
