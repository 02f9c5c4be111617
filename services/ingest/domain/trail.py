"""The trail of a fold: what each event made due, paid or waived, on which instalment, charge and component.

Nothing is allocated a second time here: a witness compares the instalments after every step of the fold, and each difference is a line.
So the lines of an instalment add up to what is due, paid and waived there, and those of a payment to how the fold allocated it.

A line is negative if something is taken back: by another schedule, which moves what was paid and waived, or by a charge that becomes
the first to be paid on its instalment. Undoing an event leaves no lines, since the fold treats that event as if it had never happened.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from enum import StrEnum
from itertools import zip_longest

from services.ingest.domain.allocate import INDEX, charges_paid
from services.ingest.domain.book import Charge, Instalment
from services.ingest.domain.events import (
    FIRST_DAY,
    ChargedOff,
    Closed,
    Component,
    Disbursed,
    InstalmentDue,
    LoanEvent,
    Paused,
    Place,
    Placed,
    Repaid,
    Rescheduled,
    Resumed,
    Waived,
    WrittenOff,
)
from services.ingest.domain.fold import Trace, trace, weight
from services.ingest.domain.product import ProductLine
from services.ingest.domain.select import identity
from services.ingest.domain.value import Value
from services.ingest.domain.work import Work

COMPONENTS = tuple(sorted(Component, key=INDEX.__getitem__))
_MARKS: dict[type[Placed], str] = {Paused: "pause", Resumed: "resume", Closed: "closing"}


class Side(StrEnum):
    """What happened to the amount of a line."""

    DUE = "due"
    PAID = "paid"
    WAIVED = "waived"


_SIDES = tuple(Side)


class Line(Value, frozen=True):
    """One amount on one component of one instalment, for a charge or for none.

    `by` is the payment whose money it was, or the waiver; None for what is due, and for credit whose payment is no longer known.
    """

    n: int
    due_on: date
    charge_id: str | None
    component: Component
    side: Side
    amount: int
    by: str | None

    @property
    def change(self) -> int:
        """How the line changes what is open."""
        return self.amount if self.side is Side.DUE else -self.amount


class Posting(Value, frozen=True):
    """What one event did on the day on which it counts, and the outstanding amount and credit after it.

    `id` is its key within the loan: the id of a payment, charge, waiver and the like, a schedule's version, an instalment's n.
    `amount` is the money named in it, None if it names none; `undone_by` is the event because of which it did nothing.
    """

    event: Place
    kind: str
    id: str | None
    on: date
    amount: int | None
    undone_by: str | None
    lines: tuple[Line, ...]
    outstanding: int
    credit: int


class Trail(Value, frozen=True):
    """A fold, and the events that it applied, in order."""

    trace: Trace
    postings: tuple[Posting, ...]


def trail(events: Iterable[LoanEvent], product: ProductLine, as_of: date) -> Trail:
    """Return the fold of a loan's events to a day, with what each of them did."""
    recorder = _Recorder()
    traced = trace(events, product, as_of, witness=recorder)
    return Trail(traced, tuple(recorder.postings))


_RowKey = tuple[int, date | None]
_Spot = tuple[Side, int, str | None]
"""Where on an instalment an amount is: side, component, charge."""


class _Recorder:
    """Compares the instalments after each step and records the differences."""

    def __init__(self) -> None:
        self.postings: list[Posting] = []
        self._first_day = FIRST_DAY
        self._lines: list[Line] = []
        self._rows: list[Instalment] = []
        self._spots: dict[_RowKey, dict[_Spot, int]] = {}
        self._charges: list[Charge] = []
        self._on_row: dict[int, list[Charge]] = defaultdict(list)
        self._open, self._credit = 0, 0

    def began(self, work: Work, event: Disbursed | Placed, on: date) -> None:
        """Record the first schedule."""
        self._first_day = on
        self.took(work, event, on)

    def saw(self, work: Work, by: str | None) -> None:
        """Record what has changed, and whose money or waiver it was."""
        touched = self._with_other_charges(work.charges)
        before, self._rows = self._rows, list(work.rows)
        changed = [(old, row) for old, row in zip_longest(before, self._rows) if old is not row or row.n in touched]
        here = {_key(row) for _, row in changed if row is not None}
        for old, _ in changed:
            if old is not None and _key(old) not in here:
                self._note(old, {}, by)
        for _, row in changed:
            if row is not None:
                self._note(row, _spots(row, self._on_row.get(row.n, ())), by)

    def took(self, work: Work, event: Disbursed | Placed, on: date) -> None:
        """Close the posting of an event."""
        self.saw(work, event.waiver_id if isinstance(event, Waived) else None)
        self._open += sum(line.change for line in self._lines)
        self._credit = work.credit_left
        ended = work.written_off_on is not None or work.closed_on is not None
        self._post(event, on, outstanding=0 if ended else self._open, amount=_amount(work, event))

    def left_out(self, event: Placed, on: date, undone_by: str) -> None:
        """Post an event that has no effect, with the event that undoes it."""
        outstanding = self.postings[-1].outstanding if self.postings else 0
        self._post(event, on, outstanding=outstanding, amount=_money_of(event), undone_by=undone_by)

    def _post(self, event: Disbursed | Placed, on: date, *, outstanding: int, amount: int | None, undone_by: str | None = None) -> None:
        kind, name = _named(event)
        day = self._first_day if on == FIRST_DAY else on
        lines, self._lines = tuple(self._lines), []
        self.postings.append(Posting(event.place, kind, name, day, amount, undone_by, lines, outstanding, self._credit))

    def _with_other_charges(self, charges: list[Charge]) -> set[int]:
        """Note the current charges and return the instalments on which one may have been added, removed or changed."""
        known, touched = len(self._charges), set[int]()
        if charges[:known] != self._charges:
            known, touched = 0, set(self._on_row)
            self._on_row.clear()
        for charge in charges[known:]:
            self._on_row[charge.at].append(charge)
            touched.add(charge.at)
        self._charges = list(charges)
        return touched

    def _note(self, row: Instalment, after: dict[_Spot, int], by: str | None) -> None:
        before = self._spots.pop(_key(row), {})
        if after:
            self._spots[_key(row)] = after
        for spot in sorted({spot for spot, _ in before.items() ^ after.items()}, key=_in_order):
            side, component, charge_id = spot
            amount, whose = after.get(spot, 0) - before.get(spot, 0), None if side is Side.DUE else by
            self._lines.append(Line(row.n, row.due_on, charge_id, COMPONENTS[component], side, amount, whose))


def _key(row: Instalment) -> _RowKey:
    """Identify an instalment by number and day, so that schedules are kept apart; the extra one moves but stays the same."""
    return row.n, None if row.extra else row.due_on


def _spots(row: Instalment, charges: Sequence[Charge]) -> dict[_Spot, int]:
    """Return the amounts on an instalment: first what is due, paid and waived of its charges, then the rest of each component."""
    rest = {Side.DUE: list(row.due), Side.PAID: list(row.paid), Side.WAIVED: list(row.waived)}
    found: dict[_Spot, int] = {}
    for charge, amounts in _of_charges(row, charges):
        component = INDEX[charge.kind]
        for side, amount in zip(_SIDES, amounts, strict=True):
            if part := min(amount, rest[side][component]):
                rest[side][component] -= part
                found[side, component, charge.charge_id] = part
    found.update({(side, component, None): amount for side, parts in rest.items() for component, amount in enumerate(parts) if amount})
    return found


def _of_charges(row: Instalment, charges: Sequence[Charge]) -> Iterator[tuple[Charge, tuple[int, int, int]]]:
    if charges:
        paid = charges_paid([row], charges)
        for charge in charges:
            yield charge, (charge.amount, paid[charge.charge_id], charge.waived)


def _in_order(spot: _Spot) -> tuple[int, int, bool, str]:
    side, component, charge_id = spot
    return _SIDES.index(side), component, charge_id is None, charge_id or ""


def _named(event: Disbursed | Placed) -> tuple[str, str | None]:
    """Return the kind of an event, and its key within the loan."""
    match event:
        case Disbursed():
            return "disbursement", None
        case Rescheduled():
            return "reschedule", str(event.version)
        case InstalmentDue():
            return "instalment", str(event.row.n)
        case Paused() | Resumed() | Closed():
            return _MARKS[type(event)], None
        case Repaid():
            return event.kind.value, event.repayment_id
        case _:
            return identity(event)


def _money_of(event: Disbursed | Placed) -> int | None:
    """Return the money named in an event; None if it names none."""
    match event:
        case Waived():
            return event.amount
        case Paused() | Resumed() | ChargedOff() | WrittenOff() | Closed():
            return None
        case _:
            return weight(event)


def _amount(work: Work, event: Disbursed | Placed) -> int | None:
    """Return the money of an event; for a charge-off or write-off that is what was open."""
    kind, name = _named(event)
    entry = (work.entries or {}).get(f"{kind}\0{name}")
    return _money_of(event) if entry is None else entry.amount
