"""How pauses stop the overdue clock: their union, where it overlaps the counted time."""

from collections.abc import Iterable, Sequence
from datetime import date, timedelta

from services.ingest.domain.book import Pause

Span = tuple[date, date]


def united(pauses: Iterable[Pause], resumes: Sequence[date]) -> tuple[Span, ...]:
    """Return the pauses as spans without overlap: the first day inclusive, the last exclusive, `date.max` for no end."""
    spans: list[Span] = []
    for pause in sorted(pauses, key=lambda one: one.from_on):
        until = pause.until or date.max
        until = min((day for day in resumes if pause.from_on <= day < until), default=until)
        if spans and pause.from_on <= spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], until)
        elif pause.from_on < until:
            spans.append((pause.from_on, until))
    return tuple(spans)


def paused_days(spans: Iterable[Span], since: date, as_of: date) -> int:
    """Return how many days between the two were paused."""
    return sum(max(0, (min(end, as_of) - max(begin, since)).days) for begin, end in spans)


def day_reaching(spans: Iterable[Span], since: date, days: int) -> date | None:
    """Return the first day by which this many unpaused days have passed; None while a pause has no end."""
    day, left = since, days
    for begin, end in spans:
        if end <= day:
            continue
        before = max(0, (begin - day).days)
        if before >= left:
            break
        left -= before
        if end == date.max:
            return None
        day = end
    return day + timedelta(days=left)
