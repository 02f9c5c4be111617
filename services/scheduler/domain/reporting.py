"""Spans of days of a report, and the moments at which what was known is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from services.scheduler.domain.days import begins

MOST_DAYS = 400
CLOSES_AFTER = timedelta(minutes=15)
"""A day can be reported so long after its end: what was taken in on that day is committed by then (a statement lasts 30 s at most, a wait
between two of them 60 s, and a batch has some fifteen of them, none of which ever came near that)."""


class Every(StrEnum):
    """How far apart the days are that are compared."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Days:
    """Whole days in a zone, both included."""

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
        """Say whether nothing can be known any more on these days that is not known now."""
        return now >= self.ends + CLOSES_AFTER

    def cuts(self, every: Every) -> tuple[date, ...]:
        """Return the days at whose ends states are compared: the one before the first, the last of each portion, and the last."""
        before = self.from_on - timedelta(days=1)
        inner = (self.from_on + timedelta(days=n) for n in range(len(self)))
        return (before, *(day for day in inner if day == self.to_on or _closes(day, self.from_on, every)))


def last_over(zone: str, now: datetime) -> date:
    """Return the last day in a zone that can be reported."""
    return (now - CLOSES_AFTER).astimezone(ZoneInfo(zone)).date() - timedelta(days=1)


def first_whole(zone: str, since: datetime) -> date:
    """Return the first day in a zone that begins when everything is kept."""
    day = since.astimezone(ZoneInfo(zone)).date()
    return day if begins(day, zone) >= since else day + timedelta(days=1)


def _closes(day: date, first: date, every: Every) -> bool:
    """Say whether a portion ends with this day: weeks are counted from the first day, months are those of the calendar."""
    match every:
        case Every.DAY:
            return True
        case Every.WEEK:
            return (day - first).days % 7 == 6
        case Every.MONTH:
            return (day + timedelta(days=1)).day == 1
