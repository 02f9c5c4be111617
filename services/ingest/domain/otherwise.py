"""Which past days now look different: two histories of one loan compared, only on the days on which either changes."""

from collections.abc import Iterable
from datetime import date, timedelta
from typing import NamedTuple

from services.ingest.domain.book import Book
from services.ingest.domain.events import Parts
from services.ingest.domain.history import Since
from services.ingest.domain.value import Value
from services.ingest.domain.view import Anchor, LoanView, NextDue, Status, view
from services.ingest.domain.wake import next_change_on


class Told(NamedTuple):
    """What those who contact the borrower learn about a day."""

    status: Status
    anchor: Anchor | None
    overdue: Parts
    soon: NextDue | None


class Otherwise(Value, frozen=True):
    """Days about which something else was published: `until` is exclusive, and None if today is one of them."""

    from_on: date
    until: date | None
    owed: bool
    """Whether, by what is known now, something was overdue on them."""


def due_soon(shown: LoanView) -> NextDue | None:
    """Return the instalment that a reminder is due for on that day."""
    ahead = shown.next_due
    if shown.late or shown.status is not Status.ACTIVE or ahead is None:
        return None
    return ahead if ahead.due_on - timedelta(days=shown.book.terms.due_soon_days) <= shown.as_of else None


def told(book: Book, day: date) -> Told | None:
    """Return what a book says about a day; None if there is no loan."""
    return _told(view(book, day)) if book.known else None


def told_otherwise(before: Iterable[Since], after: Iterable[Since], *, first: date, today: date) -> tuple[Otherwise, ...]:
    """Return the days from the first up to today about which the later books differ; none if only today differs.

    The books come in the order of the days from which they apply; the first one also covers earlier days.
    """
    was, now = _Line(before), _Line(after)
    found: list[Otherwise] = []
    day: date | None = first
    while day is not None and day <= today:
        said, changes = was.on(day)
        known, also = now.on(day)
        following = min(filter(None, (changes, also)), default=None)
        if said != known:
            until = None if following is None or following > today else following
            _add(found, Otherwise(day, until, owed=known is not None and known.anchor is not None))
        day = following
    return tuple(found) if found and found[0].from_on < today else ()


class _Line:
    """Books in the order of their days."""

    def __init__(self, books: Iterable[Since]) -> None:
        self._coming = iter(books)
        _, self._book = next(self._coming)
        self._next = next(self._coming, None)

    def on(self, day: date) -> tuple[Told | None, date | None]:
        """Return what is said about a day, and when that may change next; days must not go backwards."""
        while self._next is not None and self._next[0] <= day:
            self._book, self._next = self._next[1], next(self._coming, None)
        following = None if self._next is None else self._next[0]
        if not self._book.known:
            return None, following
        shown = view(self._book, day)
        return _told(shown), min(filter(None, (next_change_on(shown), following)), default=None)


def _told(shown: LoanView) -> Told:
    return Told(shown.status, shown.anchor, shown.overdue, due_soon(shown))


def _add(found: list[Otherwise], span: Otherwise) -> None:
    if found and found[-1].until == span.from_on and found[-1].owed == span.owed:
        found[-1] = Otherwise(found[-1].from_on, span.until, span.owed)
    else:
        found.append(span)
