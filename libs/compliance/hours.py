"""Local hours as instants: what a wall clock's window means on a given day, including nights when the clock changes."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
DAY_MINUTES = 24 * 60
_MIDNIGHT = time()
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Minutes of a local day, half-open [opens, closes)."""

    opens: int
    closes: int

    def __post_init__(self) -> None:
        if not 0 <= self.opens < self.closes <= DAY_MINUTES:
            raise ValueError(f"not a span within one day: minute {self.opens} to {self.closes}")


WHOLE_DAY = (Span(0, DAY_MINUTES),)


@dataclass(frozen=True, slots=True)
class WeeklyHours:
    """The open spans of each weekday from Monday on, and of holidays (None: a holiday is a day like any other)."""

    days: tuple[tuple[Span, ...], ...]
    holiday: tuple[Span, ...] | None = None

    def __post_init__(self) -> None:
        if len(self.days) != len(WEEKDAYS):
            raise ValueError(f"a week has seven days, not {len(self.days)}")


def parse_minute(text: str) -> int:
    """Return the minute of the day of `HH:MM`, up to `24:00`."""
    hour, colon, minute = text.strip().partition(":")
    if not (colon and len(minute) == 2 and hour.isdecimal() and minute.isdecimal() and int(minute) < 60):
        raise ValueError(f"not a time of day HH:MM: {text!r}")
    return int(hour) * 60 + int(minute)


def parse_spans(text: str) -> tuple[Span, ...]:
    """Return the spans of `08:00-12:00, 13:00-20:00`, or no spans for `none`; touching ones are merged."""
    if text.strip() == "none":
        return ()
    return joined(_parse_span(part) for part in text.split(","))


def parse_days(text: str) -> frozenset[int]:
    """Return the weekdays of `mon`, `mon-sat` or `every`, Monday being 0."""
    if text == "every":
        return EVERY_DAY
    first, dash, last = text.partition("-")
    if first not in WEEKDAYS or (dash and last not in WEEKDAYS):
        raise ValueError(f"not a weekday or a range of weekdays: {text!r}")
    start = WEEKDAYS.index(first)
    length = (WEEKDAYS.index(last) - start) % 7 + 1 if dash else 1
    return frozenset((start + step) % 7 for step in range(length))


def parse_week(rows: Mapping[str, str]) -> WeeklyHours:
    """Return the hours of `{"mon-fri": "08:00-20:00", "sat": "08:00-14:00", "holiday": "none"}`; an absent day is closed."""
    days: list[tuple[Span, ...]] = [()] * 7
    named: set[int] = set()
    for row, text in rows.items():
        if row == "holiday":
            continue
        chosen = parse_days(row)
        if named & chosen:
            raise ValueError(f"a weekday is named twice: {row!r}")
        named |= chosen
        for day in chosen:
            days[day] = parse_spans(text)
    return WeeklyHours(tuple(days), parse_spans(rows["holiday"]) if "holiday" in rows else None)


def joined(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return the same minutes as sorted spans, touching ones merged."""
    whole: list[Span] = []
    for span in sorted(spans):
        if whole and span.opens <= whole[-1].closes:
            whole[-1] = Span(whole[-1].opens, max(whole[-1].closes, span.closes))
        else:
            whole.append(span)
    return tuple(whole)


def without(spans: Iterable[Span], taken: Span) -> tuple[Span, ...]:
    """Return the spans with one part of the day removed."""
    left: list[Span] = []
    for span in spans:
        if span.opens < min(span.closes, taken.opens):
            left.append(Span(span.opens, min(span.closes, taken.opens)))
        if max(span.opens, taken.closes) < span.closes:
            left.append(Span(max(span.opens, taken.closes), span.closes))
    return tuple(left)


def common(ours: Iterable[Span], theirs: Iterable[Span]) -> tuple[Span, ...]:
    """Return the parts of the day that are in both."""
    theirs = tuple(theirs)
    return tuple(
        Span(max(a.opens, b.opens), min(a.closes, b.closes))
        for a in ours
        for b in theirs
        if max(a.opens, b.opens) < min(a.closes, b.closes)
    )


def instant(day: date, minute: int, zone: ZoneInfo, *, fold: int = 0) -> datetime:
    """Return the UTC moment of a local minute; a minute that the clock skips maps to the moment of the skip."""
    wall = datetime.combine(day, _MIDNIGHT, UTC) + timedelta(minutes=minute)
    before, after = _offset(zone, wall), _offset(zone, wall.replace(fold=1))
    if before < after:
        return _skip(zone, wall - after, wall - before)
    return wall - (after if fold else before)


@lru_cache(maxsize=4096)
def opened(span: Span, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the moments a span opens and closes on a day; they are equal when the clock skips it.

    If the opening minute occurs twice, the later one counts (though a day begins at its first midnight), unless the
    span would then be empty: a repeated hour is counted once.
    """
    closes = instant(day, span.closes, zone)
    opens = instant(day, span.opens, zone, fold=1 if span.opens else 0)
    return (opens, closes) if opens < closes else (instant(day, span.opens, zone), closes)


def next_window(zone: str, between: str, after: datetime, *, days: Collection[int] = EVERY_DAY) -> tuple[datetime, datetime]:
    """Return the UTC (opens, closes) of the first daily window that closes after a moment; it may be open already.

    Args:
        zone: IANA name; an unknown one raises `zoneinfo.ZoneInfoNotFoundError`.
        between: `10:00-11:30`, half-open; several parts are separated by commas.
        after: an aware moment.
        days: weekdays on which the window exists, Monday being 0.
    """
    place, spans = ZoneInfo(zone), parse_spans(between)
    if not days or not spans:
        raise ValueError("a window needs a day and a span")
    first = after.astimezone(place).date()
    for step in range(16):
        day = first + step * _ONE_DAY
        if day.weekday() not in days:
            continue
        for span in spans:
            opens, closes = opened(span, day, place)
            if opens < closes and after < closes:
                return opens, closes
    raise ValueError(f"the clock of {zone} skips every window {between!r} after {after.isoformat()}")


def _parse_span(text: str) -> Span:
    opens, dash, closes = text.partition("-")
    if not dash:
        raise ValueError(f"not a span HH:MM-HH:MM: {text!r}")
    span = parse_minute(opens), parse_minute(closes)
    if not span[0] < span[1] <= DAY_MINUTES:
        raise ValueError(f"not a span within one day, which ends after it begins and at 24:00 at the latest: {text!r}")
    return Span(*span)


def _offset(zone: ZoneInfo, wall: datetime) -> timedelta:
    return zone.utcoffset(wall) or timedelta()


def _skip(zone: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """Return the second in (low, high] at which the zone's clock jumps."""
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = (low + (high - low) / 2).replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high
