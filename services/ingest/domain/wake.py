"""When a loan's fact changes by time alone, and until when contacts rest for money under way."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from services.ingest.domain.book import Book
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.pauses import day_reaching
from services.ingest.domain.product import AgeBy
from services.ingest.domain.view import Anchor, LoanView, Status

ONE_DAY = timedelta(days=1)


def next_change_on(shown: LoanView) -> date | None:
    """Return the first day after the view's on which the fact differs though nothing has happened."""
    book = shown.book
    try:
        days = [] if book.next_event_on is None else [book.next_event_on]
        if book.known and shown.status is Status.ACTIVE:
            days += _due_days(shown)
            if book.charges or book.debts or book.original:
                days += _days_of_more(book)
            if shown.spans:
                days += [day for span in shown.spans for day in span if day != date.max]
            if shown.anchor is not None:
                days += _bucket_day(shown, shown.anchor)
    except OverflowError as error:
        raise CannotFold("a date lies beyond the calendar") from error
    return min([day for day in days if day > shown.as_of], default=None)


def _due_days(shown: LoanView) -> Iterator[date]:
    """Yield when instalments become due soon and overdue."""
    soon = timedelta(days=shown.book.terms.due_soon_days)
    for row in shown.ahead:
        noticed = row.due_on - soon
        yield noticed
        if noticed > shown.as_of:
            return  # whatever comes of this row and of those behind it comes later still
        yield row.due_on + ONE_DAY


def _days_of_more(book: Book) -> Iterator[date]:
    """Yield when charges and chargebacks on instalments become overdue, and what the first schedule asked for."""
    for charge in book.charges:
        yield charge.due_on + ONE_DAY
    for debt in book.debts:
        yield debt.on + ONE_DAY
    for due_on, _ in book.original:
        yield due_on + ONE_DAY


def _bucket_day(shown: LoanView, anchor: Anchor) -> list[date]:
    """Return when the anchor passes into the next bucket, if it ever does."""
    terms = shown.book.terms
    by_delinquency = terms.buckets.by is AgeBy.DELINQUENT_DAYS
    grace = terms.grace_days if by_delinquency else 0
    counted = shown.past_due_days - (shown.paused_days if by_delinquency else 0) - grace
    last = terms.buckets.last_day_after(counted)
    if last is None:
        return []
    day = day_reaching(shown.spans if by_delinquency else (), anchor.due_on, last + 1 + grace)
    return [] if day is None else [day]


def resting_until(book: Book, now: datetime) -> datetime | None:
    """Return until when contacts rest: for payments under way without a result, and for payments dated after today."""
    ends = [pending.until for pending in book.pending if pending.until > now]
    if book.repayment_until is not None:
        begins = datetime.combine(book.repayment_until, time.min, ZoneInfo(book.timezone)).astimezone(UTC)
        ends += [begins] if begins > now else []
    return max(ends, default=None)
