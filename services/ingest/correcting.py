"""Which past days a loan's next fact corrects, compared with the facts before it (decision 0010)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from libs.common import logs
from libs.common.contracts.corrections import CorrectedDays
from services.ingest import folding
from services.ingest.domain.book import Book
from services.ingest.domain.history import Past, books, parted_on, past_of
from services.ingest.domain.otherwise import Otherwise, told_otherwise
from services.ingest.domain.product import ProductLine
from services.ingest.folding import Loan
from services.ingest.reading import Accepted, local_day, to_domain, zone_among


def after_advance(loan: Loan, before: Book, after: Sequence[Book], now: datetime) -> tuple[CorrectedDays, ...]:
    """Return the days corrected by events that come last in their order; `after` has the book after each of them.

    A book covers every day since its last event; one that only remembers what will count later has the same last event as before.
    """
    first, last = loan.row.said_on, after[-1].last
    if first is None or last is None or last is before.last:
        return ()
    today = local_day(now, before.timezone)
    if first >= today:
        return ()
    since = [(book.last.day, book) for book in after if book.last is not None and book.last is not before.last]
    if since[0][0] >= today:
        return ()
    begin = max(first, since[0][0])
    return _said(told_otherwise([(begin, before)], since, first=begin, today=today))


def after_refold(
    loan: Loan, before: Sequence[Accepted], after: Sequence[Accepted], now: datetime, *, settings: bytes | None
) -> tuple[CorrectedDays, ...]:
    """Return the days corrected by events anywhere in the order; `settings` are those in force before them."""
    first, today = loan.row.said_on, local_day(now, loan.row.timezone or "UTC")
    if first is None or first >= today:
        return ()
    try:
        was, known = _past(before, folding.line_in(settings)), _past(after, folding.line_of(loan.row))
        parted = parted_on(was, known)
        if parted is None or parted >= today:
            return ()
        begin = max(first, parted)
        return _said(told_otherwise(books(was, begin, today), books(known, begin, today), first=begin, today=today))
    except Exception as error:  # noqa: BLE001  # a problem with the past must not keep the present from being published
        reason = f"{type(error).__name__}: {error}"[:300]
        logs.get("ledger").error("past_not_compared", tenant=loan.row.tenant, loan_id=loan.row.loan_id, reason=reason)
        return ()


def _past(accepted: Sequence[Accepted], line: ProductLine) -> Past:
    zone = zone_among(accepted)
    return past_of([to_domain(one, zone, line) for one in accepted], line)


def _said(days: Sequence[Otherwise]) -> tuple[CorrectedDays, ...]:
    return tuple(CorrectedDays(one.from_on, one.until, one.owed) for one in days)
