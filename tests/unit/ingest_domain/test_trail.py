"""What each event did: the lines agree with the book, whatever the events are."""

from collections import Counter, defaultdict
from collections.abc import Iterable

from hypothesis import event as noted
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.domain.amounts import NOTHING, Amounts, plus
from services.ingest.domain.events import (
    ChargeAdded,
    ChargedBack,
    Component,
    CreditRefunded,
    Effect,
    InstalmentDue,
    LoanEvent,
    Repaid,
    RepaymentReversed,
    Rescheduled,
    Row,
    Waived,
    WaiverReversed,
)
from services.ingest.domain.fold import trace
from services.ingest.domain.product import DEFAULT, Allocation, ChargesKnown, ProductLine
from services.ingest.domain.trail import COMPONENTS, Line, Posting, Side, Trail, trail
from services.ingest.domain.view import view

from .loans import LAST, LOAN, disbursed, event_sets, on, place, products, repaid, rows
from .test_properties import shuffled_with_repeats

last_days = st.integers(0, LAST + 10)
MANY = settings(deadline=None, max_examples=100)
PAYMENTS = {"repayment", "down_payment", "recovery", "goodwill_credit", "merchant_issued_refund", "payout_refund", "charge_adjustment"}


def lines_of(told: Trail) -> list[Line]:
    return [line for posting in told.postings for line in posting.lines]


def summed(lines: Iterable[Line]) -> Amounts:
    sums = Counter[Component]()
    for line in lines:
        sums[line.component] += line.amount
    return tuple(sums[component] for component in COMPONENTS)  # type: ignore[return-value]  # there are four


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_the_trail_is_of_the_fold_that_everybody_sees(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    assert trail(events, product, on(day)).trace == trace(events, product, on(day))


@MANY
@given(events=event_sets(), product=products(), day=last_days, seed=st.integers(0, 1000))
def test_any_order_and_any_repetition_of_the_events_gives_the_same_trail(
    events: list[LoanEvent], product: ProductLine, day: int, seed: int
) -> None:
    assert trail(shuffled_with_repeats(events, seed), product, on(day)) == trail(events, product, on(day))


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_the_lines_of_an_instalment_add_up_to_what_is_due_paid_and_waived_there(
    events: list[LoanEvent], product: ProductLine, day: int
) -> None:
    told = trail(events, product, on(day))
    sums: dict[tuple[int, Side], Amounts] = defaultdict(lambda: NOTHING)
    for line in lines_of(told):
        sums[line.n, line.side] = plus(sums[line.n, line.side], summed([line]))
    noted(f"{len({line.n for line in lines_of(told)})} instalments")
    for row in told.trace.book.rows:
        found = tuple(sums.pop((row.n, side), NOTHING) for side in Side)
        assert found == (row.due, row.paid, row.waived)
    assert set(sums.values()) <= {NOTHING}


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_the_lines_of_a_charge_add_up_to_what_is_owed_and_paid_of_it(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    told = trail(events, product, on(day))
    if told.trace.book.known:
        for charge in view(told.trace.book, on(day)).charges:
            mine = [line for line in lines_of(told) if line.charge_id == charge.charge_id]
            sums = {side: sum(line.amount for line in mine if line.side is side) for side in Side}
            assert (sums[Side.DUE], sums[Side.PAID]) == (charge.amount, charge.paid)
            assert sums[Side.WAIVED] <= charge.waived
            assert {line.component for line in mine} == {charge.kind}


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_the_lines_of_a_payment_and_what_it_left_as_credit_add_up_to_its_amount(
    events: list[LoanEvent], product: ProductLine, day: int
) -> None:
    told = trail(events, product, on(day))
    by_payment = defaultdict[str | None, list[Line]](list)
    for line in lines_of(told):
        if line.side is Side.PAID:
            by_payment[line.by].append(line)
    for one in told.trace.movements:
        if one.kind in PAYMENTS:
            mine = by_payment[one.id]
            noted(f"{len(mine)} lines")
            assert summed(mine) == (one.principal, one.interest, one.fee, one.penalty)
            assert one.reversed or sum(line.amount for line in mine) + one.credit == one.amount
            assert not one.reversed or not mine


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_a_chargeback_or_refund_is_owed_as_a_whole_or_taken_from_credit_as_a_whole(
    events: list[LoanEvent], product: ProductLine, day: int
) -> None:
    told = trail(events, product, on(day))
    spread = {(one.kind, one.id): one for one in told.trace.movements}
    for posting in told.postings:
        if posting.kind in ("chargeback", "refund"):
            owed = sum(line.amount for line in posting.lines if line.side is Side.DUE)
            assert owed == posting.amount or (owed == 0 and spread[posting.kind, str(posting.id)].credit == -(posting.amount or 0))


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_a_waiver_never_gives_up_more_than_it_says(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    told = trail(events, product, on(day))
    given_up = Counter[str | None]()
    for line in lines_of(told):
        if line.side is Side.WAIVED:
            given_up[line.by] += line.amount
    for posting in told.postings:
        if posting.kind == "waiver":
            assert 0 <= given_up[posting.id] <= (posting.amount or 0)


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_a_line_is_below_zero_only_where_a_schedule_or_a_charge_moves_what_was_paid(
    events: list[LoanEvent], product: ProductLine, day: int
) -> None:
    for posting in trail(events, product, on(day)).postings:
        below = [line for line in posting.lines if line.amount < 0]
        if below:
            noted(posting.kind)
            assert posting.kind in ("reschedule", "instalment", "charge")
            assert all(line.by is None for line in below)
        assert all(line.amount for line in posting.lines)
        if posting.kind == "charge":
            assert all(line.side is Side.PAID for line in below)


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_what_is_outstanding_and_left_as_credit_after_the_last_event_is_what_the_loan_says(
    events: list[LoanEvent], product: ProductLine, day: int
) -> None:
    told = trail(events, product, on(day))
    if told.trace.book.known:
        shown = view(told.trace.book, on(day))
        last = told.postings[-1]
        assert (last.outstanding, last.credit) == (shown.outstanding.total, shown.credit)


@MANY
@given(events=event_sets(), product=products(), day=last_days)
def test_from_event_to_event_the_lines_say_why_what_is_outstanding_changes(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    before = 0
    for posting in trail(events, product, on(day)).postings:
        ended = posting.kind in ("write_off", "closing") and posting.undone_by is None
        assert ended or posting.outstanding == before + sum(line.change for line in posting.lines)
        if ended:
            assert posting.outstanding == 0
            break
        before = posting.outstanding


# Single cases


def said(posting: Posting) -> list[tuple[int, str | None, str, str, int, str | None]]:
    return [(line.n, line.charge_id, line.component.value, line.side.value, line.amount, line.by) for line in posting.lines]


def last(*events: LoanEvent, day: int = 40, product: ProductLine = DEFAULT) -> Posting:
    return trail(events, product, on(day)).postings[-1]


def fee(day: int, number: int, amount: int, *, due: int, n: int | None = None) -> ChargeAdded:
    return ChargeAdded(place(day, number), f"c{number}", Component.FEE, amount, on(due), n)


FULL = disbursed((Row(1, on(10), 100, interest=20, fee=5), Row(2, on(20), 100)))


def test_the_first_posting_is_the_loan_with_its_schedule() -> None:
    [first] = trail([LOAN], DEFAULT, on(0)).postings
    assert (first.kind, first.on, first.amount, first.outstanding) == ("disbursement", on(0), 900, 900)
    assert said(first) == [(n, None, "principal", "due", 300, None) for n in (1, 2, 3)]


def test_a_payment_says_which_instalment_charge_and_component_it_paid() -> None:
    posting = last(FULL, fee(11, 1, 7, due=9), repaid(12, 150, 2))
    assert said(posting) == [
        (1, None, "principal", "paid", 100, "r2"),
        (1, None, "interest", "paid", 20, "r2"),
        (1, "c1", "fee", "paid", 7, "r2"),
        (1, None, "fee", "paid", 5, "r2"),
        (2, None, "principal", "paid", 18, "r2"),
    ]  # fmt: skip
    assert (posting.kind, posting.id, posting.on, posting.amount, posting.outstanding) == ("repayment", "r2", on(12), 150, 82)


def test_credit_that_pays_something_new_is_the_money_of_its_payment() -> None:
    two = [repaid(12, 230, 1), repaid(13, 40, 2)]
    posting = last(FULL, *two, InstalmentDue(place(14, 3), Row(3, on(30), 50)))
    assert said(posting) == [
        (3, None, "principal", "due", 50, None),
        (3, None, "principal", "paid", 5, "r1"),
        (3, None, "principal", "paid", 40, "r2"),
    ]
    assert (posting.kind, posting.id, posting.outstanding, posting.credit) == ("instalment", "3", 5, 0)


def test_a_charge_due_first_takes_over_what_was_paid_on_its_component() -> None:
    events: list[LoanEvent] = [FULL, repaid(5, 5, 1), fee(13, 2, 3, due=8)]
    posting = last(*events)
    assert said(posting) == [
        (1, "c2", "fee", "due", 3, None),
        (1, "c2", "fee", "paid", 3, None),
        (1, None, "fee", "paid", -3, None),
    ]
    assert said(last(*events, repaid(14, 3, 3))) == [(1, None, "fee", "paid", 3, "r3")]


def test_what_a_new_schedule_moves_is_taken_back_there_and_paid_here() -> None:
    new = Rescheduled(place(13, 2), 1, "agreed", rows((20, 40), (30, 60)), Effect.FROM_DATE, on(13))
    posting = last(disbursed(rows((10, 100))), repaid(12, 70, 1), new)
    assert said(posting) == [
        (1, None, "principal", "due", -100, None),
        (1, None, "principal", "paid", -70, None),
        (1, None, "principal", "due", 40, None),
        (1, None, "principal", "paid", 40, None),
        (2, None, "principal", "due", 60, None),
        (2, None, "principal", "paid", 30, None),
    ]
    assert [line.due_on for line in posting.lines] == [on(10)] * 2 + [on(20)] * 2 + [on(30)] * 2
    assert (posting.kind, posting.id, posting.outstanding, posting.credit) == ("reschedule", "1", 30, 0)


def test_instalments_that_a_new_schedule_drops_are_taken_back_in_their_order() -> None:
    due = tuple((day, 10) for day in range(1, 21))
    new = Rescheduled(place(25, 2), 1, "agreed", rows((40, 200)), Effect.FROM_DATE, on(25))
    posting = last(disbursed(rows(*due)), new, day=30)
    assert [line.n for line in posting.lines if line.amount < 0] == list(range(1, 21))


def test_a_schedule_that_holds_from_the_first_day_is_the_first_posting() -> None:
    new = Rescheduled(place(13, 2), 4, "agreed", rows((15, 100)), Effect.FROM_START)
    first, paid = trail([LOAN, repaid(12, 70, 1), new], DEFAULT, on(20)).postings
    assert (first.kind, first.id, first.event.id, first.on, first.outstanding) == ("reschedule", "4", "e2", on(0), 100)
    assert said(paid) == [(1, None, "principal", "paid", 70, "r1")]


def test_a_chargeback_is_owed_again_and_what_credit_covers_is_paid_at_once() -> None:
    posting = last(FULL, repaid(9, 235, 1), ChargedBack(place(15, 2), "cb", "r1", 30, on(15)))
    assert said(posting) == [(2, None, "principal", "due", 30, None), (2, None, "principal", "paid", 10, None)]
    assert (posting.kind, posting.id, posting.outstanding, posting.credit) == ("chargeback", "cb", 20, 0)


def test_a_refund_out_of_credit_moves_nothing_on_an_instalment() -> None:
    posting = last(FULL, repaid(9, 235, 1), CreditRefunded(place(15, 2), "rf", 4, on(15)))
    assert (posting.kind, posting.lines, posting.credit) == ("refund", (), 6)


def test_what_is_undone_does_nothing_and_says_by_which_event() -> None:
    events: list[LoanEvent] = [FULL, repaid(12, 50, 1), Waived(place(13, 2), "w2", None, 1), RepaymentReversed(place(14, 3), "r1"),
              WaiverReversed(place(15, 4), "w2")]  # fmt: skip
    told = trail(events, DEFAULT, on(20)).postings
    assert [(one.kind, one.undone_by, one.lines, one.outstanding) for one in told[1:]] == [
        ("repayment", "e3", (), 225),
        ("waiver", "e4", (), 225),
    ]


def test_a_waiver_that_waited_for_its_instalment_is_said_with_the_instalment() -> None:
    waiver, new = Waived(place(5, 1), "w1", None, 4, Component.PRINCIPAL, 30), InstalmentDue(place(9, 2), Row(4, on(40), 50))
    _, nothing, added = trail([LOAN, waiver, new], DEFAULT, on(15)).postings
    assert (nothing.kind, nothing.lines) == ("waiver", ())
    assert said(added) == [(4, None, "principal", "due", 50, None), (4, None, "principal", "waived", 30, "w1")]


def test_an_unknown_loan_has_no_trail() -> None:
    assert trail([repaid(5, 10, 1)], DEFAULT, on(20)).postings == ()


def test_a_charge_known_from_the_start_is_dated_with_the_loan() -> None:
    from_start = ProductLine(allocation=Allocation(charges_known=ChargesKnown.FROM_THE_START))
    told = trail([LOAN, fee(15, 1, 5, due=12)], from_start, on(20)).postings
    assert [(one.kind, one.on) for one in told] == [("disbursement", on(0)), ("charge", on(0))]


def test_a_payment_counts_from_its_day_and_is_not_said_before() -> None:
    paid = Repaid(place(12, 1, recorded=30), "r1", 10, on(12))
    assert len(trail([LOAN, paid], DEFAULT, on(11)).postings) == 1
    assert last(LOAN, paid, day=12).event.time.date() == on(30)
