"""The days a report covers, and the moments at which states are compared."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.scheduler.domain.days import begins

MOST_DAYS = 400
CLOSES_AFTER = timedelta(minutes=15)
"""A day can be reported this long after its end: by then everything taken in that day is committed (a statement lasts 30 s at most, a
wait between two of them 60 s, and a batch has some fifteen, none of which ever came near that)."""


class Every(StrEnum):
    """How far apart the compared days are."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Days:
    """A range of whole days in a zone, both ends included."""

    from_on: date
    to_on: date
    zone: str

    def __len__(self) -> int:
        return (self.to_on - self.from_on).days + 1

    @property
    def begins(self) -> datetime:
        """Return when the first day begins."""
        return begins(self.from_on, self.zone)

    @property
    def ends(self) -> datetime:
        """Return when the last day is over."""
        return begins(self.to_on + timedelta(days=1), self.zone)

    def over(self, now: datetime) -> bool:
        """Return whether everything that will ever be known about these days is known now."""
        return now >= self.ends + CLOSES_AFTER

    def cuts(self, every: Every) -> tuple[date, ...]:
        """Return the days at whose ends states are compared: the one before the first, the last of each period, and the last."""
        before = self.from_on - timedelta(days=1)
        inner = (self.from_on + timedelta(days=n) for n in range(len(self)))
        return (before, *(day for day in inner if day == self.to_on or _closes(day, self.from_on, every)))


def last_over(zone: str, now: datetime) -> date:
    """Return the last day in a zone that can be reported."""
    return (now - CLOSES_AFTER).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)


def first_whole(zone: str, since: datetime) -> date:
    """Return the first day in a zone for which everything is stored."""
    day = since.astimezone(ZoneInfo(zone)).date()
    return day if begins(day, zone) >= since else day + timedelta(days=1)


def _closes(day: date, first: date, every: Every) -> bool:
    """Return whether a period ends with this day: weeks count from the first day, months are calendar months."""
    match every:
        case Every.DAY:
            return True
        case Every.WEEK:
            return (day - first).days % 7 == 6
        case Every.MONTH:
            return (day + timedelta(days=1)).day == 1
