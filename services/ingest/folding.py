"""Bringing one loan up to date: advance the stored book if that gives the same result, else fold all events again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from libs.common import logs
from libs.common.contracts.corrections import CorrectedDays
from libs.common.contracts.overdue_facts import FactReason
from services.ingest import decoding
from services.ingest.domain.advance import advance
from services.ingest.domain.book import Book
from services.ingest.domain.fold import FOLD, fold
from services.ingest.domain.product import DEFAULT, ProductLine
from services.ingest.facts import Phase, Standing, standing
from services.ingest.reading import Accepted, local_day, to_domain, zone_among
from services.ingest.store.events import LogRow
from services.ingest.store.loans import LoanRow

_encode = msgspec.msgpack.Encoder().encode
_book = msgspec.msgpack.Decoder(Book).decode
_line = msgspec.msgpack.Decoder(ProductLine).decode


class Loan(msgspec.Struct, gc=False):
    """A locked loan while a batch is processed."""

    row: LoanRow
    book: Book | None
    standing: Standing | None = None
    touched: bool = False
    """Whether a record was added, so that its version rises and its fact is published."""
    cause: str | None = None
    why: FactReason | None = None
    """Why its fact is published, if the reason is neither an event nor time."""
    corrects: tuple[CorrectedDays, ...] = ()
    """The past days about which its fact differs from the facts before it."""


def opened(row: LoanRow) -> Loan:
    """Return a stored loan with its book, or without it, to be folded again, if other rules made the book or it cannot be read."""
    try:
        return Loan(row, stored_book(row) if row.fold == FOLD else None)
    except (msgspec.MsgspecError, ValueError) as error:
        logs.get("ledger").error("book_unreadable", tenant=row.tenant, loan_id=row.loan_id, reason=str(error)[:300])
        return Loan(row, None)


def stored_book(row: LoanRow) -> Book | None:
    """Return the book as stored, whichever rules made it; an error if it cannot be read."""
    return _book(row.book) if row.book is not None else None


def line_of(row: LoanRow) -> ProductLine:
    """Return the product line stamped on the loan."""
    return line_in(row.settings)


def line_in(settings: bytes | None) -> ProductLine:
    """Return a stored product line, or the default one if there is none."""
    return _line(settings) if settings is not None else DEFAULT


def encoded_line(line: ProductLine) -> bytes:
    """Return a product line in its stored form."""
    return _encode(line)


def accepted_of(row: LogRow) -> Accepted:
    """Return an event of the log with its data."""
    return Accepted(row.source, row.event_id, row.type, row.time, decoding.stored(row.type, row.data))


def advanced(loan: Loan, new: Sequence[Accepted], now: datetime) -> list[Book]:
    """Return the book after each of these events; empty if only a refold gives the right result."""
    book, after = loan.book, list[Book]()
    if book is None or not book.known:
        return after
    line, zone = line_of(loan.row), book.timezone
    today, events = local_day(now, zone), [to_domain(one, zone, line) for one in new]
    if len(events) > 1:
        events.sort(key=lambda event: event.place)
    for event in events:
        book = advance(book, event, line, today)
        if book is None:
            return []
        after.append(book)
    return after


def refolded(accepted: Sequence[Accepted], line: ProductLine, now: datetime) -> Book:
    """Return the book of all events of a loan on its local day."""
    zone = zone_among(accepted)
    return fold([to_domain(one, zone, line) for one in accepted], line, local_day(now, zone))


def settle(loan: Loan, book: Book, now: datetime) -> None:
    """Put a new book and its query columns into the loan's row."""
    row = loan.row
    loan.book, row.book, row.fold, row.fold_error = book, _encode(book), FOLD, None
    row.known = book.known
    end_doubt(row)
    if not book.known:
        loan.standing, row.status, row.bucket, row.anchor_on, row.next_at = None, None, None, None, None
        row.overdue_total = row.outstanding_total = 0
        return
    row.borrower_id, row.product, row.currency, row.timezone = book.borrower_id, book.product, book.currency, book.timezone
    set_standing(loan, book, now)


def end_doubt(row: LoanRow) -> None:
    """End a doubt with its last undecided event, unless the loan cannot be folded."""
    if row.parked == 0 and row.fold_error is None:
        row.doubt_since = None


def set_standing(loan: Loan, book: Book, now: datetime) -> None:
    """Put a known loan's standing at this moment into its row."""
    loan.standing = standing(book, now)
    row, shown = loan.row, loan.standing.shown
    row.status, row.bucket = str(shown.status), shown.bucket
    row.anchor_on = shown.anchor.due_on if shown.anchor else None
    row.overdue_total, row.outstanding_total = shown.overdue.total, shown.outstanding.total
    row.next_at = loan.standing.next_at


def phase_before(row: LoanRow) -> Phase | None:
    """Return the last published phase of the loan."""
    return Phase(row.phase) if row.phase is not None else None
