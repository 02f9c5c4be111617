"""What a book says on a day: everything public except the movements."""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from enum import StrEnum

from services.ingest.domain.allocate import INDEX, charges_paid
from services.ingest.domain.amounts import NOTHING, Amounts, minus, only, plus
from services.ingest.domain.book import Book, Ignored, Instalment
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.events import Component, Parts
from services.ingest.domain.pauses import Span, paused_days, united
from services.ingest.domain.product import AgeBy, Tolerance
from services.ingest.domain.value import Value
from services.ingest.domain.work import DUE_ON, within

NO_PARTS, NO_TOLERANCE = Parts(), Tolerance()


class Status(StrEnum):
    """The status of a loan."""

    ACTIVE = "active"
    OVERPAID = "overpaid"
    CLOSED = "closed"
    WRITTEN_OFF = "written_off"


class Anchor(Value, frozen=True):
    """The oldest overdue instalment, and the day from which its days are counted."""

    n: int
    due_on: date


class NextDue(Value, frozen=True):
    """The next unmet instalment."""

    n: int
    due_on: date
    total: int


class Aged(Value, frozen=True):
    """The overdue amount in one bucket."""

    bucket: str
    amount: int


class ScheduleRow(Value, frozen=True):
    """One instalment for display."""

    n: int
    due_on: date
    down_payment: bool
    due: Parts
    paid: Parts
    in_advance: int
    late: int
    waived: Parts
    outstanding: Parts
    met_on: date | None


class ChargeRow(Value, frozen=True):
    """One charge for display."""

    charge_id: str
    kind: Component
    due_on: date
    amount: int
    paid: int
    waived: int
    outstanding: int


class LoanView(Value, frozen=True):
    """A loan on a day; what facts do not need is computed only when read."""

    book: Book
    as_of: date
    status: Status
    outstanding: Parts
    overdue: Parts
    credit: int
    anchor: Anchor | None
    past_due_days: int
    delinquent_from: date | None
    paused_days: int
    delinquent_days: int
    bucket: str
    next_due: NextDue | None
    spans: tuple[Span, ...]
    dpd_original_from: date | None
    late: tuple["Late", ...]
    ahead: tuple[Instalment, ...]
    """The unmet instalments due on that day or later."""

    @property
    def aged(self) -> tuple[Aged, ...]:
        """What is overdue, by bucket."""
        return _aged(self)

    @property
    def pauses(self) -> tuple[tuple[date, date | None], ...]:
        """The pauses as spans: first day inclusive, last exclusive, None for no end."""
        return tuple((begin, None if end == date.max else end) for begin, end in self.spans)

    @property
    def schedule(self) -> tuple[ScheduleRow, ...]:
        """The instalments, in due date order."""
        return tuple(_schedule_row(self.book, row) for row in self.book.rows)

    @property
    def charges(self) -> tuple[ChargeRow, ...]:
        """The charges, in the order in which they began to count."""
        return charge_rows(self.book)

    @property
    def ignored(self) -> tuple[Ignored, ...]:
        """The events that the fold could not use."""
        return self.book.ignored


class Late(Value, frozen=True):
    """Something overdue: on which instalment, since when, and how much."""

    n: int
    since: date
    amounts: Amounts


def view(book: Book, as_of: date) -> LoanView:
    """Return what the book says on a day on which no other event begins to count."""
    try:
        return _view(book, as_of)
    except OverflowError as error:
        raise CannotFold("a date lies beyond the calendar") from error


def _view(book: Book, as_of: date) -> LoanView:
    status = status_of(book)
    outstanding, unmet = _open_rows(book)
    late: tuple[Late, ...] = ()
    ahead: tuple[Instalment, ...] = ()
    if unmet and status is Status.ACTIVE:
        passed = bisect_left(unmet, as_of, key=DUE_ON)
        ahead = tuple(unmet[passed:])
        late = _late(book, unmet[:passed], ahead, as_of=as_of)
    anchor = Anchor(late[0].n, late[0].since) if late else None
    spans = united(book.pauses, book.resumes) if book.pauses else ()
    terms = book.terms
    past_due = paused = 0
    delinquent_from = None
    if anchor is not None:
        past_due = (as_of - anchor.due_on).days
        paused = paused_days(spans, anchor.due_on, as_of) if spans else 0
        delinquent_from = anchor.due_on + timedelta(days=terms.grace_days)
    delinquent = max(0, past_due - terms.grace_days - paused)
    return LoanView(
        book,
        as_of,
        status,
        NO_PARTS if ended(book) else Parts(*outstanding),
        _parts([item.amounts for item in late]) if late else NO_PARTS,
        sum([lot.amount for lot in book.credit]) if book.credit else 0,
        anchor,
        past_due,
        delinquent_from,
        paused,
        delinquent,
        terms.buckets.name_of(past_due if terms.buckets.by is AgeBy.PAST_DUE_DAYS else delinquent),
        NextDue(ahead[0].n, ahead[0].due_on, ahead[0].left) if ahead else None,
        spans,
        original_anchor(book, as_of) if book.original and status is Status.ACTIVE else None,
        late,
        ahead,
    )


def _open_rows(book: Book) -> tuple[Amounts, list[Instalment]]:
    """Return what is open on all instalments, and those with more than the tolerance left, in due date order."""
    tolerance = book.terms.tolerance
    exact = tolerance is NO_TOLERANCE or tolerance == NO_TOLERANCE
    total, unmet = NOTHING, []
    for row in book.rows:
        if row.left:
            total = plus(total, row.open)
            if row.left > 0 and (exact or not within(tolerance, sum(row.due), row.left)):
                unmet.append(row)
    return total, unmet


def ended(book: Book) -> bool:
    """Return whether nothing is outstanding because the lender has written off or closed the loan."""
    return book.written_off_on is not None or book.closed_on is not None


def status_of(book: Book) -> Status:
    """Return the loan's status; a loan whose first due date has yet to be published is active."""
    if book.written_off_on is not None:
        return Status.WRITTEN_OFF
    if book.closed_on is not None:
        return Status.CLOSED
    if not book.rows:
        return Status.ACTIVE
    for row in book.rows:
        if row.left:
            return Status.ACTIVE
    return Status.OVERPAID if book.credit else Status.CLOSED


def _parts(several: Sequence[Amounts]) -> Parts:
    """Return the sum of several amounts."""
    total = NOTHING
    for amounts in several:
        total = amounts if total is NOTHING else plus(total, amounts)
    return Parts(*total)


def _late(book: Book, passed: Sequence[Instalment], ahead: Sequence[Instalment], *, as_of: date) -> tuple[Late, ...]:
    """Return what is overdue, oldest first.

    On instalments not yet due, that is: what was charged back on the first of them before today in excess of what has been paid there,
    and charges that are themselves overdue.
    """
    late = [Late(row.n, _since(book, row), row.open) for row in passed]
    if ahead and (book.debts or book.charges):
        item = _charged_back_ahead(book, ahead[0], as_of)
        if item is not None:
            late.append(item)
        late += _charges_overdue(book, ahead, as_of, counted=item)
    return tuple(sorted(late, key=lambda one: one.since) if book.debts or book.charges else late)


def _since(book: Book, row: Instalment) -> date:
    """Return since when an overdue instalment counts: a chargeback of more than was paid there resets its date."""
    return (_charged_back(book, row, date.max)[0] if book.debts else None) or row.due_on


def _charged_back(book: Book, row: Instalment, before: date) -> tuple[date | None, int]:
    """Return the day on which chargebacks first exceeded what was paid, and by how much they do."""
    available, since = sum(row.paid), None
    for debt in sorted((d for d in book.debts if d.chargeback and d.at == row.n and d.on < before), key=lambda d: d.on):
        available -= sum(debt.amounts)
        if available < 0 and since is None:
            since = debt.on
    return since, max(0, -available)


def _charged_back_ahead(book: Book, row: Instalment, as_of: date) -> Late | None:
    since, beyond = _charged_back(book, row, as_of)
    if since is None:
        return None
    left, amounts = beyond, NOTHING
    for component, still in enumerate(row.open):
        amounts = plus(amounts, only(component, min(still, left)))
        left -= min(still, left)
    return Late(row.n, since, amounts)


def _charges_overdue(book: Book, rows: Sequence[Instalment], as_of: date, *, counted: Late | None) -> Iterator[Late]:
    """Yield charges due before today on these instalments, which are due later, less what is already counted of one."""
    if not book.charges:
        return
    ahead = {row.n: row.open for row in rows}
    mine = [charge for charge in book.charges if charge.due_on < as_of and charge.at in ahead]
    if not mine:
        return
    if counted is not None:
        ahead[counted.n] = minus(ahead[counted.n], counted.amounts)
    paid = charges_paid(book.rows, book.charges)
    for charge in sorted(mine, key=lambda one: one.due_on):
        component = INDEX[charge.kind]
        amount = min(ahead[charge.at][component], charge.amount - charge.waived - paid[charge.charge_id])
        if amount > 0:
            part = only(component, amount)
            ahead[charge.at] = minus(ahead[charge.at], part)
            yield Late(charge.at, charge.due_on, part)


def _aged(shown: LoanView) -> tuple[Aged, ...]:
    """Put each overdue instalment into the bucket for its own days.

    By delinquent days, that is without grace but less pauses, and only once the loan itself is past its grace.
    """
    book, as_of = shown.book, shown.as_of
    buckets, sums = book.terms.buckets, dict.fromkeys((bound.name for bound in book.terms.buckets.bounds), 0)
    by_delinquency = buckets.by is AgeBy.DELINQUENT_DAYS
    if by_delinquency and not shown.delinquent_days:
        return ()
    own = {row.n: row.due_on for row in book.rows if row.due_on < as_of}
    for item in shown.late:
        since = own.get(item.n, item.since)
        days = (as_of - since).days - (paused_days(shown.spans, since, as_of) if by_delinquency else 0)
        name = buckets.name_of(days)
        if name in sums:
            sums[name] += sum(item.amounts)
    return tuple(Aged(name, amount) for name, amount in sums.items() if amount)


def _schedule_row(book: Book, row: Instalment) -> ScheduleRow:
    open_now = NOTHING if ended(book) else row.open
    met_on = row.met_on
    if row.left and ended(book):
        met_on = row.met_on or min(filter(None, (book.written_off_on, book.closed_on)))
    return ScheduleRow(
        row.n,
        row.due_on,
        row.down_payment,
        Parts(*row.due),
        Parts(*row.paid),
        row.in_advance,
        row.late,
        Parts(*row.waived),
        Parts(*open_now),
        met_on,
    )


def charge_rows(book: Book) -> tuple[ChargeRow, ...]:
    """Return the charges with what has been paid of each."""
    if not book.charges:
        return ()
    paid, over = charges_paid(book.rows, book.charges), ended(book)
    return tuple(
        ChargeRow(
            charge.charge_id,
            charge.kind,
            charge.due_on,
            charge.amount,
            paid[charge.charge_id],
            charge.waived,
            0 if over else charge.amount - charge.waived - paid[charge.charge_id],
        )
        for charge in book.charges
    )


def original_anchor(book: Book, as_of: date) -> date | None:
    """Return the oldest due date of the first schedule not covered by the money received: re-ageing cannot hide it.

    What was paid for charges and for chargebacks and refunds does not count towards it.
    """
    received = sum(sum(row.paid) + sum(row.waived) for row in book.rows) + sum(lot.amount for lot in book.credit)
    received -= sum(charges_paid(book.rows, book.charges).values()) + sum(charge.waived for charge in book.charges)
    received -= sum(sum(debt.amounts) for debt in book.debts)
    return next((due_on for due_on, owed in book.original if owed > received and due_on < as_of), None)


def received(book: Book) -> int:
    """Return all that was paid and not taken back by reversal, by chargeback or as a refund beyond the credit."""
    paid = sum([sum(row.paid) for row in book.rows])
    if book.credit:
        paid += sum(lot.amount for lot in book.credit)
    if book.debts:
        paid -= sum(sum(debt.amounts) for debt in book.debts)
    return max(0, paid)
