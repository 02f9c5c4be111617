"""The fold: from the set of a loan's events to its book, and from one book to the next."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date

from services.ingest.domain.amounts import bounded
from services.ingest.domain.apply import apply, charge_open, running, waiver_parts
from services.ingest.domain.book import DEFAULT_TERMS, Book, Ignored, Pending, Stamp, terms_of
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.events import (
    ChargeAdded,
    ChargedBack,
    CreditRefunded,
    Disbursed,
    Effect,
    InstalmentDue,
    LoanEvent,
    Place,
    Placed,
    Repaid,
    Rescheduled,
    Row,
    Waived,
)
from services.ingest.domain.product import Component, ProductLine
from services.ingest.domain.select import (
    AWAITED_CHARGE_OFF,
    Key,
    Sorted,
    Step,
    absent_target,
    base_of,
    classified,
    identity,
    idle_undoings,
    not_retracted,
    pending_of,
    placed_steps,
    schedule_from_start,
    stamp_of,
)
from services.ingest.domain.value import Value, replace
from services.ingest.domain.work import Entry, Witness, Work, laid_out, row_with

FOLD = 1
"""The version of these rules and of the book's layout: a book made by another version is not used but folded again.

Raised together with a migration that recreates the index `loans_outdated`.
"""

MOST_OPEN_WAIVERS = 100
"""Each waiver without an amount takes a fold of its own; beyond this number a person must look at the loan."""

AWAITED_INSTALMENT = "instalment"


class Movement(Value, frozen=True):
    """How one payment, chargeback, refund, charge-off or write-off was allocated.

    `credit` is what a payment left over or, if negative, what a chargeback or refund took from credit; `explicit` is the part that the
    publisher allocated itself.
    """

    id: str
    kind: str
    on: date
    amount: int
    principal: int
    interest: int
    fee: int
    penalty: int
    credit: int
    explicit: int
    reversed: bool


class Trace(Value, frozen=True):
    """A book with the movements that led to it, in order."""

    book: Book
    movements: tuple[Movement, ...]


@dataclass(slots=True)
class Run:
    """A ledger with what was learnt on the way; `work` is None if no disbursement is known."""

    found: Sorted
    base: Disbursed | None
    work: Work | None = None
    ignored: list[tuple[str, str]] = field(default_factory=list)
    awaited: set[str] = field(default_factory=set)
    later: Sequence[Step] = ()
    start: Key | None = None
    """The place of the schedule that is effective from the start."""
    seen: dict[tuple[str, str], Placed] = field(default_factory=dict)


def fold(events: Iterable[LoanEvent], product: ProductLine, as_of: date) -> Book:
    """Return the loan's book on a day; the events come in any order and may be repeated."""
    return _folded(events, product, as_of, traced=False)[0]


def trace(events: Iterable[LoanEvent], product: ProductLine, as_of: date, *, witness: Witness | None = None) -> Trace:
    """Return the book and how every movement was allocated: on request, not for every event."""
    book, work = _folded(events, product, as_of, traced=True, witness=witness)
    entries = () if work is None or work.entries is None else work.entries.values()
    return Trace(book, tuple(map(_movement, entries)))


def _movement(entry: Entry) -> Movement:
    return Movement(
        entry.id,
        entry.kind,
        entry.on,
        entry.amount,
        *entry.split,
        credit=entry.credit if entry.credit is not None else entry.amount - sum(entry.split),
        explicit=entry.explicit,
        reversed=entry.reversed,
    )


def _folded(
    events: Iterable[LoanEvent], product: ProductLine, as_of: date, *, traced: bool, witness: Witness | None = None
) -> tuple[Book, Work | None]:
    kept, idle = not_retracted(events)
    kept, last_waiver = with_waiver_amounts(kept, product)
    run = ledger(kept, product, as_of, traced=traced, witness=witness)
    if run.base is None or run.work is None:
        return Book(known=False, as_of=as_of), None
    for event in idle:
        run.ignored.append((event.place.id, f"no event {event.event_id}"))
        run.awaited.add(f"event\0{event.source or event.place.source}\0{event.event_id}")
    return book_of(run, run.base, run.work, as_of=as_of, waived_after=last_waiver), run.work


def with_waiver_amounts(kept: list[LoanEvent], product: ProductLine) -> tuple[list[LoanEvent], Stamp | None]:
    """Give every waiver without an amount what was open after the events recorded before it."""
    without = sorted((event for event in kept if type(event) is Waived and event.amount is None), key=stamp_of)
    if len(without) > MOST_OPEN_WAIVERS:
        raise CannotFold(f"more than {MOST_OPEN_WAIVERS} waivers without an amount")
    filled: dict[tuple[str, str], Waived] = {}
    for waiver in without:
        below = [_filled(event, filled) for event in kept if stamp_of(event) < stamp_of(waiver)]
        run = ledger(below, product, waiver.place.day, traced=False)
        amount = 0 if run.work is None else _open_of(run.work, waiver)
        filled[waiver.place.source, waiver.place.id] = replace(waiver, amount=amount)
    if not without:
        return kept, None
    return [_filled(event, filled) for event in kept], Stamp(*stamp_of(without[-1]))


def _filled(event: LoanEvent, filled: dict[tuple[str, str], Waived]) -> LoanEvent:
    return filled.get((event.place.source, event.place.id), event)


def _open_of(work: Work, waiver: Waived) -> int:
    """Return what is open of what a waiver names."""
    if waiver.charge_id is not None:
        return sum(charge_open(work, charge) for charge in work.charges if charge.charge_id == waiver.charge_id)
    at = None if waiver.n is None else row_with(work, waiver.n)
    return 0 if at is None else sum(waiver_parts(work.rows[at].open, waiver))


def ledger(kept: Iterable[LoanEvent], product: ProductLine, as_of: date, *, traced: bool, witness: Witness | None = None) -> Run:
    """Apply the events that count by a day, each in its place."""
    found = classified(kept)
    base = base_of(found)
    if base is None:
        return Run(found, None)
    allocation = base.allocation or product.allocation
    terms = terms_of(product, grace_days=base.grace_days, tolerance=base.tolerance, allocation=base.allocation)
    steps = placed_steps(found, allocation.charges_known)
    start = schedule_from_start(steps, as_of)
    schedule = base.schedule if start is None else start[0].schedule
    work = Work(terms, allocation, laid_out(schedule), traced=traced, currency=base.currency)
    work.turnover = sum(sum(row.due) for row in work.rows)
    if start is not None:
        work.version, work.original = start[0].version, running(laid_out(_first_schedule(base, steps, start[1])))
    if traced or allocation.chargeback_split != (Component.PRINCIPAL,):
        work.entries = {}
    if witness is not None:
        work.witness = witness
        witness.began(work, base if start is None else start[0], base.disbursed_on)
    run = Run(found, base, work, start=None if start is None else start[1])
    for index, step in enumerate(steps):
        if step.key[0] > as_of:
            run.later = steps[index:]
            _await_charges(run)
            break
        take(run, work, step, as_of=as_of)
    return run


def _first_schedule(base: Disbursed, steps: Iterable[Step], start: Key) -> tuple[Row, ...]:
    """Return the schedule that was replaced from the start, with the instalments published one by one until then."""
    rows = {row.n: row for row in base.schedule}
    for key, event in steps:
        if key < start and type(event) is InstalmentDue and event.currency in (None, base.currency):
            rows.setdefault(event.row.n, event.row)
    return tuple(rows.values())


def take(run: Run, work: Work, step: Step, *, as_of: date) -> None:
    """Apply the next step."""
    key, event = step
    what = identity(event)
    if what in run.seen:
        _note_repeat(run, event, run.seen[what])
    elif what in run.found.undone:
        _leave_out(run, work, event, key[0])
    elif not _superseded(event, key, run.start) and not _points_nowhere(run, event, as_of):
        work.turnover += weight(event)
        apply(work, event, key[0])
        if work.witness is not None:
            work.witness.took(work, event, key[0])
    run.seen[what] = event
    work.last = Place(*key[:4])


def _await_charges(run: Run) -> None:
    """Await the charges that later waivers name: once the charge is there, a waiver counts from its due date, perhaps already today."""
    named = {event.charge_id for _, event in run.later if isinstance(event, Waived) and event.charge_id is not None}
    if run.awaited is not None:
        run.awaited |= {f"charge\0{name}" for name in named if name not in run.found.charges}


def _note_repeat(run: Run, event: Placed, first: Placed) -> None:
    """Report a second event under the same key with other content; a plain repeat is fine."""
    if replace(event, place=first.place) != first:
        run.ignored.append((event.place.id, "another event has the same key"))


def _leave_out(run: Run, work: Work, event: Placed, on: date) -> None:
    """Leave out an event that another undoes."""
    if work.witness is not None:
        work.witness.left_out(event, on, min(by for what, name, by in run.found.undoing if (what, name) == identity(event)))
    if work.entries is not None and isinstance(event, Repaid):
        work.entries[event.repayment_id] = Entry(event.repayment_id, event.kind.value, on, event.amount, credit=0, reversed=True)


def _superseded(event: Placed, key: Key, start: Key | None) -> bool:
    """Return whether a schedule effective from the start has replaced this event."""
    if isinstance(event, Rescheduled):
        return event.effect is Effect.FROM_START
    return start is not None and isinstance(event, InstalmentDue) and key < start


def _points_nowhere(run: Run, event: Placed, as_of: date) -> bool:
    absent = absent_target(run.found, event, as_of)
    if absent is None:
        return False
    run.ignored.append((event.place.id, absent[0]))
    run.awaited.add(absent[1])
    return True


def weight(event: Placed | Disbursed) -> int:
    """Return the money named in an event: while the total of it fits into 64 bits, so does every sum."""
    match event:
        case Repaid() | ChargeAdded() | ChargedBack() | CreditRefunded():
            return event.amount
        case InstalmentDue():
            return sum((event.row.principal, event.row.interest, event.row.fee, event.row.penalty))
        case Rescheduled() | Disbursed():
            return sum(row.principal + row.interest + row.fee + row.penalty for row in event.schedule)
        case _:
            return 0


def book_of(run: Run, base: Disbursed, work: Work, *, as_of: date, waived_after: Stamp | None) -> Book:
    """Return the book of a ledger, with what a later day needs to know about its events."""
    ignored, awaited = run.ignored, run.awaited
    ignored += [(event.place.id, "another disbursement makes the loan") for event in run.found.disbursed if event is not base]
    ignored += [(event_id, f"no {what.replace('_', '-')} {name}".rstrip()) for what, name, event_id in idle_undoings(run.found)]
    awaited |= {f"{what}\0{name}" for what, name, _ in idle_undoings(run.found)}
    awaited |= {AWAITED_CHARGE_OFF for _ in run.found.nameless}
    later = [event for _, event in run.later]
    paid_later = (e.place.day for e in later if type(e) is Repaid and e.repayment_id not in run.found.reversed_payments)
    head = Book(
        known=True,
        as_of=as_of,
        borrower_id=base.borrower_id,
        product=base.product,
        currency=base.currency,
        timezone=base.timezone,
        jurisdictions=base.jurisdictions,
        disbursed_on=base.disbursed_on,
        own_terms=None if work.terms == DEFAULT_TERMS else work.terms,
        awaited=tuple(awaited),
        ignored=tuple(Ignored(*pair) for pair in ignored),
        waived_after=waived_after,
        next_event_on=run.later[0].key[0] if run.later else None,
        repayment_until=max(paid_later, default=None),
        segment=base.segment,
    )
    return closed_book(head, work, as_of=as_of, pending=pending_of(run.found))


def closed_book(head: Book, work: Work, *, as_of: date, pending: tuple[Pending, ...]) -> Book:
    """Return the book of a working copy; what no event changes comes from `head`."""
    bounded(work.turnover)
    awaited, ignored = head.awaited, head.ignored
    if work.waiting:
        awaited = (*awaited, AWAITED_INSTALMENT)
        ignored = (*ignored, *(Ignored(event.place.id, f"no instalment {event.n}") for event in work.waiting))
    if work.unused:
        ignored = (*ignored, *(Ignored(*pair) for pair in work.unused))
    return Book(
        known=True,
        as_of=as_of,
        last=work.last,
        borrower_id=head.borrower_id,
        product=head.product,
        currency=head.currency,
        timezone=head.timezone,
        jurisdictions=head.jurisdictions,
        disbursed_on=head.disbursed_on,
        own_terms=head.own_terms,
        version=work.version,
        rows=tuple(work.rows),
        charges=tuple(work.charges),
        debts=tuple(work.debts),
        credit=tuple(work.credit),
        pauses=tuple(sorted(set(work.pauses), key=lambda pause: (pause.from_on, pause.until or date.max))) if work.pauses else (),
        resumes=tuple(sorted(set(work.resumes))) if work.resumes else (),
        original=work.original,
        charged_off_on=work.charged_off_on,
        written_off_on=work.written_off_on,
        closed_on=work.closed_on,
        pending=pending,
        ignored=tuple(sorted(ignored, key=lambda one: (one.event, one.why))) if ignored else (),
        awaited=tuple(sorted(set(awaited))) if awaited else (),
        waived_after=head.waived_after,
        next_event_on=head.next_event_on,
        repayment_until=head.repayment_until,
        turnover=work.turnover,
        segment=head.segment,
    )
