"""The books of successive days, in one pass over the events."""

from collections.abc import Generator, Iterable, Iterator
from datetime import date
from itertools import groupby, zip_longest

from services.ingest.domain.book import Book
from services.ingest.domain.events import ChargedBack, Disbursed, Effect, LoanEvent, Repaid, Rescheduled
from services.ingest.domain.fold import Run, book_of, closed_book, ledger, take, with_waiver_amounts
from services.ingest.domain.product import ProductLine
from services.ingest.domain.select import Step, base_of, classified, identity, not_retracted, placed_steps
from services.ingest.domain.value import Value, replace

Since = tuple[date, Book]
"""A book and the first day that it covers."""


class Past(Value, frozen=True):
    """The events of a loan that count, on whatever day; undone events are not among the steps."""

    kept: list[LoanEvent]
    product: ProductLine
    base: Disbursed | None
    steps: list[Step]


def past_of(events: Iterable[LoanEvent], product: ProductLine) -> Past:
    """Return which of these events count."""
    kept, _ = with_waiver_amounts(not_retracted(events)[0], product)
    found = classified(kept)
    base = base_of(found)
    known = ((base and base.allocation) or product.allocation).charges_known
    steps = [step for step in placed_steps(found, known) if identity(step.event) not in found.undone]
    return Past(kept, product, base, steps)


def parted_on(before: Past, after: Past) -> date | None:
    """Return the first day on which the two can differ; None if they never do."""
    if before.base != after.base or before.product != after.product:
        return date.min
    for one, other in zip_longest(before.steps, after.steps):
        if one != other:
            return min(step.key[0] for step in (one, other) if step is not None)
    return None


def books(past: Past, first: date, last: date) -> Iterator[Since]:
    """Yield the book of the first day, and of each later one up to the last on which an event begins to count."""
    day: date | None = first
    while day is not None:
        run = ledger(past.kept, past.product, day, traced=False)
        if run.base is None or run.work is None:
            yield day, Book(known=False, as_of=day)
            return
        head = replace(book_of(run, run.base, run.work, as_of=day, waived_after=None), next_event_on=None)
        yield day, head
        day = yield from _following(run, head, last)


def _following(run: Run, head: Book, last: date) -> Generator[Since, None, date | None]:
    """Continue with later days; return the day, if any, that needs a new fold."""
    work = run.work
    late = _paid_after_chargeback(run)
    for day, steps in groupby(run.later, key=_day_of):
        these = list(steps)
        if day > last or work is None:
            return None
        if any(_needs_refold(step, late) for step in these):
            return day
        for step in these:
            take(run, work, step, as_of=day)
        yield day, closed_book(head, work, as_of=day, pending=())
    return None


def _day_of(step: Step) -> date:
    return step.key[0]


def _paid_after_chargeback(run: Run) -> set[str]:
    """Return the payments dated after their own chargeback, which counts once they are there."""
    repaid = run.found.repaid
    charged = [(event.place.day, event.repayment_id) for event in run.found.placed if isinstance(event, ChargedBack)]
    return {name for day, name in charged if name in repaid and repaid[name].place.day > day}


def _needs_refold(step: Step, late: set[str]) -> bool:
    """Return whether a step changes what precedes it: a schedule effective from the start, or a payment already charged back."""
    event = step.event
    return (isinstance(event, Rescheduled) and event.effect is Effect.FROM_START) or (
        isinstance(event, Repaid) and event.repayment_id in late
    )
