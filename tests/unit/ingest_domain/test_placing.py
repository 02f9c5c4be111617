"""Which instalments charges and debts belong to, and what an instalment keeps when another schedule replaces it."""

from services.ingest.domain.events import (
    ChargeAdded,
    Closed,
    Component,
    CreditRefunded,
    Effect,
    InstalmentDue,
    LoanEvent,
    Parts,
    Rescheduled,
    Row,
    WrittenOff,
)
from services.ingest.domain.fold import trace
from services.ingest.domain.product import DEFAULT, ProductLine, Tolerance
from services.ingest.domain.view import Anchor

from .loans import LOAN, disbursed, on, place, repaid, rows, seen

DOWN_PAYMENT_LAST = disbursed((Row(1, on(20), 100, down_payment=True),))
REFUNDED = CreditRefunded(place(10, 1), "rf1", 50, on(10))
"""Owed again outside the schedule, before the down payment that it skips."""


def test_a_down_payment_behind_the_extra_instalment_is_not_overdue_before_its_day() -> None:
    shown = seen([DOWN_PAYMENT_LAST, REFUNDED], 20)
    assert (shown.overdue, shown.anchor) == (Parts(principal=50), Anchor(2, on(10)))
    assert seen([DOWN_PAYMENT_LAST, REFUNDED], 21).overdue == Parts(principal=150)


def test_money_goes_to_the_extra_instalment_before_a_down_payment_that_is_due_later() -> None:
    shown = seen([DOWN_PAYMENT_LAST, REFUNDED, repaid(15, 60, 2)], 15)
    assert [(row.n, row.late, row.in_advance) for row in shown.schedule] == [(2, 50, 0), (1, 0, 10)]


def test_a_published_instalment_that_is_there_already_is_a_repeat_beside_an_extra_instalment_too() -> None:
    later = InstalmentDue(place(12, 2), Row(1, on(20), 100))
    assert seen([DOWN_PAYMENT_LAST, REFUNDED, later], 15).ignored == ()


def test_a_loan_closed_and_then_written_off_has_nothing_left_from_the_day_it_was_closed() -> None:
    shown = seen([LOAN, Closed(place(5, 1), on(5)), WrittenOff(place(8, 2), on(8), "wo1")], 9)
    assert {row.met_on for row in shown.schedule} == {on(5)}


def test_what_the_tolerance_covers_does_not_become_met_by_the_coming_of_another_instalment() -> None:
    events: list[LoanEvent] = [disbursed(rows((10, 2), (30, 300))), InstalmentDue(place(5, 1), Row(3, on(20), 300))]
    assert [row.met_on for row in seen(events, 6, ProductLine(tolerance=Tolerance(2))).schedule] == [None, None, None]


def test_what_was_paid_stays_on_its_instalment_when_another_one_of_the_same_day_is_published() -> None:
    published = [InstalmentDue(place(0, 1), Row(2, on(10), 100)), InstalmentDue(place(2, 3), Row(1, on(10), 100))]
    shown = seen([disbursed(()), *published, repaid(1, 100, 2)], 3)
    assert [(row.n, row.paid.total) for row in shown.schedule] == [(1, 0), (2, 100)]


def test_a_schedule_from_the_start_does_not_hide_the_age_of_instalments_published_one_by_one() -> None:
    published = InstalmentDue(place(0, 1), Row(1, on(10), 300))
    agreed = Rescheduled(place(20, 2), 2, "re-ageing", rows((40, 300)), Effect.FROM_START, on(20))
    assert seen([disbursed(()), published, agreed], 25).dpd_original_from == on(10)


def test_no_payment_is_shown_to_have_paid_a_late_charge_with_the_credit_of_another() -> None:
    payments = [repaid(9, 5, number) for number in range(2, 22)]
    fee = ChargeAdded(place(15, 30), "c30", Component.FEE, 30, on(15))
    shown = trace([LOAN, repaid(5, 900, 1), *payments, fee], DEFAULT, on(20))
    assert [one.fee for one in shown.movements] == [0] + [5] * 6 + [0] * 14
