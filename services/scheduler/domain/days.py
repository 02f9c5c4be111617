"""Days of a debt as moments: when a day of the ladder begins in the loan's zone, not counting grace and pauses."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from libs.compliance.hours import instant, next_window

Span = tuple[date, date | None]
WHOLE_DAY = "00:00-24:00"


@lru_cache(maxsize=65_536)
def begins(day: date, zone: str) -> datetime:
    """Return the moment a day begins in a zone."""
    return instant(day, 0, ZoneInfo(zone))


def day_after(moment: datetime, zone: str) -> datetime:
    """Return the moment the next local day begins."""
    return begins(moment.astimezone(ZoneInfo(zone)).date() + timedelta(days=1), zone)


@lru_cache(maxsize=65_536)
def reached(since: date, days: int, zone: str, pauses: tuple[Span, ...] = ()) -> datetime | None:
    """Return the moment by which this many days outside pauses have passed; None while a pause has no end."""
    on = reaching(pauses, since, days)
    return None if on is None else begins(on, zone)


@lru_cache(maxsize=4_096)
def window(zone: str, between: str | None, after: datetime) -> tuple[datetime, datetime]:
    """Return the first daily window that closes after a moment; it may already be open."""
    return next_window(zone, between or WHOLE_DAY, after)


def reaching(pauses: Iterable[Span], since: date, days: int) -> date | None:
    """Return the first day by which this many days outside pauses have passed; None while a pause has no end."""
    day, left = since, days
    for begin, end in sorted(pauses, key=lambda span: span[0]):
        if end is not None and end <= day:
            continue
        before = max(0, (begin - day).days)
        if before >= left:
            break
        if end is None:
            return None
        left -= before
        day = end
    return day + timedelta(days=left)
