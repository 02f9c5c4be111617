"""When a loan's fact changes by time alone, and until when contacts are suspended for pending payments."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.ingest.domain.book import Book
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.pauses import day_reaching
from services.ingest.domain.product import AgeBy
from services.ingest.domain.view import Anchor, LoanView, Status

ONE_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


def next_change_on(shown: LoanView) -> date | None:
    """Return the first day after the view's on which the fact differs although nothing has happened."""
    book = shown.book
    try:
        days = [book.next_event_on, _rested_on(book, shown.as_of)]
        if book.known and shown.status is Status.ACTIVE:
            if shown.ahead:
                days += _due_days(shown)
            if book.charges or book.debts or book.original:
                days += _days_of_more(book)
            if shown.spans:
                days += [day for span in shown.spans for day in span if day != date.max]
            if shown.anchor is not None:
                days.append(_bucket_day(shown, shown.anchor))
    except OverflowError as error:
        raise CannotFold("a date lies beyond the calendar") from error
    return min([day for day in days if day is not None and day > shown.as_of], default=None)


def _due_days(shown: LoanView) -> list[date]:
    """Return when the next instalment becomes overdue and when the first one not yet due soon becomes so: all else comes later."""
    as_of, soon = shown.as_of, timedelta(days=shown.book.terms.due_soon_days)
    days = []
    for row in shown.ahead:
        noticed = row.due_on - soon
        if noticed > as_of:
            days.append(noticed)
            break
        if not days:
            days.append(row.due_on + ONE_DAY)
    return days


def _days_of_more(book: Book) -> Iterator[date]:
    """Yield the days on which charges, debts and the instalments of the first schedule become overdue."""
    for charge in book.charges:
        yield charge.due_on + ONE_DAY
    for debt in book.debts:
        yield debt.on + ONE_DAY
    for due_on, _ in book.original:
        yield due_on + ONE_DAY


def _bucket_day(shown: LoanView, anchor: Anchor) -> date | None:
    """Return when the anchor moves to the next bucket, if it ever does."""
    terms = shown.book.terms
    by_delinquency = terms.buckets.by is AgeBy.DELINQUENT_DAYS
    grace = terms.grace_days if by_delinquency else 0
    counted = shown.past_due_days - (shown.paused_days if by_delinquency else 0) - grace
    last = terms.buckets.last_day_after(counted)
    if last is None:
        return None
    return day_reaching(shown.spans if by_delinquency else (), anchor.due_on, last + 1 + grace)


def resting_until(book: Book, today: date) -> datetime | None:
    """Return until when contacts are suspended: for pending payments without a result, and for payments dated after today.

    An end in the course of today is reported all day: a fact depends on its records and its date only, and its reader knows the time.
    """
    if not book.pending and book.repayment_until is None:
        return None
    ends = [pending.until for pending in book.pending]
    ends += [] if book.repayment_until is None else [_midnight(book, book.repayment_until)]
    begun = _midnight(book, today)
    return max((end for end in ends if end > begun), default=None)


def _rested_on(book: Book, today: date) -> date | None:
    """Return the first day on which no suspension is reported any more; None if none is reported today."""
    end = resting_until(book, today) if book.known else None
    return None if end is None else (end - _INSTANT).astimezone(ZoneInfo(book.timezone)).date() + ONE_DAY


def _midnight(book: Book, day: date) -> datetime:
    return datetime.combine(day, time.min, ZoneInfo(book.timezone)).astimezone(UTC)
