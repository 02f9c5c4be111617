"""A second implementation of the loan ledger from the public contract: slow, simple, refolded from scratch for every question.

It shares no code with `services.ingest`. Which events count is in `second_ledger_story.py`, what is owed in `second_ledger_rows.py`,
what it answers in `second_ledger_view.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from tests.support.second_ledger_rows import (
    COMPONENTS,
    Added,
    Book,
    Lot,
    Money,
    Parts,
    Row,
    change_schedule,
    lay_as_told,
    lay_by_rules,
    zero,
)
from tests.support.second_ledger_story import Event, Story, kind_of, told


@dataclass
class Movement:
    id: str
    kind: str
    on: date
    amount: int
    spread: dict[str, int] = field(default_factory=zero)
    credit: int = 0
    explicit: int = 0
    reversed: bool = False


@dataclass
class Fold:
    """The loan after the events up to a day."""

    story: Story
    book: Book
    movements: dict[str, Movement] = field(default_factory=dict)
    version: int = 0
    ended: str | None = None
    day: date = date.max
    ended_on: date | None = None
    waiting: list[Event] = field(default_factory=list)
    returned: dict[str, Parts] = field(default_factory=dict)

    def movement(self, event: Event, name: str, kind: str, amount: int) -> Movement:
        made = Movement(event["data"].get(name) or event["id"], kind, self.story.day_of(event), amount)
        self.movements[event["id"]] = made
        return made

    def pay_from_credit_as_paid(self) -> None:
        """Let earlier payments pay what has become known since, each as of its own day."""
        for lot in self.book.lots:
            money = Money(lot.on, lot.amount, lot.kind)
            lay_by_rules(money, self.book)
            lot.amount = money.amount
            movement = self.movements.get(lot.by or "")
            for component in COMPONENTS if movement else ():
                assert movement
                movement.spread[component] += money.spread[component]
                movement.credit -= money.spread[component]
        self.book.lots = [lot for lot in self.book.lots if lot.amount]

    def try_waiting(self) -> None:
        """Waivers of an instalment that did not exist yet take effect with it."""
        waiting, self.waiting = self.waiting, []
        for event in waiting:
            on_waived(self, event, self.story.day_of(event))

    def pay_from_credit(self, day: date) -> None:
        """Use the borrower's credit on a day, by the default order."""
        money = Money(day, self.book.credit())
        lay_by_rules(money, self.book)
        self.book.take_credit(sum(money.spread.values()))


def schedule_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    found = []
    for row in sorted(rows, key=lambda row: (row["due_on"], row["n"])):
        due = {component: row.get(component) or 0 for component in COMPONENTS}
        found.append(Row(row["n"], date.fromisoformat(row["due_on"]), bool(row.get("down_payment")), due))
    return found


def from_first_day(story: Story, day: date) -> Event | None:
    """The highest schedule that applies from the first day, of those that have begun."""
    begun = [event for event in story.of("loan.rescheduled") if story.day_of(event) <= day]
    anew = [event for event in begun if event["data"]["effect"] == "from_start"]
    return max(anew, key=lambda event: int(event["data"]["version"]), default=None)


def fold(story: Story, day: date) -> Fold:
    """Apply the events up to a day one by one, from scratch."""
    anew = from_first_day(story, day)
    first = story.data if anew is None else anew["data"]
    tolerance = story.data.get("tolerance") or story.product["tolerance"]
    made = Fold(story, Book(story.allocation, tolerance, schedule_rows(first.get("schedule") or [])))
    made.day = day
    made.version = 0 if anew is None else first["version"]
    steps = [event for event in story.counting(*TAKEN) if event is not anew]
    steps += [event for event in story.of("repayment.received") if story.is_undone(event)]
    for event in sorted(steps, key=story.turn_of):
        superseded = kind_of(event) == "instalment.due" and anew is not None and story.turn_of(event) < story.turn_of(anew)
        if story.day_of(event) <= day and not superseded:
            TAKEN[kind_of(event)](made, event, story.turn_of(event)[0])
    return made


def on_instalment(made: Fold, event: Event, day: date) -> None:
    """Add an instalment published on its own; what is behind the schedule, and what was paid there, is moved."""
    data, book = event["data"], made.book
    there = book.row(data["n"])
    if data.get("currency") not in (None, made.story.data["currency"]) or (there and not there.extra):
        return
    [new] = schedule_rows([data])
    last = max(((row.due_on, row.n) for row in book.rows), default=(date.min, 0))
    if last < (new.due_on, new.n) and not any(row.extra for row in book.rows) and not any(one.asked == new.n for one in book.charges):
        book.rows.append(new)
    else:
        lay_anew(made, new, day)
    made.try_waiting()
    made.pay_from_credit_as_paid()


def lay_anew(made: Fold, new: Row, day: date) -> None:
    """Insert an instalment among the others; what was added to them is placed again."""
    book = made.book
    bare = [Row(row.n, row.due_on, row.down_payment, bare_due(book, row)) for row in book.rows if not row.extra]
    rows = sorted([*bare, new], key=lambda row: (row.due_on, row.n))
    freed = change_schedule(book, rows, day)
    if freed:
        book.lots.append(Lot(None, "default", day, freed))


def bare_due(book: Book, row: Row) -> Parts:
    """What the schedule alone requires for an instalment."""
    due = dict(row.due)
    for added in book.added:
        if added.at == row.n:
            due = {component: due[component] - added.parts[component] for component in COMPONENTS}
    return due


def on_charge(made: Fold, event: Event, day: date) -> None:
    data = event["data"]
    parts = {**zero(), data["kind"]: data["amount"]}
    charge = Added(data["charge_id"], "charge", parts, date.fromisoformat(data["due_on"]), data["kind"], data.get("n"))
    made.book.put(charge)
    made.book.added.append(charge)
    made.pay_from_credit_as_paid()


def on_waived(made: Fold, event: Event, day: date) -> None:
    """Waive the open part of a charge or of a component of an instalment."""
    data, book = event["data"], made.book
    amount = given_up(made.story, event)
    for charge in [one for one in book.charges if one.id == data.get("charge_id")]:
        row = book.row(charge.at)
        assert row
        part = min(amount, book.open_of(charge))
        charge.waived += part
        give_up(book, row, charge.component, part, day)
    if data.get("charge_id"):
        return
    row = book.row(data["n"])
    if row is None:
        made.waiting.append(event)
        return
    part = min(amount, row.open(data["component"]))
    mine = [one for one in book.charges if one.at == row.n and one.component == data["component"]]
    still = {one.id: book.open_of(one) for one in mine}
    beyond = part - (row.open(data["component"]) - sum(still.values()))
    for charge in sorted(mine, key=lambda one: one.due_on):
        of_it = max(min(beyond, still[charge.id]), 0)
        charge.waived += of_it
        beyond -= of_it
    give_up(book, row, data["component"], part, day)


def give_up(book: Book, row: Row, component: str, part: int, day: date) -> None:
    row.waived[component] += part
    if part:
        book.look(row, day)


def given_up(story: Story, waiver: Event) -> int:
    """The amount of a waiver; if none is given, what was open after the events recorded before it, on the day it was recorded."""
    data = waiver["data"]
    if data.get("amount") is not None:
        return int(data["amount"])
    earlier = told(story.before(waiver), story.product)
    if earlier is None:
        return 0
    book = fold(earlier, story.local(waiver["time"])).book
    if data.get("charge_id"):
        return sum(book.open_of(one) for one in book.charges if one.id == data["charge_id"])
    row = book.row(data["n"])
    return row.open(data["component"]) if row else 0


def on_repayment(made: Fold, event: Event, day: date) -> None:
    data = event["data"]
    kind = data.get("kind") or "repayment"
    movement = made.movement(event, "repayment_id", kind, data["amount"])
    if made.story.is_undone(event):
        movement.reversed = True
        return
    money = Money(day, data["amount"], kind)
    lay_as_told(money, made.book, data.get("allocations") or [])
    movement.explicit = sum(money.spread.values())
    lay_by_rules(money, made.book)
    movement.spread, movement.credit = money.spread, money.amount
    if money.amount:
        made.book.lots.append(Lot(event["id"], kind, day, money.amount))


def on_chargeback(made: Fold, event: Event, day: date) -> None:
    data, story = event["data"], made.story
    payments = [one for one in story.counting("repayment.received") if one["data"]["repayment_id"] == data["repayment_id"]]
    if not [one for one in payments if story.day_of(one) <= made.day]:
        return
    movement = made.movement(event, "chargeback_id", "chargeback", data["amount"])
    split = list(story.allocation["chargeback_split"])
    if split == ["principal"]:
        owe_again(made, event, movement, day)
        return
    payment = made.movements.get(payments[0]["id"])
    left, taken = data["amount"], made.returned.setdefault(data["repayment_id"], zero())
    for component in split:
        part = max(min(left, (payment.spread[component] if payment else 0) - taken[component]), 0)
        movement.spread[component] = part
        left -= part
    movement.spread["principal"] += left
    for component in COMPONENTS:
        taken[component] += movement.spread[component]
    back = Added(movement.id, "chargeback", dict(movement.spread), day)
    made.book.put(back)
    made.book.added.append(back)
    made.pay_from_credit(day)


def owe_again(made: Fold, event: Event, movement: Movement, day: date) -> None:
    """Owe a sum again as principal, the borrower's credit first."""
    covered = made.book.take_credit(movement.amount)
    movement.credit = -covered
    movement.spread["principal"] = movement.amount - covered
    if covered < movement.amount:
        back = Added(movement.id, movement.kind, {**zero(), "principal": movement.amount}, day)
        row = made.book.put(back)
        made.book.added.append(back)
        made.book.pay(row, "principal", Money(day, covered), covered)


def on_refund(made: Fold, event: Event, day: date) -> None:
    owe_again(made, event, made.movement(event, "refund_id", "refund", event["data"]["amount"]), day)


def on_rescheduled(made: Fold, event: Event, day: date) -> None:
    """Change what is owed from a day on; payments stay on their instalment, identified by its due date."""
    data = event["data"]
    if data["effect"] == "from_start" or data["version"] <= made.version:
        return
    made.version = data["version"]
    freed = change_schedule(made.book, schedule_rows(data["schedule"]), day)
    if freed:
        made.book.lots.append(Lot(None, "default", day, freed))
    made.try_waiting()
    made.pay_from_credit(day)


def on_mark(made: Fold, event: Event, day: date) -> None:
    kind = kind_of(event).removeprefix("loan.")
    if kind == "charged_off":
        owed_now(made, made.movement(event, "charge_off_id", "charge_off", 0))
    elif kind == "written_off":
        movement = made.movement(event, "write_off_id", "write_off", 0)
        if made.ended != "written_off":
            owed_now(made, movement)
    if kind != "charged_off":
        made.ended_on = made.ended_on or day
        made.ended = "written_off" if kind == "written_off" else made.ended or kind


def owed_now(made: Fold, movement: Movement) -> None:
    for component in COMPONENTS:
        movement.spread[component] = sum(row.open(component) for row in made.book.rows)
    movement.amount = sum(movement.spread.values())


TAKEN = {
    "charge.added": on_charge,
    "charge.waived": on_waived,
    "instalment.due": on_instalment,
    "repayment.received": on_repayment,
    "repayment.charged_back": on_chargeback,
    "credit.refunded": on_refund,
    "loan.rescheduled": on_rescheduled,
    "loan.charged_off": on_mark,
    "loan.written_off": on_mark,
    "loan.closed": on_mark,
}
