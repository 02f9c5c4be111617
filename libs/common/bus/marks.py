"""What is remembered of a partition between two observations: where it ended, and when its position last moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from libs.common.clock import stopwatch

KEPT = 600
"""Ends remembered per partition: ten minutes at one a second; dropping older ones only delays what they would have shown."""

LISTEN_S = 0.5
"""How long one request that names only partitions under suspicion waits for them."""

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
    """When the position of each partition last moved, and how often a partition under suspicion has been asked for alone since."""

    _at: dict[P, float] = field(default_factory=dict)
    _last_of_any: float = 0.0
    _asked_alone: dict[P, int] = field(default_factory=dict)

    @property
    def suspects(self) -> Collection[P]:
        """Return the partitions that have stood still for too long: they are to be asked for alone."""
        return self._asked_alone.keys()

    def moved(self, place: P) -> None:
        """Note that the position has just moved."""
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
        """Start over: a failed observation says nothing, and while broker or database are away no position can move."""
        self._at.clear()
        self._asked_alone.clear()

    def forget(self, place: P) -> None:
        """Drop what is known about it."""
        self._at.pop(place, None)
        self._asked_alone.pop(place, None)


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
