"""Generated loans for the tests of the ledger."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

from hypothesis import strategies as st

from services.ingest.domain.events import (
    Allotted,
    ChargeAdded,
    ChargedBack,
    ChargedOff,
    ChargeOffReversed,
    Closed,
    Component,
    CreditRefunded,
    Disbursed,
    Effect,
    InstalmentDue,
    LoanEvent,
    Parts,
    Paused,
    PaymentKind,
    Place,
    Repaid,
    RepaymentPending,
    RepaymentReversed,
    Rescheduled,
    Resumed,
    Retracted,
    Row,
    Waived,
    WaiverReversed,
    WrittenOff,
)
from services.ingest.domain.fold import fold
from services.ingest.domain.product import (
    DEFAULT,
    AgeBy,
    Allocation,
    Bound,
    Buckets,
    ChargeClass,
    ChargesKnown,
    FutureRule,
    Mode,
    ProductLine,
    Tolerance,
)
from services.ingest.domain.view import LoanView, view

FIRST = date(2026, 1, 1)
LAST = 45


def on(day: int) -> date:
    return FIRST + timedelta(days=day)


def place(day: int, number: int, *, recorded: int | None = None) -> Place:
    moment = datetime.combine(on(day if recorded is None else recorded), time(6), UTC) + timedelta(seconds=number)
    return Place(on(day), moment, "wallet", f"e{number}")


def rows(*due: tuple[int, int], first: int = 1) -> tuple[Row, ...]:
    """Rows of principal from pairs of a day and an amount."""
    return tuple(Row(first + index, on(day), amount) for index, (day, amount) in enumerate(due))


def disbursed(schedule: Sequence[Row], *, number: int = 0) -> Disbursed:
    return Disbursed(place(0, number), "b1", "cash-loan", "CNY", FIRST, "Asia/Shanghai", ("CN",), schedule=tuple(schedule))


def repaid(day: int, amount: int, number: int, *, recorded: int | None = None, kind: PaymentKind = PaymentKind.REPAYMENT) -> Repaid:
    return Repaid(place(day, number, recorded=recorded), f"r{number}", amount, on(day), kind)


LOAN = disbursed(rows((10, 300), (20, 300), (30, 300)))


def seen(events: Sequence[LoanEvent], day: int, product: ProductLine = DEFAULT) -> LoanView:
    """The view of the loan on a day."""
    return view(fold(events, product, on(day)), on(day))


days = st.integers(0, LAST)
amounts = st.integers(1, 400)
components = st.sampled_from(tuple(Component))


@st.composite
def schedules(draw: st.DrawFn) -> tuple[Row, ...]:
    count = draw(st.integers(1, 4))
    first_is_down_payment = draw(st.booleans())
    found = []
    for index in range(count):
        parts = draw(st.tuples(st.integers(0, 200), st.integers(0, 50), st.integers(0, 20), st.integers(0, 20)))
        due_on = on(index * 10 if first_is_down_payment else index * 10 + 9)
        found.append(Row(index + 1, due_on, *parts, down_payment=first_is_down_payment and index == 0))
    return tuple(found)


@st.composite
def products(draw: st.DrawFn) -> ProductLine:
    allocation = Allocation(
        mode=draw(st.sampled_from(Mode)),
        future_instalments=(("default", draw(st.sampled_from(FutureRule))), ("goodwill_credit", FutureRule.LAST)),
        charge_class_by=draw(st.sampled_from(ChargeClass)),
        charges_known=draw(st.sampled_from(ChargesKnown)),
        chargeback_split=draw(st.sampled_from(((Component.PRINCIPAL,), tuple(reversed(Component))))),
        chargeback_skips_down_payment=draw(st.booleans()),
    )
    bounds = (Bound("A", 5), Bound("B", 12), Bound("C", None))
    return ProductLine(
        grace_days=draw(st.integers(0, 4)),
        tolerance=Tolerance(draw(st.integers(0, 5)), draw(st.integers(0, 50_000))),
        due_soon_days=draw(st.integers(0, 5)),
        buckets=Buckets(draw(st.sampled_from(AgeBy)), "none", bounds),
        allocation=allocation,
    )


@st.composite
def changes(draw: st.DrawFn, number: int) -> LoanEvent:
    """An event that changes what is owed or paid."""
    day, amount, target = draw(days), draw(amounts), f"r{draw(st.integers(1, 9))}"
    at = place(day, number, recorded=draw(days))
    match draw(st.integers(0, 9)):
        case 0:
            return ChargeAdded(at, f"c{number}", draw(components), amount, on(draw(days)), draw(st.none() | st.integers(1, 5)))
        case 1:
            return ChargedBack(at, f"cb{number}", target, amount, on(day))
        case 2:
            return CreditRefunded(at, f"rf{number}", amount, on(day))
        case 3:
            charge = f"c{draw(st.integers(1, 9))}"
            return Waived(at, f"w{number}", charge, None, None, draw(st.none() | amounts))
        case 4:
            return Waived(at, f"w{number}", None, draw(st.integers(1, 5)), draw(st.none() | components), draw(st.none() | amounts))
        case 5:
            effect = draw(st.sampled_from(Effect))
            return Rescheduled(at, number + 1, "agreed", draw(schedules()), effect, on(day))
        case 6:
            return InstalmentDue(at, Row(number + 4, on(draw(days)), amount), draw(st.sampled_from((None, "CNY", "EUR"))))
        case _:
            allocations = (Allotted(draw(st.integers(1, 4)), Parts(fee=5, principal=amount // 2)),) if draw(st.booleans()) else ()
            return Repaid(at, f"r{number}", amount, on(day), draw(st.sampled_from(PaymentKind)), allocations)


@st.composite
def undoings(draw: st.DrawFn, number: int) -> LoanEvent:
    """An event that undoes another, which may be missing."""
    target = draw(st.integers(1, 9))
    at = place(draw(days), number, recorded=draw(days))
    match draw(st.integers(0, 4)):
        case 0:
            return WaiverReversed(at, f"w{target}")
        case 1:
            return Retracted(at, draw(st.sampled_from((None, "wallet", "other"))), f"e{target}")
        case 2:
            return ChargeOffReversed(at, draw(st.sampled_from((None, f"co{target}"))))
        case _:
            return RepaymentReversed(at, f"r{target}")


@st.composite
def marks(draw: st.DrawFn, number: int) -> LoanEvent:
    """An event that moves no money."""
    day = draw(days)
    at = place(day, number, recorded=draw(days))
    match draw(st.integers(0, 8)):
        case 0 | 1:
            return Paused(at, on(day), draw(st.none() | st.integers(1, 15).map(lambda more: on(day + more))))
        case 2 | 3:
            return Resumed(at, on(day))
        case 4:
            return RepaymentPending(at, f"r{draw(st.integers(1, 9))}", 10, datetime.combine(on(day), time(12), UTC))
        case 5:
            return ChargedOff(at, on(day), f"co{number}")
        case 6 if draw(st.integers(0, 2)) == 0:
            return WrittenOff(at, on(day), f"wo{number}")
        case 7 if draw(st.integers(0, 2)) == 0:
            return Closed(at, on(day))
        case _:
            return disbursed(draw(schedules()), number=number)


@st.composite
def event_sets(draw: st.DrawFn, *, most: int = 10) -> list[LoanEvent]:
    """A loan's disbursement and other events, in an order of arrival."""
    events: list[LoanEvent] = [disbursed(draw(schedules()))]
    count = draw(st.integers(1, most))
    events += [draw(st.one_of(changes(number), changes(number), undoings(number), marks(number))) for number in range(1, count + 1)]
    return draw(st.permutations(events))
