"""What is remembered of a partition between two looks: where it ended, and when its position last moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from libs.common.clock import stopwatch

KEPT = 600
"""Ends remembered for one partition: ten minutes of looks a second; of older ones the newer say the same, only later."""

LISTEN_S = 0.5
"""How long one request that names only partitions under suspicion waits for them."""

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
    """When the position of each partition last moved, and how often a partition under suspicion has been asked for alone since."""

    _at: dict[P, float] = field(default_factory=dict)
    _last_of_any: float = 0.0
    _asked_alone: dict[P, int] = field(default_factory=dict)

    @property
    def suspects(self) -> Collection[P]:
        """Return the partitions that have stood still for too long: they are to be asked for alone."""
        return self._asked_alone.keys()

    def moved(self, place: P) -> None:
        """Note that its position moves now."""
        self._at[place] = self._last_of_any = stopwatch()
        self._asked_alone.pop(place, None)

    def asked_alone(self, places: Iterable[P]) -> None:
        """Note that these suspects were asked for, and nothing else, and that nothing came."""
        for place in places:
            if place in self._asked_alone:
                self._asked_alone[place] += 1

    def is_lost(self, place: P, *, behind: bool, after_s: float) -> bool:
        """Say whether a partition with records before it will never move again; called at each look at the ends.

        It is lost when nothing at all has moved for `after_s`, or when it has not and a quarter of that time was spent on waiting for it
        alone. Standing still is not enough: a busy member reads what its client fetches in large answers, slowly, and meanwhile the client
        fetches nothing else.
        """
        now = stopwatch()
        since = self._at.setdefault(place, now)
        if not behind or now - since <= after_s:
            self._at[place] = since if behind else now
            self._asked_alone.pop(place, None)
            return False
        if now - max(since, self._last_of_any) > after_s:
            return True
        return self._asked_alone.setdefault(place, 0) * LISTEN_S >= after_s / 4

    def unseen(self) -> None:
        """Begin anew: a look that failed says nothing, and while broker or database are away nobody can move."""
        self._at.clear()
        self._asked_alone.clear()

    def forget(self, place: P) -> None:
        """Drop what is known of it."""
        self._at.pop(place, None)
        self._asked_alone.pop(place, None)


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
