"""The ledger against a model too plain to be wrong: it pays whatever stands first in line, and counts days one by one."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.domain.events import ChargeAdded, Disbursed, LoanEvent, Paused, PaymentKind, Repaid, RepaymentReversed, Resumed
from services.ingest.domain.fold import trace
from services.ingest.domain.product import Allocation, ChargesKnown, Component, FutureRule, Mode, ProductLine, Slot
from services.ingest.domain.view import view

from .loans import LAST, disbursed, on, place, repaid, schedules

COMPONENTS = tuple(Component)
CLASSES = ("past_due", "due", "in_advance")
days = st.sampled_from((0, 4, 8, 9, 10, 14, 19, 20, 21, 29, 30, 44))
"""Many on due dates or beside them, and many on the same day."""


class Model:
    """A loan as sums in a line, each of an instalment and a component."""

    def __init__(self, loan: Disbursed, allocation: Allocation) -> None:
        self.allocation = allocation
        self.ordinary = [(row.due_on, row.n) for row in loan.schedule if not row.down_payment]
        self.extra = max(row.n for row in loan.schedule) + 1
        self.due_on = {row.n: row.due_on for row in loan.schedule}
        self.open = {
            (row.n, part): owed
            for row in loan.schedule
            for part, owed in zip(COMPONENTS, (row.principal, row.interest, row.fee, row.penalty), strict=True)
        }
        self.split: dict[str, dict[Component, int]] = {}
        self.credit: list[tuple[Repaid, int]] = []

    def take(self, event: LoanEvent) -> None:
        """Spread a payment; a charge is paid by what was left of earlier ones."""
        if isinstance(event, ChargeAdded):
            self._owe(event)
            self.credit = [(payment, self._spread(payment, left)) for payment, left in self.credit]
        elif isinstance(event, Repaid):
            self.split[event.repayment_id] = dict.fromkeys(COMPONENTS, 0)
            self.credit.append((event, self._spread(event, event.amount)))

    def _owe(self, charge: ChargeAdded) -> None:
        n = next((n for due_on, n in sorted(self.ordinary) if charge.due_on <= due_on), self.extra)
        if n == self.extra:
            self.due_on[n] = max(charge.due_on, self.due_on.get(n, charge.due_on))
        self.open[n, charge.kind] = self.open.get((n, charge.kind), 0) + charge.amount

    def _spread(self, payment: Repaid, left: int) -> int:
        while left and (
            where := min((at for at, units in self.open.items() if units), key=lambda at: self._turn(at, payment), default=None)
        ):
            part = min(left, self.open[where])
            self.open[where] -= part
            self.split[payment.repayment_id][where[1]] += part
            left -= part
        return left

    def _turn(self, at: tuple[int, Component], payment: Repaid) -> tuple[object, ...]:
        """Say when it is the turn of a sum: the lowest comes first."""
        n, component = at
        when = CLASSES[(self.due_on[n] >= payment.paid_on) + (self.due_on[n] > payment.paid_on)]
        entry = self.allocation.order.index(Slot(f"{when}_{component.value}"))
        age: tuple[object, ...] = (self.due_on[n], n)
        if when == "in_advance" and dict(self.allocation.future_instalments)[payment.kind.value] is FutureRule.LAST:
            age = (date.max - self.due_on[n], -n)
        return (entry, age) if self.allocation.mode is Mode.VERTICAL else (CLASSES.index(when), age, entry)


def paused(events: Sequence[LoanEvent], day: date) -> bool:
    """Say whether the clock rests on a day."""
    resumed = [event.on for event in events if isinstance(event, Resumed)]
    return any(
        event.from_on <= day
        and (event.until is None or day < event.until)
        and not any(event.from_on <= end <= day and (event.until is None or end < event.until) for end in resumed)
        for event in events
        if isinstance(event, Paused)
    )


@st.composite
def allocations(draw: st.DrawFn) -> Allocation:
    order = [Slot(f"{when}_{part.value}") for when in CLASSES for part in draw(st.permutations(COMPONENTS))]
    rules = tuple((kind.value, draw(st.sampled_from((FutureRule.NEXT, FutureRule.LAST)))) for kind in PaymentKind)
    return Allocation(draw(st.sampled_from(Mode)), tuple(order), rules, charges_known=draw(st.sampled_from(ChargesKnown)))


@st.composite
def histories(draw: st.DrawFn) -> list[LoanEvent]:
    """A loan with payments, charges due together with an instalment or behind the last, reversals and pauses."""
    loan = disbursed(draw(schedules()))
    events: list[LoanEvent] = [loan]
    charge_days = [row.due_on for row in loan.schedule if not row.down_payment] + [on(LAST)]
    for number in range(1, draw(st.integers(2, 9))):
        day, at = draw(days), place(draw(days), number)
        match draw(st.integers(0, 6)):
            case 0 | 1 | 2:
                amount, kind = draw(st.integers(1, 300)), draw(st.sampled_from(PaymentKind))
                events.append(repaid(day, amount, number, recorded=draw(days), kind=kind))
            case 3 | 4:
                kind_of_charge, due_on = draw(st.sampled_from(COMPONENTS)), draw(st.sampled_from(charge_days))
                events.append(ChargeAdded(at, f"c{number}", kind_of_charge, draw(st.integers(1, 60)), due_on))
            case 5:
                events.append(RepaymentReversed(at, f"r{draw(st.integers(1, 9))}"))
            case _:
                until = draw(st.none() | days)
                events.append(Paused(at, on(day), None if until is None else on(day + until)))
                events += [Resumed(place(day, number + 10), on(draw(days)))] if draw(st.booleans()) else []
    return events


def in_turn(events: Sequence[LoanEvent], known: ChargesKnown, as_of: date) -> Iterator[LoanEvent]:
    """Yield what counts by a day, in the order of the days on which it counts."""
    undone = {event.repayment_id for event in events if isinstance(event, RepaymentReversed)}

    def day_of(event: LoanEvent) -> date:
        if not isinstance(event, ChargeAdded):
            return event.place.day
        return date.min if known is ChargesKnown.FROM_THE_START else min(event.due_on, event.place.day)

    for event in sorted(events, key=lambda one: (day_of(one), one.place.time)):
        if day_of(event) <= as_of and not (isinstance(event, Repaid) and event.repayment_id in undone):
            yield event


@settings(deadline=None, max_examples=150)
@given(events=histories(), allocation=allocations(), grace=st.integers(0, 4), day=st.integers(0, LAST + 10))
def test_the_ledger_spreads_and_ages_as_the_model_does(events: list[LoanEvent], allocation: Allocation, grace: int, day: int) -> None:
    as_of, loan = on(day), events[0]
    assert isinstance(loan, Disbursed)
    model = Model(loan, allocation)
    for event in in_turn(events, allocation.charges_known, as_of):
        model.take(event)

    traced = trace(events, ProductLine(grace_days=grace, allocation=allocation), as_of)
    shown = view(traced.book, as_of)
    got = {(row.n, part): getattr(row.outstanding, part.value) for row in shown.schedule for part in COMPONENTS}
    assert {at: units for at, units in got.items() if units} == {at: units for at, units in model.open.items() if units}
    assert shown.credit == sum(left for _, left in model.credit)
    splits = {one.id: {part: getattr(one, part.value) for part in COMPONENTS} for one in traced.movements if not one.reversed}
    assert splits == model.split

    late = [model.due_on[n] for (n, _), units in model.open.items() if units and model.due_on[n] < as_of]
    since = min(late, default=as_of)
    clock = [since + timedelta(days=index) for index in range((as_of - since).days)]
    assert shown.past_due_days == len(clock)
    assert shown.delinquent_days == max(0, sum(not paused(events, one) for one in clock) - grace)
