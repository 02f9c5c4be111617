"""What is remembered of a partition between two observations: where it ended, and when its position last moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from libs.common.clock import stopwatch

KEPT = 600
"""Ends remembered per partition: ten minutes at one a second; dropping older ones only delays what they would have shown."""

ASKED_IN_VAIN = 2
"""Rounds after which a partition that returned nothing has nothing: in the first round the records may still be on their way."""

P = TypeVar("P", bound=Hashable)


@dataclass(slots=True)
class Marks(Generic[P]):
    """Where each partition ended at each observation, until the position has passed that end.

    If the position were only compared with the current end, a busy partition would never count as caught up, and every sender would wait
    for a watermark that does not come.
    """

    _seen: dict[P, deque[tuple[int, datetime]]] = field(default_factory=dict)

    def see(self, place: P, end: int, at: datetime) -> None:
        """Remember that everything present at `at` lies before `end`."""
        self._seen.setdefault(place, deque(maxlen=KEPT)).append((end, at))

    def passed(self, place: P, position: int) -> tuple[int, datetime] | None:
        """Return the newest end that the position has reached, with its moment, and forget the older ones."""
        reached, seen = None, self._seen.get(place, deque())
        while seen and seen[0][0] <= position:
            reached = seen.popleft()
        return reached

    def forget(self, place: P) -> None:
        """Drop what was seen: another member reads on, or the offsets mean something else now."""
        self._seen.pop(place, None)


@dataclass(slots=True)
class Movement(Generic[P]):
    """When the position of each partition last moved, and whether it has had its turn since."""

    _at: dict[P, tuple[float, int]] = field(default_factory=dict)
    _last_of_any: float = 0.0
    _rounds: int = 0

    def moved(self, place: P) -> None:
        """Note that the position has just moved."""
        self._last_of_any = stopwatch()
        self._at[place] = self._last_of_any, self._rounds

    def asked_all(self) -> None:
        """Note that each partition has had its turn, whether it returned anything or not."""
        self._rounds += 1

    def stood_still_s(self, place: P, *, behind: bool) -> float:
        """Return for how many seconds it has not moved although there was more, it had its turn and nothing else came first; else 0."""
        now = stopwatch()
        if not behind:
            self._at[place] = now, self._rounds
        since, rounds = self._at.setdefault(place, (now, self._rounds))
        if self._rounds - rounds < ASKED_IN_VAIN:
            since = max(since, self._last_of_any)
        return now - since

    def unseen(self) -> None:
        """Start over: a failed observation says nothing, and while broker or database are away no position can move."""
        self._at.clear()

    def forget(self, place: P) -> None:
        """Drop what is known about it."""
        self._at.pop(place, None)


class Ordered(Hashable, Protocol):
    """A sortable partition."""

    def __lt__(self, other: Any, /) -> bool:
        """Return whether it comes before another."""
        ...


Q = TypeVar("Q", bound=Ordered)


@dataclass(slots=True)
class Standing(Generic[Q]):
    """How far a member of a group is on each of its partitions."""

    expected: dict[Q, int] = field(default_factory=dict)
    """The next offset by partition; only the partitions assigned to this member."""
    movement: Movement[Q] = field(default_factory=Movement)
    marks: Marks[Q] = field(default_factory=Marks)
    uncommitted: dict[Q, int] = field(default_factory=dict)
    """Offsets not yet committed to the broker."""

    def reached(self, place: Q, next_offset: int) -> None:
        """Note that everything before this offset is processed."""
        self.expected[place] = self.uncommitted[place] = next_offset
        self.movement.moved(place)

    def go_to(self, place: Q, offset: int) -> None:
        """Resume from another offset."""
        self.expected[place] = offset
        self.marks.forget(place)
        self.movement.moved(place)

    def forget(self, place: Q) -> None:
        """Give up a partition to another member."""
        self.expected.pop(place, None)
        self.movement.forget(place)
        self.marks.forget(place)

    def looked_at(self, ends: Mapping[Q, int], at: datetime) -> list[tuple[Q, tuple[int, datetime]]]:
        """Note where partitions ended at a moment, and return the newest end that each has reached."""
        for place, end in ends.items():
            self.marks.see(place, end, at)
        found = ((place, self.marks.passed(place, self.expected.get(place, -1))) for place in sorted(ends))
        return [(place, mark) for place, mark in found if mark is not None]

    def take_uncommitted(self) -> dict[Q, int]:
        """Return the offsets to commit to the broker, and clear them."""
        offsets = {place: offset for place, offset in self.uncommitted.items() if place in self.expected}
        self.uncommitted.clear()
        return offsets
