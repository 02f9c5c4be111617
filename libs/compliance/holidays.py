"""Holiday calendars: the days a rule itself names, worked out once when the pack is read."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from libs.compliance.hours import WEEKDAYS


@dataclass(frozen=True, slots=True)
class Holidays:
    """The holidays of a range of years; any day outside it may be one, so the narrower row of hours applies there."""

    name: str
    days: frozenset[date]
    first_year: int
    last_year: int

    def knows(self, day: date) -> bool:
        """Tell whether the calendar covers this day's year."""
        return self.first_year <= day.year <= self.last_year


@dataclass(frozen=True, slots=True)
class HolidayRules:
    """How a calendar is written: `MM-DD`, days from Easter Sunday, `mon>=09-01` or `mon<05-25`, and plain dates."""

    fixed: tuple[str, ...] = ()
    easter: tuple[int, ...] = ()
    weekday: tuple[str, ...] = ()
    dates: tuple[date, ...] = ()


def calendar(name: str, years: tuple[int, int], rules: HolidayRules) -> Holidays:
    """Work out the days of every year from the first to the last."""
    first, last = years
    days = {day for year in range(first, last + 1) for day in _of_year(year, rules)}
    strangers = [day for day in rules.dates if not first <= day.year <= last]
    if strangers:
        raise ValueError(f"calendar {name}: {strangers[0]} lies outside its years {first} to {last}")
    return Holidays(name, frozenset(days | set(rules.dates)), first, last)


def easter_sunday(year: int) -> date:
    """Return Easter Sunday of the western churches (Meeus, Jones, Butcher)."""
    golden, century = year % 19, year // 100
    moon = (19 * golden + century - century // 4 - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    sunday = (32 + 2 * (century % 4) + 2 * (year % 100 // 4) - moon - year % 100 % 4) % 7
    late = (golden + 11 * moon + 22 * sunday) // 451
    month, day = divmod(moon + sunday - 7 * late + 114, 31)
    return date(year, month, day + 1)


def _of_year(year: int, rules: HolidayRules) -> Iterable[date]:
    yield from (_month_day(year, text) for text in rules.fixed)
    yield from (easter_sunday(year) + timedelta(days=days) for days in rules.easter)
    yield from (_moved(year, text) for text in rules.weekday)


def _month_day(year: int, text: str) -> date:
    return date.fromisoformat(f"{year}-{text}")


def _moved(year: int, text: str) -> date:
    name, after, day_text = text.partition(">=")
    if after:
        day = _month_day(year, day_text)
        return day + timedelta(days=(WEEKDAYS.index(name) - day.weekday()) % 7)
    name, before, day_text = text.partition("<")
    if not before:
        raise ValueError(f"not a moved holiday like mon>=09-01 or mon<05-25: {text!r}")
    day = _month_day(year, day_text) - timedelta(days=1)
    return day - timedelta(days=(day.weekday() - WEEKDAYS.index(name)) % 7)
