"""When a loan's fact changes by time alone, and until when contacts rest for money under way."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.ingest.domain.book import Book
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.pauses import Span, day_reaching, united
from services.ingest.domain.product import AgeBy
from services.ingest.domain.view import Status, anchor_of, is_met, overdue_items, status_of

ONE_DAY = timedelta(days=1)


def next_change_on(book: Book, as_of: date) -> date | None:
    """Return the first day after `as_of` on which the fact differs though nothing has happened."""
    try:
        days = list(_changes(book, as_of))
    except OverflowError as error:
        raise CannotFold("a date lies beyond the calendar") from error
    return min((day for day in days if day > as_of), default=None)


def _changes(book: Book, as_of: date) -> Iterator[date]:
    """Yield the days on which something changes; some may lie in the past."""
    if book.next_event_on is not None:
        yield book.next_event_on
    if not book.known or status_of(book) is not Status.ACTIVE:
        return
    spans = united(book.pauses, book.resumes)
    for begin, end in spans:
        yield begin
        if end != date.max:
            yield end
    yield from _due_days(book, as_of)
    yield from _bucket_days(book, as_of, spans)


def _due_days(book: Book, as_of: date) -> Iterator[date]:
    """Yield when instalments become due soon and overdue, and when charges and chargebacks on them become overdue."""
    soon = timedelta(days=book.terms.due_soon_days)
    for row in book.rows:
        if row.due_on >= as_of and not is_met(book, row):
            yield row.due_on - soon
            yield row.due_on + ONE_DAY
            if row.due_on - soon > as_of:
                break  # the rows behind it come later still
    for charge in book.charges:
        yield charge.due_on + ONE_DAY
    for debt in book.debts:
        yield debt.on + ONE_DAY
    for due_on, _ in book.original:
        yield due_on + ONE_DAY


def _bucket_days(book: Book, as_of: date, spans: tuple[Span, ...]) -> Iterator[date]:
    """Yield when the anchor passes into another bucket."""
    anchor = anchor_of(tuple(overdue_items(book, as_of)))
    if anchor is None:
        return
    by_delinquency = book.terms.buckets.by is AgeBy.DELINQUENT_DAYS
    for last in (0, *(bound.up_to for bound in book.terms.buckets.bounds if bound.up_to is not None)):
        if by_delinquency:
            day = day_reaching(spans, anchor.due_on, last + 1 + book.terms.grace_days)
        else:
            day = anchor.due_on + timedelta(days=last + 1)
        if day is not None:
            yield day


def resting_until(book: Book, now: datetime) -> datetime | None:
    """Return until when contacts rest: for payments under way without a result, and for payments dated after today."""
    ends = [pending.until for pending in book.pending if pending.until > now]
    if book.repayment_until is not None:
        begins = datetime.combine(book.repayment_until, time.min, ZoneInfo(book.timezone)).astimezone(UTC)
        ends += [begins] if begins > now else []
    return max(ends, default=None)
