"""Apply one more event to a stored book, where that gives the same result as a refold."""

from datetime import date

from services.ingest.domain.apply import apply
from services.ingest.domain.book import Book, Pending, Stamp
from services.ingest.domain.events import (
    ChargeAdded,
    ChargedOff,
    Closed,
    CreditRefunded,
    Effect,
    InstalmentDue,
    LoanEvent,
    Paused,
    Place,
    Placed,
    Repaid,
    Rescheduled,
    Resumed,
    WrittenOff,
)
from services.ingest.domain.fold import AWAITED_INSTALMENT, closed_book, weight
from services.ingest.domain.product import ProductLine
from services.ingest.domain.select import AWAITED_CHARGE_OFF, identity, key_of
from services.ingest.domain.value import replace
from services.ingest.domain.work import reopened

Simple = Repaid | ChargeAdded | InstalmentDue | Rescheduled | CreditRefunded | Paused | Resumed | ChargedOff | WrittenOff | Closed
"""What can be applied alone; the others undo something, need an earlier payment, or depend on what was open at another moment."""


def advance(book: Book, event: LoanEvent, product: ProductLine, as_of: date) -> Book | None:
    """Apply one new event to the loan's book; None if only a refold gives the right result."""
    if not isinstance(event, Simple) or not _nothing_else_counts(book, as_of) or _is_awaited(book, event):
        return None
    if type(event) is Rescheduled and event.effect is Effect.FROM_START:
        return None
    allocation = book.terms.allocation or product.allocation
    key = key_of(event, allocation.charges_known)
    place = event.place if key[0] == event.place.day else Place(*key[:4])
    if not _comes_last(book, place):
        return None
    if place.day > as_of:
        return _with_later(book, event, place.day, as_of=as_of)
    work = reopened(book, allocation)
    work.turnover += weight(event)
    work.last = place
    apply(work, event, place.day)
    return closed_book(book, work, as_of=as_of, pending=_still_pending(book, event))


def _nothing_else_counts(book: Book, as_of: date) -> bool:
    """Return whether nothing else begins to count between the book's day and this one."""
    return book.known and book.as_of <= as_of and (book.next_event_on is None or book.next_event_on > as_of)


def _is_awaited(book: Book, event: Placed) -> bool:
    """Return whether an event that pointed at nothing has been waiting for this one."""
    if not book.awaited:
        return False
    names = {"\0".join(identity(event)), f"event\0{event.place.source}\0{event.place.id}"}
    if isinstance(event, InstalmentDue | Rescheduled):
        names.add(AWAITED_INSTALMENT)
    if isinstance(event, ChargedOff):
        names.add(AWAITED_CHARGE_OFF)
    return not names.isdisjoint(book.awaited)


def _comes_last(book: Book, place: Place) -> bool:
    """Return whether no event applied so far comes after this one, and no waiver's amount depends on it."""
    if book.last is not None and place <= book.last:
        return False
    after = book.waived_after
    return after is None or Stamp(place.time, place.source, place.id) > after


def _with_later(book: Book, event: Placed, day: date, *, as_of: date) -> Book:
    """Remember the day on which an event will begin to count."""
    until = max(filter(None, (book.repayment_until, day))) if isinstance(event, Repaid) else book.repayment_until
    return replace(
        book,
        as_of=as_of,
        next_event_on=min(filter(None, (book.next_event_on, day))),
        repayment_until=until,
        pending=_still_pending(book, event),
    )


def _still_pending(book: Book, event: Placed) -> tuple[Pending, ...]:
    if not book.pending or not isinstance(event, Repaid):
        return book.pending
    return tuple(pending for pending in book.pending if pending.repayment_id != event.repayment_id)
