"""The loan ledger read a second time from the public contract: slow, plain, refolded from nothing for every question.

It shares no code with `services.ingest`. What is owed is in `second_ledger_rows.py`, what is answered in `second_ledger_view.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.support.second_ledger_rows import COMPONENTS, Book, Debt, Laid, Lot, Payment, Row, lay_as_told, lay_by_rules, zero

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
        return {**self.product["allocation"], **(self.data.get("allocation") or {})}

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
        if kind == "charge.added":
            if self.allocation["charges_known"] == "from_the_start":
                return self.first_day
            return min(recorded, date.fromisoformat(data["due_on"]))
        return recorded

    def before(self, event: Event) -> "Story":
        """The same loan when only what has a lower place in the order of arrival had come."""
        return Story(self.loan, self.product, [one for one in self.events if arrival(one) < arrival(event)], self.arrived)


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
    known: set[str] = field(default_factory=set)

    def movement(self, event: Event, name: str, kind: str, amount: int) -> Movement:
        made = Movement(event["data"].get(name) or event["id"], kind, self.story.day_of(event), amount)
        self.movements[event["id"]] = made
        return made

    def waive(self) -> None:
        """Take what was waived off the debts that are there."""
        for row in self.book.rows():
            for debt in row.debts:
                debt.waived = 0
        for waiver in self.story.counting("charge.waived"):
            left = self.story_waives(waiver)
            for debt in waived_by(waiver, self.book):
                part = min(left, debt.amount - debt.waived)
                debt.waived += part
                left -= part

    def story_waives(self, waiver: Event) -> int:
        earlier = fold(self.story.before(waiver), date.max)
        is_open = sum(debt.open for debt in waived_by(waiver, earlier.book))
        amount = waiver["data"].get("amount")
        return is_open if amount is None else min(is_open, amount)

    def pay_from_credit_as_paid(self) -> None:
        """Let earlier payments pay what has become known of charges, each as on its own day."""
        for lot in self.book.lots:
            payment = Payment(lot.by, lot.kind, lot.on, lot.on, lot.amount)
            lay_by_rules(payment, self.book, lot.kind)
            lot.amount = payment.amount
            movement = self.movements[lot.by]
            for component in COMPONENTS:
                movement.spread[component] += payment.spread[component]
                movement.credit -= payment.spread[component]
        self.book.lots = [lot for lot in self.book.lots if lot.amount]

    def pay_from_credit(self, day: date) -> None:
        """Use the borrower's credit on a day, by the default order."""
        for lot in self.book.lots:
            payment = Payment(lot.by, "default", day, day, lot.amount)
            lay_by_rules(payment, self.book, "default")
            lot.amount = payment.amount
        self.book.lots = [lot for lot in self.book.lots if lot.amount]


def waived_by(waiver: Event, book: Book) -> list[Debt]:
    data = waiver["data"]
    if data.get("charge_id"):
        return [debt for debt in book.added if debt.source == f"charge {data['charge_id']}"]
    rows = [row for row in book.rows() if row.n == data["n"]]
    return [debt for row in rows for debt in row.debts if data.get("component") in (None, debt.component)]


def schedule_rows(rows: Sequence[Mapping[str, Any]], begins: date) -> list[Row]:
    found = []
    for row in sorted(rows, key=lambda row: (row["due_on"], row["n"])):
        due_on = date.fromisoformat(row["due_on"])
        debts = [Debt("schedule", component, row.get(component) or 0, due_on, begins) for component in COMPONENTS]
        found.append(Row(row["n"], due_on, bool(row.get("down_payment")), debts))
    return found


def versions(story: Story, day: date) -> tuple[list[Mapping[str, Any]], int, list[Event]]:
    """The schedule from the first day on with its version, and the later changes from their date."""
    begun = story.of("loan.rescheduled")
    begun = [event for event in begun if story.day_of(event) <= day]
    anew = [event for event in begun if event["data"]["effect"] == "from_start"]
    changes = [event for event in begun if event["data"]["effect"] == "from_date"]
    if anew:
        last = max(anew, key=lambda event: event["data"]["version"])
        base, version = list(last["data"]["schedule"]), last["data"]["version"]
    else:
        base, version = list(story.data.get("schedule") or []), 0
        numbers = {row["n"] for row in base}
        for event in story.of("instalment.due"):
            same = event["data"].get("currency") in (None, story.data["currency"])
            if same and event["data"]["n"] not in numbers:
                base.append(event["data"])
    return base, version, [event for event in changes if event["data"]["version"] > version]


def fold(story: Story, day: date) -> Fold:
    """Take the events up to a day, one after another, from nothing."""
    base, version, changes = versions(story, day)
    book = Book(story.allocation, story.first_day, schedule_rows(base, story.first_day))
    made = Fold(story, book, version=version)
    at_start = [event for event in story.of("charge.added") if story.allocation["charges_known"] == "from_the_start"]
    for event in at_start:
        on_charge(made, event, story.first_day)
    made.waive()
    kinds = ("repayment.received", "repayment.charged_back", "credit.refunded", "charge.added")
    kinds += ("loan.charged_off", "loan.written_off", "loan.closed")
    steps = [event for event in story.of(*kinds) if event not in at_start] + changes
    for event in sorted(steps, key=lambda event: (story.day_of(event), arrival(event))):
        if story.day_of(event) <= day:
            TAKEN[kind_of(event)](made, event, story.day_of(event))
    return made


def on_charge(made: Fold, event: Event, day: date) -> None:
    data = event["data"]
    due_on = date.fromisoformat(data["due_on"])
    made.book.added.append(Debt(f"charge {data['charge_id']}", data["kind"], data["amount"], due_on, day, data.get("n")))
    made.waive()
    made.pay_from_credit_as_paid()


def on_repayment(made: Fold, event: Event, day: date) -> None:
    data = event["data"]
    kind = data.get("kind") or "repayment"
    movement = made.movement(event, "repayment_id", kind, data["amount"])
    if made.story.is_undone(event):
        movement.reversed = True
        return
    payment = Payment(event["id"], kind, day, day, data["amount"])
    lay_as_told(payment, made.book, data.get("allocations") or [])
    lay_by_rules(payment, made.book, kind)
    movement.spread, movement.credit = payment.spread, payment.amount
    if payment.amount:
        made.book.lots.append(Lot(event["id"], kind, day, payment.amount))


def on_chargeback(made: Fold, event: Event, day: date) -> None:
    data = event["data"]
    paid = [
        made.movements[one["id"]]
        for one in made.story.counting("repayment.received")
        if one["data"]["repayment_id"] == data["repayment_id"] and one["id"] in made.movements
    ]
    if not paid:
        return
    movement = made.movement(event, "chargeback_id", "chargeback", data["amount"])
    split = made.story.allocation["chargeback_split"]
    if list(split) == ["principal"]:
        owe_again(made, event, movement, day)
        return
    left, before = data["amount"], zero()
    for other in made.story.of("repayment.charged_back"):
        if other["data"]["repayment_id"] == data["repayment_id"] and other["id"] in made.movements and other is not event:
            before = {name: before[name] + made.movements[other["id"]].spread[name] for name in COMPONENTS}
    for component in split:
        part = min(left, max(paid[0].spread[component] - before[component], 0))
        movement.spread[component] = part
        left -= part
    movement.spread["principal"] += left
    for component in COMPONENTS:
        if movement.spread[component]:
            made.book.added.append(Debt(f"chargeback {event['id']}", component, movement.spread[component], day, day))
    made.waive()
    made.pay_from_credit(day)


def owe_again(made: Fold, event: Event, movement: Movement, day: date) -> None:
    """Owe a sum again as principal, the borrower's credit first."""
    covered = made.book.take_credit(movement.amount)
    movement.credit = covered
    movement.spread["principal"] = movement.amount - covered
    if covered < movement.amount:
        debt = Debt(f"{movement.kind} {event['id']}", "principal", movement.amount, day, day)
        made.book.added.append(debt)
        if covered:
            debt.laid.append(Laid("credit", day, covered, made.book.row_of(debt).due_on))


def on_refund(made: Fold, event: Event, day: date) -> None:
    owe_again(made, event, made.movement(event, "refund_id", "refund", event["data"]["amount"]), day)


def on_rescheduled(made: Fold, event: Event, day: date) -> None:
    """Change what is owed from a day on; what was paid stays on its instalment, known by its due date."""
    if event["data"]["version"] < made.version:
        return
    made.version = event["data"]["version"]
    old, new = made.book.scheduled, schedule_rows(event["data"]["schedule"], day)
    freed: list[Laid] = []
    for row, heir in heirs(old, new):
        for debt in row.debts:
            target = next((one for one in heir.debts if one.component == debt.component), None) if heir else None
            for laid in debt.laid:
                part = min(laid.amount, target.open) if target else 0
                if target and part:
                    target.laid.append(replace(laid, amount=part))
                if laid.amount > part:
                    freed.append(replace(laid, amount=laid.amount - part))
    made.book.scheduled = new
    for laid in freed:
        made.book.lots.append(Lot(laid.by, "default", laid.on, laid.amount))
    made.book.lots.sort(key=lambda lot: (lot.on, list(made.movements).index(lot.by) if lot.by in made.movements else -1))
    made.waive()
    made.pay_from_credit(day)


def heirs(old: Sequence[Row], new: Sequence[Row]) -> list[tuple[Row, Row | None]]:
    """Each old instalment with the new one of its due date; where a day has several, first those of the same kind."""
    left, found = list(new), []
    for row in old:
        same = [other for other in left if other.due_on == row.due_on]
        heir = min(same, key=lambda other: other.down_payment != row.down_payment, default=None)
        if heir:
            left.remove(heir)
        found.append((row, heir))
    return found


def on_mark(made: Fold, event: Event, day: date) -> None:
    kind = kind_of(event).removeprefix("loan.")
    name, shown = {"charged_off": ("charge_off_id", "charge_off"), "written_off": ("write_off_id", "write_off"), "closed": ("", "")}[kind]
    if name:
        movement = made.movement(event, name, shown, 0)
        if made.story.is_undone(event):
            movement.reversed = True
        else:
            for row in made.book.rows():
                for debt in row.debts:
                    movement.spread[debt.component] += debt.open
        movement.amount = sum(movement.spread.values())
    if kind != "charged_off" and made.ended is None:
        made.ended = kind


TAKEN = {
    "charge.added": on_charge,
    "repayment.received": on_repayment,
    "repayment.charged_back": on_chargeback,
    "credit.refunded": on_refund,
    "loan.rescheduled": on_rescheduled,
    "loan.charged_off": on_mark,
    "loan.written_off": on_mark,
    "loan.closed": on_mark,
}
