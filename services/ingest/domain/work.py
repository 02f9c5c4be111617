"""The ledger while it is being folded: a mutable copy of a book, never seen outside a fold."""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from operator import attrgetter
from typing import Protocol

from services.ingest.domain.amounts import NOTHING, Amounts, least, minus, plus
from services.ingest.domain.book import Book, Charge, Debt, Instalment, Lot, Pause, Terms
from services.ingest.domain.events import Disbursed, Place, Placed, Row, Waived
from services.ingest.domain.product import Allocation, Tolerance
from services.ingest.domain.value import Draft, field

DUE_ON = attrgetter("due_on")
MOST_LOTS = 16
"""Beyond this number the two oldest credits are merged, so that a book does not grow with the payments of an overpaid loan."""


@dataclass(slots=True)
class Entry:
    """How one movement was allocated so far."""

    id: str
    kind: str
    on: date
    amount: int
    split: Amounts = NOTHING
    credit: int | None = None
    explicit: int = 0
    reversed: bool = False


class Witness(Protocol):
    """Watches a fold in order to record its trail; reads the work and keeps nothing of it but values."""

    def began(self, work: "Work", event: Disbursed | Placed, on: date) -> None:
        """This event has put the first schedule in place."""
        ...

    def saw(self, work: "Work", by: str | None) -> None:
        """What has changed since the last call was done with this payment's money or by this waiver; None if by neither."""
        ...

    def took(self, work: "Work", event: Placed, on: date) -> None:
        """An event has been applied."""
        ...

    def left_out(self, event: Placed, on: date, undone_by: str) -> None:
        """An event has been left out because another undoes it."""
        ...


class Work(Draft):
    """The content of a `Book`, in lists; `entries` only if splits are asked for, and `witness` only together with them.

    `traced` keeps credits separate, so that no payment is shown as paying with the money of another.
    """

    terms: Terms
    allocation: Allocation
    rows: list[Instalment]
    version: int = 0
    traced: bool = False
    charges: list[Charge] = field(default_factory=list)
    debts: list[Debt] = field(default_factory=list)
    credit: list[Lot] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    resumes: list[date] = field(default_factory=list)
    original: tuple[tuple[date, int], ...] = ()
    charged_off_on: date | None = None
    written_off_on: date | None = None
    closed_on: date | None = None
    last: Place | None = None
    currency: str = ""
    turnover: int = 0
    waiting: list[Waived] = field(default_factory=list)
    entries: dict[str, Entry] | None = None
    witness: Witness | None = None
    returned: dict[str, Amounts] = field(default_factory=dict)
    unused: list[tuple[str, str]] = field(default_factory=list)

    @property
    def credit_left(self) -> int:
        """The sum of all credit."""
        return sum(lot.amount for lot in self.credit)


def reopened(book: Book, allocation: Allocation) -> Work:
    """Return a working copy of a book."""
    return Work(
        terms=book.terms,
        allocation=allocation,
        rows=list(book.rows),
        version=book.version,
        charges=list(book.charges),
        debts=list(book.debts),
        credit=list(book.credit),
        pauses=list(book.pauses),
        resumes=list(book.resumes),
        original=book.original,
        charged_off_on=book.charged_off_on,
        written_off_on=book.written_off_on,
        closed_on=book.closed_on,
        last=book.last,
        currency=book.currency,
        turnover=book.turnover,
    )


def blank(row: Row) -> Instalment:
    """Return an instalment on which nothing has happened."""
    due = (row.principal, row.interest, row.fee, row.penalty)
    return Instalment(row.n, row.due_on, row.down_payment, extra=False, due=due, left=sum(due))


def laid_out(schedule: Iterable[Row]) -> list[Instalment]:
    """Return the schedule in due date order."""
    return sorted(map(blank, schedule), key=lambda row: (row.due_on, row.n))


def within(tolerance: Tolerance, row_due: int, left: int) -> bool:
    """Return whether what is left is within the tolerance; exact, in whole numbers."""
    return left <= 0 or left <= tolerance.amount or left * 1_000_000 <= tolerance.millionths * row_due


def met(work: Work, row: Instalment) -> bool:
    """Return whether no more than the tolerance is left of an instalment."""
    return row.left <= 0 or within(work.terms.tolerance, sum(row.due), row.left)


def row_with(work: Work, n: int) -> int | None:
    """Return the index of instalment `n`."""
    for at, row in enumerate(work.rows):
        if row.n == n:
            return at
    return None


def classes(work: Work, on: date) -> tuple[int, int]:
    """Return the range of the instalments due on that day."""
    first = bisect_left(work.rows, on, key=DUE_ON)
    end = first
    while end < len(work.rows) and work.rows[end].due_on == on:
        end += 1
    return first, end


def pay(work: Work, at: int, amounts: Amounts, on: date) -> None:
    """Book money on an instalment; the caller has made sure that this much is open there."""
    row = work.rows[at]
    total = amounts[0] + amounts[1] + amounts[2] + amounts[3]
    left = row.left - total
    work.rows[at] = Instalment(
        row.n,
        row.due_on,
        row.down_payment,
        row.extra,
        row.due,
        plus(row.paid, amounts),
        row.waived,
        left,
        row.in_advance + total if on < row.due_on else row.in_advance,
        row.late + total if on > row.due_on else row.late,
        on if row.met_on is None and (left <= 0 or within(work.terms.tolerance, sum(row.due), left)) else row.met_on,
    )


def owe(work: Work, at: int, amounts: Amounts, *, due_on: date | None = None) -> None:
    """Add to what is owed on an instalment, perhaps with a later due date."""
    row = work.rows[at]
    due, left = plus(row.due, amounts), row.left + sum(amounts)
    still_met = row.met_on is not None and within(work.terms.tolerance, sum(due), left)
    work.rows[at] = Instalment(
        row.n,
        due_on or row.due_on,
        row.down_payment,
        row.extra,
        due,
        row.paid,
        row.waived,
        left,
        row.in_advance,
        row.late,
        row.met_on if still_met else None,
    )


def waive(work: Work, at: int, amounts: Amounts, on: date) -> Amounts:
    """Waive these amounts as far as they are open, and return what was waived."""
    row = work.rows[at]
    given = least(row.open, amounts)
    left = row.left - sum(given)
    work.rows[at] = Instalment(
        row.n,
        row.due_on,
        row.down_payment,
        row.extra,
        row.due,
        row.paid,
        plus(row.waived, given),
        left,
        row.in_advance,
        row.late,
        on if row.met_on is None and any(given) and within(work.terms.tolerance, sum(row.due), left) else row.met_on,
    )
    return given


def outstanding(work: Work) -> Amounts:
    """Return what is open on all instalments."""
    total = NOTHING
    for row in work.rows:
        if row.left:
            total = plus(total, row.open)
    return total


def record_split(work: Work, movement: str, amounts: Amounts) -> None:
    """Record how a movement was allocated, if splits are asked for."""
    if work.entries is None:
        return
    if movement in work.entries:
        entry = work.entries[movement]
        entry.split = plus(entry.split, amounts)
    show_witness(work, movement or None)


def show_witness(work: Work, by: str | None = None) -> None:
    """Show the witness, if there is one, what has been done with this payment's money or by this waiver."""
    if work.witness is not None:
        work.witness.saw(work, by)


def keep_credit(work: Work, lot: Lot) -> None:
    """Keep what is left of a payment as credit."""
    if lot.amount <= 0:
        return
    work.credit.append(lot)
    if len(work.credit) > MOST_LOTS and not work.traced:
        first, second = work.credit[:2]
        work.credit[:2] = [Lot(second.id, second.kind, second.on, first.amount + second.amount)]


def take_credit(work: Work, amount: int) -> int:
    """Use credit, oldest first, and return how much was used."""
    wanted = amount
    while wanted and work.credit:
        lot = work.credit[0]
        used = min(lot.amount, wanted)
        wanted -= used
        if used == lot.amount:
            del work.credit[0]
        else:
            work.credit[0] = Lot(lot.id, lot.kind, lot.on, lot.amount - used)
    return amount - wanted


def carried(old: Instalment, new: Instalment, *, tolerance: Tolerance, on: date) -> tuple[Instalment, int]:
    """Return the new instalment with what was paid and waived on the old one, and the payments that do not fit on it.

    An instalment reduced to what was paid is met on the day of the reduction; one on which nothing is owed any more has nothing to meet,
    and what the tolerance already covered is not newly met by a new schedule.
    """
    paid = least(old.paid, new.due)
    waived = least(old.waived, minus(new.due, paid))
    gone = sum(old.paid) - sum(paid)
    late = min(old.late, sum(paid))
    left = sum(new.due) - sum(paid) - sum(waived)
    cut = any(new.due) and not within(tolerance, sum(old.due), old.left)
    row = Instalment(
        new.n,
        new.due_on,
        new.down_payment,
        new.extra,
        new.due,
        paid,
        waived,
        left,
        min(old.in_advance, sum(paid) - late),
        late,
        (old.met_on or (on if cut else None)) if within(tolerance, sum(new.due), left) else None,
    )
    return row, gone
