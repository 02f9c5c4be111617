"""What is owed and how money is allocated to it, by the public contract: the rows of the second implementation of the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import Any

COMPONENTS = ("penalty", "fee", "interest", "principal")
"""In the default order in which money is allocated to them."""
Parts = dict[str, int]


def zero() -> Parts:
    return dict.fromkeys(COMPONENTS, 0)


@dataclass
class Row:
    """An instalment with what was paid and waived there; `due` holds what the schedule requires and what was added to it."""

    n: int
    due_on: date
    down_payment: bool
    due: Parts
    extra: bool = False
    paid: Parts = field(default_factory=zero)
    waived: Parts = field(default_factory=zero)
    in_advance: int = 0
    late: int = 0
    met_on: date | None = None

    def open(self, component: str) -> int:
        return self.due[component] - self.paid[component] - self.waived[component]

    @property
    def left(self) -> int:
        return sum(self.open(component) for component in COMPONENTS)


@dataclass
class Added:
    """A charge, or a sum owed again after a chargeback or refund, and the instalment that carries it."""

    id: str
    kind: str
    parts: Parts
    due_on: date
    component: str = "principal"
    asked: int | None = None
    at: int = 0
    waived: int = 0

    @property
    def amount(self) -> int:
        return sum(self.parts.values())


@dataclass
class Lot:
    """Credit left from a movement; None where it is no longer known which."""

    by: str | None
    kind: str
    on: date
    amount: int


@dataclass
class Money:
    """Money to allocate: the day it counts, which also decides what is due, and what became of it."""

    on: date
    amount: int
    kind: str = "default"
    spread: Parts = field(default_factory=zero)


@dataclass
class Book:
    """The instalments in force by due date, what was added to them, and the borrower's credit."""

    allocation: Mapping[str, Any]
    tolerance: Mapping[str, Any]
    rows: list[Row]
    added: list[Added] = field(default_factory=list)
    lots: list[Lot] = field(default_factory=list)

    @property
    def charges(self) -> list[Added]:
        return [one for one in self.added if one.kind == "charge"]

    def row(self, n: int | None) -> Row | None:
        return next((row for row in self.rows if row.n == n), None)

    def is_met(self, row: Row) -> bool:
        most = Fraction(str(self.tolerance.get("percent", 0))) / 100 * sum(row.due.values())
        return bool(row.left <= max(self.tolerance.get("amount", 0), most, 0))

    def look(self, row: Row, day: date) -> None:
        """Note the day on which an instalment is fully met, or that something is open again."""
        if not self.is_met(row) or not any(row.due.values()):
            row.met_on = None
        elif row.met_on is None:
            row.met_on = day

    def put(self, added: Added) -> Row:
        """Add it to its instalment."""
        row = self.place(added)
        added.at = row.n
        was_met = row.met_on
        for component in COMPONENTS:
            row.due[component] += added.parts[component]
        row.met_on = was_met if self.is_met(row) else None
        return row

    def place(self, added: Added) -> Row:
        if added.kind == "charge":
            asked = self.row(added.asked)
            fit = [row for row in self.rows if not (row.extra or row.down_payment) and added.due_on <= row.due_on]
            return asked or (fit[0] if fit else self.behind(added.due_on))
        skips = self.allocation["chargeback_skips_down_payment"]
        fit = [row for row in self.rows if not (skips and row.down_payment)]
        later = [row for row in fit if row.due_on > added.due_on]
        if later:
            return later[0]
        last = self.rows[-1] if self.rows else None
        return last if last and last in fit and last.due_on == added.due_on else self.behind(added.due_on)

    def behind(self, due_on: date) -> Row:
        """The one instalment outside the schedule, due on that day or later."""
        extra = next((row for row in self.rows if row.extra), None)
        if extra is None:
            extra = Row(max((row.n for row in self.rows), default=0) + 1, due_on, False, zero(), extra=True)
            self.rows.append(extra)
        extra.due_on = max(extra.due_on, due_on)
        self.rows.sort(key=lambda row: (row.due_on, row.n))
        return extra

    def paid_of(self, charge: Added) -> int:
        """What was paid towards a charge: money on a component goes to the charge that is due first."""
        row = self.row(charge.at)
        left = row.paid[charge.component] if row else 0
        for other in sorted(self.charges, key=lambda one: one.due_on):
            if other.at == charge.at and other.component == charge.component:
                part = min(left, other.amount - other.waived)
                if other is charge:
                    return part
                left -= part
        raise AssertionError(charge)

    def open_of(self, charge: Added) -> int:
        row = self.row(charge.at)
        return min(row.open(charge.component) if row else 0, charge.amount - charge.waived - self.paid_of(charge))

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

    def pay(self, row: Row, component: str, money: Money, most: int) -> int:
        part = max(min(most, row.open(component), money.amount), 0)
        row.paid[component] += part
        row.in_advance += part if money.on < row.due_on else 0
        row.late += part if money.on > row.due_on else 0
        money.amount -= part
        money.spread[component] += part
        if part:
            self.look(row, money.on)
        return part


def turns(allocation: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The turns of an allocation: a due class with the components that are paid together on one instalment."""
    pairs = [tuple(entry.rsplit("_", 1)) for entry in allocation["order"]]
    early = allocation["charge_class_by"] == "charge_due_date"
    classes = list(dict.fromkeys(when for when, _ in pairs))
    found: list[tuple[str, list[str]]] = [(when, [part]) for when, part in pairs]
    if allocation["mode"] == "horizontal":
        found = [(when, [part for other, part in pairs if other == when]) for when in classes]
    for when, parts in found:
        if early and when == "in_advance":
            yield "charges_due", [part for other, part in pairs if other == "due"]
            early = False
        yield when, parts


def lay_by_rules(money: Money, book: Book) -> None:
    """Allocate money to what is open, turn by turn; the remainder stays in `money`."""
    rules = book.allocation["future_instalments"]
    rule = rules.get(money.kind, rules.get("default", "next"))
    for when, parts in turns(book.allocation):
        late = [row for row in book.rows if row.due_on < money.on]
        now = [row for row in book.rows if row.due_on == money.on]
        ahead = [row for row in book.rows if row.due_on > money.on]
        if when == "charges_due":
            for row in ahead:
                lay_on_charges_due(money, book, row, parts)
        elif when == "in_advance" and rule == "spread":
            lay_evenly(money, book, ahead, parts)
        else:
            rows = {"past_due": late, "due": now, "in_advance": ahead[::-1] if rule == "last" else ahead}[when]
            for row in rows:
                lay_on_row(money, book, row, parts, money.amount)


def lay_on_row(money: Money, book: Book, row: Row, parts: Sequence[str], most: int) -> None:
    for part in parts:
        most -= book.pay(row, part, money, most)


def lay_on_charges_due(money: Money, book: Book, row: Row, parts: Sequence[str]) -> None:
    """Pay those charges that are themselves due on an instalment that is not."""
    for part in parts:
        due = [one for one in book.charges if one.at == row.n and one.component == part and one.due_on <= money.on]
        book.pay(row, part, money, sum(one.amount - one.waived - book.paid_of(one) for one in due))


def lay_evenly(money: Money, book: Book, ahead: Sequence[Row], parts: Sequence[str]) -> None:
    """Equal parts over all open future instalments, rounded half to even, remaining cents to the last, until nothing is left."""
    while money.amount and (rows := [row for row in ahead if any(row.open(part) for part in parts)]):
        part, left = round(Fraction(money.amount, len(rows))), money.amount
        for row in rows[:-1]:
            lay_on_row(money, book, row, parts, min(part, left))
            left = max(left - part, 0)
        lay_on_row(money, book, rows[-1], parts, left)


def lay_as_told(money: Money, book: Book, allocations: Sequence[Mapping[str, int]]) -> None:
    """Allocate as the publisher says, each sum up to what is open there."""
    for told in allocations:
        row = book.row(told["n"])
        for component in COMPONENTS if row else ():
            assert row
            book.pay(row, component, money, told.get(component, 0))


def own_waived(book: Book, row: Row) -> Parts:
    """What was waived of an instalment itself, not of a charge on it."""
    own = dict(row.waived)
    for charge in book.charges:
        if charge.at == row.n:
            own[charge.component] = max(own[charge.component] - charge.waived, 0)
    return own


def change_schedule(book: Book, rows: list[Row], day: date) -> int:
    """Put another schedule in force; payments stay where the due date is the same. Return what no longer fits."""
    before = [(row, own_waived(book, row)) for row in book.rows]
    book.rows = rows
    for added in sorted(book.added, key=lambda one: one.kind != "charge"):
        book.put(added)
    left, freed, met = list(book.rows), 0, dict[int, date | None]()
    for old, waived in before:
        heirs = [row for row in left if (row.extra and old.extra) or same_day(row, old)]
        if heirs:
            heir = min(heirs, key=lambda row: row.n != old.n)
            left.remove(heir)
            met[heir.n] = old.met_on
            freed += inherit(book, old, heir, waived=waived, day=day)
        else:
            freed += sum(old.paid.values())
    for row in book.rows:
        for charge in [one for one in book.charges if one.at == row.n and one.waived]:
            row.waived[charge.component] += min(charge.waived, row.open(charge.component))
            if row.met_on is None:
                book.look(row, met.get(row.n) or day)
    return freed


def same_day(row: Row, old: Row) -> bool:
    return not (row.extra or old.extra) and (row.due_on, row.down_payment) == (old.due_on, old.down_payment)


def inherit(book: Book, old: Row, new: Row, *, waived: Parts, day: date) -> int:
    for component in COMPONENTS:
        new.paid[component] = min(old.paid[component], new.due[component])
        new.waived[component] = min(waived[component], new.due[component] - new.paid[component])
    paid = sum(new.paid.values())
    new.late = min(old.late, paid)
    new.in_advance = min(old.in_advance, paid - new.late)
    new.met_on = old.met_on if book.is_met(new) else None
    if any(new.due.values()) and not book.is_met(old):
        book.look(new, day)
    return sum(old.paid.values()) - paid
