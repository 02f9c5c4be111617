"""What is owed and how money is laid on it, as the public contract says it: the rows of the second reading of the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any

COMPONENTS = ("principal", "interest", "fee", "penalty")
CLASSES = ("past_due", "due", "in_advance")
Allocation = Mapping[str, Any]


@dataclass
class Laid:
    """Money on a debt: whose it was, the day on which it counts, and the due date of the instalment when it was laid."""

    by: str
    on: date
    amount: int
    due_on: date


@dataclass
class Debt:
    """One sum owed: a component of an instalment, a charge, or a component that a chargeback brought back."""

    source: str
    component: str
    amount: int
    due_on: date
    begins: date
    n: int | None = None
    waived: int = 0
    laid: list[Laid] = field(default_factory=list)

    @property
    def paid(self) -> int:
        return sum(one.amount for one in self.laid)

    @property
    def open(self) -> int:
        return self.amount - self.waived - self.paid

    @property
    def is_charge(self) -> bool:
        return self.source.startswith("charge ")

    @property
    def is_chargeback(self) -> bool:
        return self.source.startswith("chargeback ")


@dataclass
class Row:
    n: int
    due_on: date
    down_payment: bool
    debts: list[Debt]
    extra: bool = False

    @property
    def open(self) -> int:
        return sum(debt.open for debt in self.debts)

    @property
    def paid(self) -> int:
        return sum(debt.paid for debt in self.debts)

    def of(self, component: str) -> list[Debt]:
        return [debt for debt in self.debts if debt.component == component]


@dataclass
class Lot:
    """Credit left of one movement."""

    by: str
    kind: str
    on: date
    amount: int


def zero() -> dict[str, int]:
    return dict.fromkeys(COMPONENTS, 0)


def half_even(amount: int, parts: int) -> int:
    return round(Fraction(amount, parts))


@dataclass
class Book:
    """The rows in force with what was added to them, and the borrower's credit."""

    allocation: Allocation
    first_day: date
    scheduled: list[Row] = field(default_factory=list)
    added: list[Debt] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """The instalments by their due date, each with its own charges and chargebacks, and the one behind them."""
        rows = [Row(row.n, row.due_on, row.down_payment, list(row.debts)) for row in self.scheduled]
        behind: list[Debt] = []
        for debt in self.added:
            row = self.place(debt, rows, has_more=bool(behind))
            (behind if row is None else row.debts).append(debt)
        if behind:
            number = max((row.n for row in rows), default=0) + 1
            rows.append(Row(number, max(debt.due_on for debt in behind), False, behind, extra=True))
        for row in rows:
            row.debts.sort(key=lambda debt: debt.due_on)
        return rows

    def place(self, debt: Debt, rows: Sequence[Row], *, has_more: bool) -> Row | None:
        """The instalment that carries a charge or a chargeback; None for the one behind the schedule, which may be there already."""
        if debt.is_charge:
            named = [row for row in rows if row.n == debt.n]
            if named:
                return named[0]
            return next((row for row in rows if not row.down_payment and debt.due_on <= row.due_on), None)
        skips = self.allocation["chargeback_skips_down_payment"]
        fit = [row for row in rows if not (skips and row.down_payment)]
        later = next((row for row in fit if row.due_on > debt.due_on), None)
        if later is None and not has_more and fit and debt.due_on == rows[-1].due_on:
            return fit[-1]
        return later

    def row_of(self, debt: Debt) -> Row:
        return next(row for row in self.rows() if any(other is debt for other in row.debts))

    def credit(self) -> int:
        return sum(lot.amount for lot in self.lots)

    def take_credit(self, amount: int) -> int:
        """Take from the oldest credit first; return how much was there."""
        taken = 0
        for lot in self.lots:
            part = min(lot.amount, amount - taken)
            lot.amount -= part
            taken += part
        self.lots = [lot for lot in self.lots if lot.amount]
        return taken


@dataclass
class Payment:
    """Money to be laid: by whom, of which kind, the day it counts, the day by which dues are classed."""

    by: str
    kind: str
    on: date
    classed_on: date
    amount: int
    spread: dict[str, int] = field(default_factory=zero)

    def lay(self, row: Row, debt: Debt, most: int) -> int:
        part = min(most, debt.open, self.amount)
        if part > 0:
            debt.laid.append(Laid(self.by, self.on, part, row.due_on))
            self.amount -= part
            self.spread[debt.component] += part
        return max(part, 0)


def class_of(row: Row, debt: Debt, payment: Payment, allocation: Allocation) -> str:
    if row.due_on < payment.classed_on:
        return "past_due"
    if row.due_on == payment.classed_on:
        return "due"
    if allocation["charge_class_by"] == "charge_due_date" and debt.is_charge and debt.due_on <= payment.classed_on:
        return "due"
    return "in_advance"


def slots(allocation: Allocation) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The turns of an allocation: a due class with the components that are paid together at one instalment."""
    pairs = []
    for entry in allocation["order"]:
        due_class, _, component = entry.rpartition("_")
        pairs.append((due_class, component))
    if allocation["mode"] == "vertical":
        for due_class, component in pairs:
            yield due_class, (component,)
        return
    for due_class in dict.fromkeys(pair[0] for pair in pairs):
        yield due_class, tuple(component for other, component in pairs if other == due_class)


def lay_by_rules(payment: Payment, book: Book, kind: str) -> None:
    """Lay a payment on what is open, turn by turn; what is left of it stays in the payment."""
    for due_class, components in slots(book.allocation):
        future = due_class == "in_advance"
        rule = book.allocation["future_instalments"].get(kind, book.allocation["future_instalments"].get("default", "next"))
        if future and rule == "spread":
            lay_evenly(payment, book, due_class, components)
            continue
        rows = book.rows()
        for row in reversed(rows) if future and rule == "last" else rows:
            lay_on_row(payment, row, book.allocation, due_class, components, payment.amount)


def lay_on_row(payment: Payment, row: Row, allocation: Allocation, due_class: str, components: Sequence[str], most: int) -> None:
    for component in components:
        for debt in row.of(component):
            if class_of(row, debt, payment, allocation) == due_class:
                most -= payment.lay(row, debt, most)


def lay_evenly(payment: Payment, book: Book, due_class: str, components: Sequence[str]) -> None:
    def open_in(row: Row) -> int:
        debts = [debt for component in components for debt in row.of(component)]
        return sum(debt.open for debt in debts if class_of(row, debt, payment, book.allocation) == due_class)

    while payment.amount and (rows := [row for row in book.rows() if open_in(row)]):
        part, left = half_even(payment.amount, len(rows)), payment.amount
        for row in rows[:-1]:
            lay_on_row(payment, row, book.allocation, due_class, components, min(part, left))
            left -= min(part, left)
        lay_on_row(payment, rows[-1], book.allocation, due_class, components, left)


def lay_as_told(payment: Payment, book: Book, allocations: Sequence[Mapping[str, int]]) -> None:
    """Lay what the publisher says where he says it, each sum up to what is open there."""
    for told in allocations:
        for row in book.rows():
            if row.n != told["n"]:
                continue
            for component in ("penalty", "fee", "interest", "principal"):
                most = told.get(component, 0)
                for debt in row.of(component):
                    most -= payment.lay(row, debt, most)
