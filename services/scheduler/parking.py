"""Limits how many cases may be parked before the rules themselves are to blame."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta

MOST_PARKED = 200
WINDOW = timedelta(minutes=10)


class TooManyParkedError(Exception):
    """The rules fail everywhere: stopping is better than parking every case."""


@dataclass(slots=True)
class ParkingLimit:
    """Counts the cases parked in the last ten minutes."""

    most: int = MOST_PARKED
    _recent: deque[datetime] = field(default_factory=deque)

    def count(self, now: datetime, why: str) -> None:
        """Count one; raise if there were too many."""
        while self._recent and self._recent[0] < now - WINDOW:
            self._recent.popleft()
        if len(self._recent) >= self.most:
            raise TooManyParkedError(f"{self.most} cases were parked in ten minutes, the latest because of {why}")
        self._recent.append(now)
