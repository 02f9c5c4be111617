"""Bringing one loan up to date: the stored book goes on where that gives the same, else its events are folded again."""

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
    """A locked loan while a batch is taken in."""

    row: LoanRow
    book: Book | None
    standing: Standing | None = None
    touched: bool = False
    """Whether a record was added: its version rises and its fact is said."""
    cause: str | None = None
    why: FactReason | None = None
    """Why its fact is said, where neither an event nor time is the reason."""
    corrects: tuple[CorrectedDays, ...] = ()
    """The past days of which its fact says something else than those before it."""


def opened(row: LoanRow) -> Loan:
    """Return a stored loan with its book; without it, to be folded again, where other rules made that or it cannot be read."""
    try:
        return Loan(row, stored_book(row) if row.fold == FOLD else None)
    except (msgspec.MsgspecError, ValueError) as error:
        logs.get("ledger").error("book_unreadable", tenant=row.tenant, loan_id=row.loan_id, reason=str(error)[:300])
        return Loan(row, None)


def stored_book(row: LoanRow) -> Book | None:
    """Return the book as it is stored, whichever rules made it; an error where it cannot be read."""
    return _book(row.book) if row.book is not None else None


def line_of(row: LoanRow) -> ProductLine:
    """Return the product line stamped on the loan."""
    return line_in(row.settings)


def line_in(settings: bytes | None) -> ProductLine:
    """Return a stored product line, the default one where there is none."""
    return _line(settings) if settings is not None else DEFAULT


def encoded_line(line: ProductLine) -> bytes:
    """Return a product line as it is stored."""
    return _encode(line)


def accepted_of(row: LogRow) -> Accepted:
    """Return an event of the log with its data."""
    return Accepted(row.source, row.event_id, row.type, row.time, decoding.stored(row.type, row.data))


def advanced(loan: Loan, new: Sequence[Accepted], now: datetime) -> list[Book]:
    """Return the book after each of these events, none where only a refold can tell."""
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
    """Return the book of all the events of a loan on its local day."""
    zone = zone_among(accepted)
    return fold([to_domain(one, zone, line) for one in accepted], line, local_day(now, zone))


def settle(loan: Loan, book: Book, now: datetime) -> None:
    """Put a new book and what is queried of it into the loan's row."""
    row = loan.row
    loan.book, row.book, row.fold, row.fold_error = book, _encode(book), FOLD, None
    row.known = book.known
    end_doubt(row)
    if not book.known:
        loan.standing, row.status, row.bucket, row.anchor_on, row.next_at = None, None, None, None, None
        row.overdue_total = row.outstanding_total = 0
        return
    row.borrower_id, row.product, row.currency, row.timezone = book.borrower_id, book.product, book.currency, book.timezone
    stand(loan, book, now)


def end_doubt(row: LoanRow) -> None:
    """Let a doubt end with the last undecided event, unless the loan cannot be folded."""
    if row.parked == 0 and row.fold_error is None:
        row.doubt_since = None


def stand(loan: Loan, book: Book, now: datetime) -> None:
    """Put where a known loan stands at this moment into its row."""
    loan.standing = standing(book, now)
    row, shown = loan.row, loan.standing.shown
    row.status, row.bucket = str(shown.status), shown.bucket
    row.anchor_on = shown.anchor.due_on if shown.anchor else None
    row.overdue_total, row.outstanding_total = shown.overdue.total, shown.outstanding.total
    row.next_at = loan.standing.next_at


def phase_before(row: LoanRow) -> Phase | None:
    """Return the phase that was last said of the loan."""
    return Phase(row.phase) if row.phase is not None else None
