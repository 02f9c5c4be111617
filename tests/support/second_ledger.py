"""The loan ledger read a second time from the public contract: slow, plain, refolded from nothing for every question.

It shares no code with `services.ingest`. What is owed is in `second_ledger_rows.py`, what is answered in `second_ledger_view.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.second_ledger_rows import COMPONENTS, Added, Book, Lot, Money, Parts, Row, change_schedule, lay_as_told, lay_by_rules, zero

Event = Mapping[str, Any]

UNDOES = {"repayment.reversed": "repayment_id", "charge.waiver_reversed": "waiver_id", "loan.charge_off_reversed": "charge_off_id"}
UNDONE = {"repayment.received": "repayment_id", "charge.waived": "waiver_id", "loan.charged_off": "charge_off_id"}


def kind_of(event: Event) -> str:
    return str(event["type"]).removeprefix("wallet.").removesuffix(".v1")


def arrival(event: Event) -> tuple[datetime, str, str]:
    """What stands for the order of arrival."""
    return datetime.fromisoformat(event["time"]), event["source"], event["id"]


def accepted(events: Sequence[Event]) -> list[Event]:
    """The events without their repeats, as if they had come in the order of their time."""
    found: dict[tuple[str, str], Event] = {}
    for event in events:
        found.setdefault((event["source"], event["id"]), event)
    return sorted(found.values(), key=arrival)


def retracts(event: Event, other: Event) -> bool:
    """Whether the first names the second as never sent; without a source it means its own."""
    if kind_of(event) != "event.retracted":
        return False
    data = event["data"]
    return bool(other["id"] == data["event_id"] and other["source"] == (data.get("source") or event["source"]))


def stands(event: Event, events: Sequence[Event], asked: tuple[Event, ...] = ()) -> bool:
    """Whether no standing retraction names the event; one that hangs on itself is taken not to stand."""
    if event in asked:
        return False
    return not any(retracts(other, event) and stands(other, events, (*asked, event)) for other in events)


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
class Story:
    """What the events say of one loan, repeats and retracted events left out, in the order of their time."""

    loan: Event
    product: Mapping[str, Any]
    events: list[Event]
    arrived: int

    @property
    def data(self) -> Mapping[str, Any]:
        return dict(self.loan["data"])

    @property
    def first_day(self) -> date:
        return date.fromisoformat(self.data["disbursed_on"])

    @property
    def allocation(self) -> dict[str, Any]:
        line, own = self.product["allocation"], self.data.get("allocation") or {}
        future = {**line["future_instalments"], **(own.get("future_instalments") or {})}
        return {**line, **own, "future_instalments": future}

    @property
    def undone(self) -> set[tuple[str, str]]:
        return {(UNDOES[kind], event["data"][UNDOES[kind]]) for event in self.events if (kind := kind_of(event)) in UNDOES}

    def is_undone(self, event: Event) -> bool:
        name = UNDONE.get(kind_of(event), "")
        return (name, event["data"].get(name)) in self.undone

    def of(self, *kinds: str) -> list[Event]:
        return [event for event in self.events if kind_of(event) in kinds]

    def counting(self, *kinds: str) -> list[Event]:
        return [event for event in self.of(*kinds) if not self.is_undone(event)]

    def local(self, moment: str) -> date:
        return datetime.fromisoformat(moment).astimezone(ZoneInfo(self.data["timezone"])).date()

    def day_of(self, event: Event) -> date:
        """The day on which an event counts."""
        data, kind = event["data"], kind_of(event)
        if kind == "repayment.received":
            return self.local(data["paid_at"])
        if kind in {"repayment.charged_back", "credit.refunded"}:
            return self.local(data["at"])
        if kind == "loan.rescheduled" and data.get("effective_on"):
            return date.fromisoformat(data["effective_on"])
        if kind in {"loan.charged_off", "loan.written_off", "loan.closed"}:
            return date.fromisoformat(data["on"])
        recorded = self.local(event["time"])
        if kind == "charge.added" and self.allocation["charges_known"] == "from_the_start":
            return date.min
        if kind in {"charge.added", "instalment.due"}:
            return min(recorded, date.fromisoformat(data["due_on"]))
        charge = self.charge_of(event)
        return min(recorded, date.fromisoformat(charge["data"]["due_on"])) if charge else recorded

    def charge_of(self, waiver: Event) -> Event | None:
        named = waiver["data"].get("charge_id") if kind_of(waiver) == "charge.waived" else None
        return next((one for one in self.of("charge.added") if named and one["data"]["charge_id"] == named), None)

    def turn_of(self, event: Event) -> tuple[Any, ...]:
        """The place of an event; a waiver of a charge never comes before it."""
        turn = (self.day_of(event), *arrival(event), 0)
        charge = self.charge_of(event)
        return turn if charge is None else max(turn, (self.day_of(charge), *arrival(charge), 1))

    def before(self, event: Event) -> list[Event]:
        """What has a lower place in the order of arrival."""
        return [one for one in self.events if arrival(one) < arrival(event)]


def told(events: Sequence[Event], product: Mapping[str, Any]) -> Story | None:
    """Sort out which loan this is; None while no disbursement is there."""
    came = accepted(events)
    counted = [event for event in came if stands(event, came)]
    loans = [event for event in counted if kind_of(event) == "loan.disbursed"]
    return Story(loans[0], product, counted, len(came)) if loans else None


@dataclass
class Fold:
    """The loan as it stands after the events up to a day."""

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
        """Let earlier payments pay what has become known, each as on its own day."""
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
        """Waivers of an instalment that was not there yet take effect with it."""
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
    """The highest schedule that holds from the first day, of those that have begun."""
    begun = [event for event in story.of("loan.rescheduled") if story.day_of(event) <= day]
    anew = [event for event in begun if event["data"]["effect"] == "from_start"]
    return max(anew, key=lambda event: int(event["data"]["version"]), default=None)


def fold(story: Story, day: date) -> Fold:
    """Take the events up to a day, one after another, from nothing."""
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
    """Add an instalment published on its own; what is behind the schedule and what was paid there makes way."""
    data, book = event["data"], made.book
    there = book.row(data["n"])
    if data.get("currency") not in (None, made.story.data["currency"]) or (there and not there.extra):
        return
    [new] = schedule_rows([data])
    last, asked = max((row.due_on, row.n) for row in book.rows) if book.rows else (date.min, 0), [one for one in book.charges if one.asked == new.n]
    if (new.due_on, new.n) > last and not asked and not any(row.extra for row in book.rows):
        book.rows.append(new)
        made.try_waiting()
        made.pay_from_credit_as_paid()
        return
    bare = [Row(row.n, row.due_on, row.down_payment, bare_due(book, row)) for row in book.rows if not row.extra]
    rows = sorted([*bare, new], key=lambda row: (row.due_on, row.n))
    freed = change_schedule(book, rows, day)
    if freed:
        book.lots.append(Lot(None, "default", day, freed))
    made.try_waiting()
    made.pay_from_credit_as_paid()


def bare_due(book: Book, row: Row) -> Parts:
    """What the schedule alone asks on an instalment."""
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
    """Give up what is open of a charge or of a component of an instalment."""
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
    """The amount of a waiver; where none is said, what was open after the events recorded before it, on the day of its record."""
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
    """Change what is owed from a day on; what was paid stays on its instalment, known by its due date."""
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
    made.ended_on = made.ended_on or day if kind != "charged_off" else made.ended_on
    if kind == "written_off" or (kind == "closed" and made.ended is None):
        made.ended = kind


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
