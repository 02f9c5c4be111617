"""From a loan's book to the fact published about it on the bus."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum

from libs.common.contracts.overdue_facts import Amounts, Anchor, Doubt, FactReason, NextDue, OverdueFact, Pause
from libs.common.value import Value
from services.ingest.domain.book import Book
from services.ingest.domain.events import Parts
from services.ingest.domain.otherwise import due_soon
from services.ingest.domain.product import DEFAULT
from services.ingest.domain.view import NO_PARTS, LoanView, Status, received, view
from services.ingest.domain.wake import next_change_on, resting_until
from services.ingest.reading import local_day, midnight_of
from services.ingest.store.loans import LoanRow

SAID_SINCE = 0
"""The version of the fold since which the same book gives the same fact on the same day.

A change to what a book gives (here, in `view` or in `wake`) must raise FOLD and set this to the new value: what was published for older
books can then no longer be derived from them.
"""


class Phase(StrEnum):
    """The phase of a debt in collection; a change of phase determines the fact's type."""

    QUIET = "quiet"
    DUE_SOON = "due_soon"
    OVERDUE = "overdue"
    ENDED = "ended"


class Standing(Value, frozen=True):
    """A loan on a day: its view, its phase, and when they will change."""

    shown: LoanView
    phase: Phase
    resting: datetime | None
    change_on: date | None
    next_at: datetime | None


def standing(book: Book, now: datetime) -> Standing:
    """Return the standing of a known loan at this moment, on its local day."""
    today = local_day(now, book.timezone)
    shown = view(book, today)
    change_on = next_change_on(shown)
    next_at = None if change_on is None else midnight_of(change_on, book.timezone)
    return Standing(shown, _phase(shown), resting_until(book, today), change_on, next_at)


class Occasion(Value, frozen=True):
    """What a fact says besides the book: why it is published, and any doubt."""

    reason: FactReason = "event"
    cause: str | None = None
    doubt: Doubt | None = None


NO_OCCASION = Occasion()


def fact_of(book: Book, at: Standing, *, loan_id: str, epoch: int, version: int, on: Occasion = NO_OCCASION) -> OverdueFact:
    """Return the fact of a loan."""
    shown = at.shown
    anchor = Anchor(n=shown.anchor.n, due_on=shown.anchor.due_on) if shown.anchor else None
    return OverdueFact(
        loan_id=loan_id,
        borrower_id=book.borrower_id,
        product=book.product,
        currency=book.currency,
        timezone=book.timezone,
        jurisdictions=book.jurisdictions,
        status=shown.status.value,
        epoch=epoch,
        version=version,
        as_of=shown.as_of,
        overdue=_amounts(shown.overdue),
        outstanding=_amounts(shown.outstanding),
        bucket=shown.bucket,
        grace_days=book.terms.grace_days,
        anchor=anchor,
        past_due_days_from=anchor.due_on if anchor else None,
        delinquent_from=shown.delinquent_from,
        pauses=tuple([Pause(from_=begins, until=ends) for begins, ends in shown.pauses]) if shown.spans else (),
        dpd_original_from=shown.dpd_original_from,
        next_due=NextDue(n=shown.next_due.n, due_on=shown.next_due.due_on, total=shown.next_due.total) if shown.next_due else None,
        next_change_on=at.change_on,
        doubt=on.doubt,
        resting_until=at.resting,
        received=received(book),
        segment=book.segment,
        reason=on.reason,
        caused_by=on.cause,
    )


def withdrawn(row: LoanRow, *, epoch: int, now: datetime) -> OverdueFact:
    """Return the last fact of a loan whose disbursement was retracted: the borrower named before owes nothing."""
    return OverdueFact(
        loan_id=row.loan_id,
        borrower_id=row.borrower_id or "",
        product=row.product or "",
        currency=row.currency or "",
        timezone=row.timezone or "UTC",
        jurisdictions=(),
        status=Status.CLOSED.value,
        epoch=epoch,
        version=row.records,
        as_of=local_day(now, row.timezone or "UTC"),
        overdue=_amounts(NO_PARTS),
        outstanding=_amounts(NO_PARTS),
        bucket=DEFAULT.buckets.none,
    )


def doubt_of(since: datetime | None, parked: tuple[str, ...], fold_error: str | None) -> Doubt | None:
    """Return the doubt about a loan: undecided parked events, or a fold that failed."""
    if since is None or not (parked or fold_error):
        return None
    return Doubt(since=since, parked=parked)


def type_of(phase: Phase, before: Phase | None) -> str:
    """Return the type of the fact for this phase after the phase before."""
    if phase is before:
        return "debt.changed.v1"
    match phase:
        case Phase.OVERDUE:
            return "debt.overdue.v1"
        case Phase.ENDED:
            return "debt.closed.v1"
        case _ if before is Phase.OVERDUE:
            return "debt.cured.v1"
        case Phase.DUE_SOON:
            return "debt.due_soon.v1"
        case _:
            return "debt.changed.v1"


def reason_of(*, by_time: bool, doubt: Doubt | None) -> FactReason:
    """Return the reason for publishing a fact."""
    if doubt is not None:
        return "doubt"
    return "time" if by_time else "event"


def _phase(shown: LoanView) -> Phase:
    if shown.late:
        return Phase.OVERDUE
    if shown.status is not Status.ACTIVE:
        return Phase.ENDED
    return Phase.QUIET if due_soon(shown) is None else Phase.DUE_SOON


def _amounts(parts: Parts) -> Amounts:
    return Amounts(principal=parts.principal, interest=parts.interest, fee=parts.fee, penalty=parts.penalty, total=parts.total)
