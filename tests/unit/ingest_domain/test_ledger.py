"""Single cases of the ledger, including those that other systems get wrong."""

from datetime import UTC, date, datetime, time

import msgspec
import pytest

from services.ingest.domain.advance import advance
from services.ingest.domain.book import Ignored
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.events import (
    Allotted,
    ChargeAdded,
    ChargedBack,
    ChargedOff,
    ChargeOffReversed,
    Component,
    CreditRefunded,
    Effect,
    InstalmentDue,
    LoanEvent,
    Parts,
    Paused,
    Place,
    Repaid,
    RepaymentReversed,
    Rescheduled,
    Retracted,
    Row,
    Waived,
    WaiverReversed,
    charge_day,
)
from services.ingest.domain.fold import MOST_OPEN_WAIVERS, fold, trace
from services.ingest.domain.product import (
    DEFAULT,
    Allocation,
    ChargeClass,
    ChargesKnown,
    ProductLine,
    Slot,
)
from services.ingest.domain.select import not_retracted
from services.ingest.domain.view import Anchor, NextDue, Status, view
from services.ingest.domain.wake import next_change_on

from .loans import LOAN, disbursed, on, place, repaid, rows, seen


def fee(day: int, number: int, amount: int = 50, *, due: int, n: int | None = None) -> ChargeAdded:
    return ChargeAdded(place(day, number), f"c{number}", Component.FEE, amount, on(due), n)


# What others get wrong


def test_after_a_partial_payment_only_the_rest_is_overdue_and_the_age_stays() -> None:
    shown = seen([LOAN, repaid(12, 200, 1)], 15)
    assert shown.overdue == Parts(principal=100)
    assert shown.anchor == Anchor(1, on(10))
    assert shown.past_due_days == 5


def test_a_loan_is_overdue_from_the_day_after_and_on_every_later_day_not_only_on_one() -> None:
    assert seen([LOAN], 10).past_due_days == 0
    assert [seen([LOAN], day).past_due_days for day in (11, 12, 13, 19)] == [1, 2, 3, 9]


def test_a_change_is_not_missed_when_nobody_looked_on_its_day() -> None:
    book = fold([LOAN], DEFAULT, on(0))
    assert next_change_on(view(book, on(0))) == on(3)
    assert next_change_on(view(book, on(5))) == on(11)
    assert next_change_on(view(book, on(11))) == on(13)
    assert view(book, on(25)).overdue == seen([LOAN], 25).overdue == Parts(principal=600)


def test_a_payment_that_arrives_late_counts_on_the_day_on_which_it_was_paid() -> None:
    late = repaid(9, 300, 1, recorded=25)
    first = seen([LOAN, late], 25).schedule[0]
    assert (first.met_on, first.in_advance, first.late) == (on(9), 300, 0)
    assert seen([LOAN, late], 15).overdue.total == 0


def test_a_back_dated_payment_moves_those_made_after_it() -> None:
    events: list[LoanEvent] = [LOAN, repaid(12, 300, 1)]
    assert seen(events, 21).anchor == Anchor(2, on(20))
    traced = trace([*events, repaid(10, 300, 2, recorded=21)], DEFAULT, on(21))
    assert [row.met_on for row in traced.book.rows] == [on(10), on(12), None]
    assert [one.id for one in traced.movements] == ["r2", "r1"]


def test_a_pause_before_the_debt_was_overdue_takes_no_day_from_it() -> None:
    pause = Paused(place(0, 1), on(2), on(8))
    shown = seen([LOAN, pause], 15)
    assert (shown.past_due_days, shown.paused_days, shown.delinquent_days) == (5, 0, 5)


def test_only_the_days_of_a_pause_inside_the_overdue_time_are_taken_off() -> None:
    pause = Paused(place(0, 1), on(7), on(13))
    shown = seen([LOAN, pause], 15, ProductLine(grace_days=1))
    assert (shown.past_due_days, shown.paused_days, shown.delinquent_days) == (5, 3, 1)
    assert shown.delinquent_from == on(11)


# The set of events


def test_a_payment_before_the_loan_waits_and_counts_when_the_loan_arrives() -> None:
    alone = fold([repaid(5, 300, 1)], DEFAULT, on(15))
    assert not alone.known
    assert advance(alone, LOAN, DEFAULT, on(15)) is None
    assert seen([repaid(5, 300, 1), LOAN], 15).overdue.total == 0


def test_a_loan_disbursed_tomorrow_is_known_today() -> None:
    book = fold([LOAN], DEFAULT, on(-1))
    assert book.known
    assert next_change_on(view(book, on(-1))) == on(3)


def test_of_two_disbursements_the_one_recorded_first_counts() -> None:
    other = disbursed(rows((5, 999)), number=4)
    book = fold([other, LOAN], DEFAULT, on(15))
    assert [row.due[0] for row in book.rows] == [300, 300, 300]
    assert book.ignored == (Ignored("e4", "another disbursement makes the loan"),)


def test_a_reversal_that_comes_first_waits_for_its_payment() -> None:
    reversal = RepaymentReversed(place(12, 2), "r1")
    book = fold([LOAN, reversal], DEFAULT, on(15))
    assert book.ignored == (Ignored("e2", "no repayment r1"),)
    assert advance(book, repaid(13, 300, 1), DEFAULT, on(15)) is None
    shown = seen([LOAN, reversal, repaid(13, 300, 1)], 15)
    assert shown.anchor == Anchor(1, on(10))
    assert shown.ignored == ()


def test_a_reversal_without_an_id_undoes_the_charge_offs_recorded_before_it_whichever_comes_first() -> None:
    before, reversal, after = (
        ChargedOff(place(11, 1), on(11), "co"),
        ChargeOffReversed(place(12, 2), None),
        ChargedOff(place(13, 3), on(13)),
    )
    alone = fold([LOAN, reversal], DEFAULT, on(15))
    assert alone.ignored == (Ignored("e2", "no charge-off"),)
    assert advance(alone, before, DEFAULT, on(15)) is None
    both = fold([LOAN, after, reversal], DEFAULT, on(15))
    assert (both.charged_off_on, advance(both, before, DEFAULT, on(15))) == (on(13), None)
    assert fold([LOAN, before, reversal], DEFAULT, on(15)).charged_off_on is None


def test_a_retracted_retraction_lets_the_event_count_again() -> None:
    payment, undo = repaid(9, 300, 1), Retracted(place(12, 2), None, "e1")
    assert seen([LOAN, payment, undo], 15).overdue.total == 300
    assert seen([LOAN, payment, undo, Retracted(place(13, 3), "wallet", "e2")], 15).overdue.total == 0


def test_a_retraction_counts_whichever_of_it_and_its_target_was_recorded_first() -> None:
    payment = repaid(9, 300, 1)
    first = Retracted(place(12, 2), None, "e3")
    second = Retracted(place(13, 3), None, "e1")
    assert seen([LOAN, payment, second], 15).overdue.total == 300
    assert seen([LOAN, payment, first, second], 15).overdue.total == 0


def test_of_two_retractions_of_each_other_the_one_recorded_last_counts() -> None:
    each = Retracted(place(12, 2), None, "e3"), Retracted(place(13, 3), None, "e2")
    assert not_retracted(each) == ([], [])
    assert not_retracted([*each, repaid(9, 300, 1), Retracted(place(11, 4), None, "e3")])[1] == [each[0]]


def test_of_two_retractions_of_one_event_the_one_recorded_first_finds_nothing_to_retract() -> None:
    first, second = (Retracted(place(9, number), None, "e1") for number in (2, 3))
    events: list[LoanEvent] = [repaid(9, 300, 1), first, second]
    assert not_retracted(events) == ([], [first])
    assert not_retracted(events[1:]) == ([], [second, first])


def test_a_retraction_from_another_source_names_the_source() -> None:
    at = Place(on(12), datetime.combine(on(12), time(6), UTC), "back-office", "undo")
    assert seen([LOAN, repaid(9, 300, 1), Retracted(at, None, "e1")], 15).overdue.total == 0
    assert seen([LOAN, repaid(9, 300, 1), Retracted(at, "wallet", "e1")], 15).overdue.total == 300


def test_a_second_payment_under_the_same_key_with_another_amount_is_ignored() -> None:
    twice = Repaid(place(13, 5), "r1", 999, on(13))
    book = fold([LOAN, repaid(12, 300, 1), twice], DEFAULT, on(15))
    assert sum(sum(row.paid) for row in book.rows) == 300
    assert book.ignored == (Ignored("e5", "another event has the same key"),)


def test_a_publishers_own_allocation_comes_first_and_the_movement_says_so() -> None:
    payment = Repaid(place(12, 1), "r1", 400, on(12), allocations=(Allotted(3, Parts(principal=350)), Allotted(9, Parts(fee=5))))
    traced = trace([LOAN, payment], DEFAULT, on(15))
    assert [sum(row.paid) for row in traced.book.rows] == [100, 0, 300]
    assert (traced.movements[0].explicit, traced.movements[0].principal) == (300, 400)


def test_the_highest_version_in_force_counts_and_one_from_the_start_voids_those_below() -> None:
    second = Rescheduled(place(12, 1), 2, None, rows((40, 900)), Effect.FROM_DATE)
    third = Rescheduled(place(14, 2), 3, None, rows((15, 450), (45, 450)), Effect.FROM_START)
    assert [row.due_on for row in fold([LOAN, second, third], DEFAULT, on(13)).rows] == [on(40)]
    assert [row.due_on for row in fold([LOAN, second, third], DEFAULT, on(14)).rows] == [on(15), on(45)]
    lower = Rescheduled(place(16, 3), 1, None, rows((99, 1)), Effect.FROM_DATE)
    assert fold([LOAN, second, third, lower], DEFAULT, on(20)).version == 3


def test_a_new_schedule_does_not_hide_the_age_of_the_debt() -> None:
    events: list[LoanEvent] = [
        LOAN,
        repaid(9, 300, 1),
        Rescheduled(place(25, 2), 1, "re-ageing", rows((10, 300), (60, 600)), Effect.FROM_DATE),
    ]
    shown = seen(events, 26)
    assert shown.anchor is None
    assert shown.dpd_original_from == on(20)


def test_what_a_new_schedule_sets_free_is_spread_again() -> None:
    events: list[LoanEvent] = [LOAN, repaid(9, 400, 1), Rescheduled(place(12, 2), 1, None, rows((10, 200), (50, 700)), Effect.FROM_DATE)]
    assert [(row.due_on, sum(row.paid)) for row in fold(events, DEFAULT, on(13)).rows] == [(on(10), 200), (on(50), 200)]


def test_an_instalment_that_a_new_schedule_cuts_to_what_was_paid_is_met_on_that_day() -> None:
    cut = Rescheduled(place(12, 2), 2, "re-ageing", (*rows((10, 100), (20, 0)), Row(3, on(40), 800)), Effect.FROM_DATE)
    shown = seen([LOAN, repaid(9, 100, 1), cut], 13)
    assert [(row.outstanding.total, row.met_on) for row in shown.schedule] == [(0, on(12)), (0, None), (800, None)]


# Charges and waivers


def test_a_waiver_without_an_amount_gives_up_what_was_open_when_it_was_recorded() -> None:
    charge = fee(11, 1, due=11, n=1)
    waiver = Waived(place(15, 3), "w3", "c1")
    paid_before = Repaid(place(13, 2), "r2", 320, on(13))
    shown = seen([LOAN, charge, paid_before, waiver], 16)
    assert [(one.paid, one.waived, one.outstanding) for one in shown.charges] == [(50, 0, 0)]
    part = Repaid(place(13, 2), "r2", 20, on(13))
    shown = seen([LOAN, charge, part, waiver], 16)
    assert [(one.paid, one.waived, one.outstanding) for one in shown.charges] == [(20, 30, 0)]
    assert seen([LOAN, charge, part, waiver, WaiverReversed(place(16, 4), "w3")], 16).charges[0].outstanding == 30


def test_a_payment_recorded_before_a_waiver_changes_what_it_gave_up_even_when_it_comes_later() -> None:
    charge, waiver = fee(11, 1, due=11, n=1), Waived(place(15, 3), "w3", "c1")
    book = fold([LOAN, charge, waiver], DEFAULT, on(16))
    missing = Repaid(place(14, 2), "r2", 20, on(14))
    assert advance(book, missing, DEFAULT, on(16)) is None
    assert fold([LOAN, charge, waiver, missing], DEFAULT, on(16)).charges[0].waived == 30


def test_a_waived_charge_stays_waived_under_a_new_schedule() -> None:
    events: list[LoanEvent] = [LOAN, fee(11, 1, due=11), Waived(place(12, 2), "w2", "c1", amount=50)]
    new = Rescheduled(place(14, 3), 1, None, rows((40, 900)), Effect.FROM_DATE)
    shown = seen([*events, new], 15)
    assert [(row.due.fee, row.waived.fee, row.outstanding.fee) for row in shown.schedule] == [(50, 50, 0)]


def test_a_waived_charge_that_moves_to_another_instalment_leaves_nothing_to_owe_on_the_one_it_leaves() -> None:
    given_up: list[LoanEvent] = [fee(8, 1, due=8), Waived(place(9, 2), "w2", "c1", amount=50)]
    paid = repaid(12, 350, 3)
    first = Rescheduled(place(13, 4), 1, "agreed", rows((10, 300), (20, 300)), Effect.FROM_DATE, on(13))
    second = Rescheduled(place(14, 5), 2, "agreed", rows((9, 100), (10, 300), (20, 200)), Effect.FROM_DATE, on(14))
    events: list[LoanEvent] = [disbursed((Row(1, on(10), 300, fee=50), Row(2, on(20), 300))), *given_up, paid, first, second]
    shown = seen(events, 15)
    assert [(row.due.fee, row.waived.fee, row.outstanding.fee) for row in shown.schedule] == [(50, 50, 0), (0, 0, 0), (0, 0, 0)]


def test_an_instalment_met_with_a_waived_charge_stays_met_under_a_new_schedule() -> None:
    paid_up: list[LoanEvent] = [fee(8, 1, due=8), Waived(place(9, 2), "w2", "c1", amount=50), repaid(10, 300, 3)]
    again = Rescheduled(place(12, 4), 1, "agreed", rows((10, 300), (25, 300)), Effect.FROM_DATE, on(12))
    events: list[LoanEvent] = [disbursed(rows((10, 300), (20, 300))), *paid_up]
    assert seen(events, 11).schedule[0].met_on == on(10)
    shown = seen([*events, again], 15)
    assert [(row.outstanding.total, row.met_on) for row in shown.schedule] == [(0, on(10)), (300, None)]


def test_a_waiver_of_a_component_gives_up_what_the_schedule_asks_first_and_then_the_charges_in_it() -> None:
    events: list[LoanEvent] = [disbursed((Row(1, on(10), 300, fee=20),)), fee(8, 1, due=8), fee(9, 2, 30, due=9)]
    waiver = Waived(place(11, 3), "w3", None, 1, Component.FEE, 75)
    shown = seen([*events, waiver], 12)
    assert [(one.charge_id, one.waived, one.outstanding) for one in shown.charges] == [("c1", 50, 0), ("c2", 5, 25)]
    assert shown.outstanding.fee == 25
    moved = Rescheduled(place(14, 4), 2, None, rows((9, 0), (40, 300)), Effect.FROM_DATE)
    assert [(row.due.fee, row.waived.fee) for row in seen([*events, waiver, moved], 15).schedule] == [(80, 55), (0, 0)]


def test_a_waiver_of_an_instalment_takes_effect_when_the_instalment_is_there() -> None:
    waiver = Waived(place(5, 1), "w1", None, 4, Component.INTEREST, 30)
    book = fold([LOAN, waiver], DEFAULT, on(15))
    assert book.ignored == (Ignored("e1", "no instalment 4"),)
    new = InstalmentDue(place(14, 2), Row(4, on(40), 100, interest=40))
    assert advance(book, new, DEFAULT, on(15)) is None
    assert seen([LOAN, waiver, new], 15).schedule[3].waived == Parts(interest=30)


def test_a_waiver_of_an_instalment_waits_for_a_new_schedule_too() -> None:
    waiver = Waived(place(5, 1), "w1", None, 4, Component.PRINCIPAL, 30)
    new = Rescheduled(place(14, 2), 1, None, rows((40, 900), first=4), Effect.FROM_DATE)
    assert advance(fold([LOAN, waiver], DEFAULT, on(15)), new, DEFAULT, on(15)) is None
    assert seen([LOAN, waiver, new], 15).outstanding.total == 870


def test_a_charge_past_its_own_date_is_overdue_before_its_instalment_is() -> None:
    events: list[LoanEvent] = [LOAN, repaid(9, 300, 1), fee(11, 2, due=12)]
    assert seen(events, 12).overdue.total == 0
    shown = seen(events, 13)
    assert shown.overdue == Parts(fee=50)
    assert shown.anchor == Anchor(2, on(12))
    assert next_change_on(view(fold(events, DEFAULT, on(12)), on(12))) == on(13)


def test_a_charge_that_the_publisher_puts_on_a_later_instalment_keeps_its_age_when_an_earlier_one_falls_due() -> None:
    events: list[LoanEvent] = [LOAN, fee(4, 1, due=5, n=3)]
    assert [seen(events, day).past_due_days for day in (5, 6, 10, 11, 12)] == [0, 1, 5, 6, 7]
    assert seen(events, 12).anchor == Anchor(3, on(5))


def test_a_charge_from_the_start_counts_before_everything_else() -> None:
    assert charge_day(ChargesKnown.FROM_THE_START, on(5), on(9)) == date.min
    usual = DEFAULT.allocation.charges_known
    assert charge_day(usual, on(5), on(9)) == charge_day(usual, on(9), on(5)) == on(5)


def test_a_waiver_of_a_later_charge_leaves_the_turn_to_the_one_that_is_due() -> None:
    principal_first = sorted(Slot, key=lambda slot: slot is not Slot.IN_ADVANCE_PRINCIPAL and slot.value.startswith("in_advance"))
    by_charge = ProductLine(allocation=Allocation(order=tuple(principal_first), charge_class_by=ChargeClass.CHARGE))
    events: list[LoanEvent] = [LOAN, fee(1, 1, due=4), fee(1, 2, 60, due=8), Waived(place(2, 3), "w3", "c2"), repaid(5, 70, 4)]
    shown = seen(events, 6, by_charge)
    assert [(one.paid, one.waived, one.outstanding) for one in shown.charges] == [(50, 0, 0), (0, 60, 0)]
    assert shown.anchor is None


# Credit, chargebacks, refunds


def test_surplus_is_credit_and_pays_what_falls_due_later() -> None:
    events: list[LoanEvent] = [disbursed(()), InstalmentDue(place(3, 1), Row(1, on(10), 100)), repaid(9, 150, 2)]
    assert (seen(events, 12).status, seen(events, 12).credit) == (Status.OVERPAID, 50)
    later = seen([*events, InstalmentDue(place(12, 3), Row(2, on(20), 100))], 12)
    assert (later.status, later.credit, later.next_due) == (Status.ACTIVE, 0, NextDue(2, on(20), 50))


def test_an_instalment_in_another_currency_is_ignored() -> None:
    book = fold([disbursed(()), InstalmentDue(place(3, 1), Row(1, on(10), 100), "EUR")], DEFAULT, on(12))
    assert (book.rows, book.ignored) == ((), (Ignored("e1", "another currency than the loan's"),))


def test_a_chargeback_ages_from_its_own_date() -> None:
    events: list[LoanEvent] = [LOAN, repaid(10, 300, 1), repaid(11, 300, 2), ChargedBack(place(13, 3), "cb3", "r1", 400, on(13))]
    assert seen(events, 13).overdue.total == 0
    shown = seen(events, 14)
    assert (shown.anchor, shown.overdue.total) == (Anchor(2, on(13)), 100)
    assert next_change_on(view(fold(events, DEFAULT, on(13)), on(13))) == on(14)


def test_a_chargeback_older_than_a_down_payment_it_skips_keeps_its_age() -> None:
    schedule = (Row(1, on(0), 100, down_payment=True), Row(2, on(10), 100, down_payment=True), Row(3, on(20), 100))
    events: list[LoanEvent] = [disbursed(schedule), repaid(0, 100, 1), ChargedBack(place(5, 2), "cb", "r1", 100, on(5))]
    assert seen(events, 12).anchor == Anchor(3, on(5))


def test_a_chargeback_of_a_reversed_payment_has_no_effect() -> None:
    back = ChargedBack(place(13, 3), "cb3", "r1", 100, on(13))
    book = fold([LOAN, repaid(10, 300, 1), RepaymentReversed(place(12, 2), "r1"), back], DEFAULT, on(15))
    assert book.debts == ()
    assert book.ignored == (Ignored("e3", "payment r1 is reversed"),)


def test_a_refund_beyond_the_credit_is_owed_again() -> None:
    book = fold([LOAN, repaid(10, 1000, 1), CreditRefunded(place(12, 2), "rf2", 250, on(12))], DEFAULT, on(15))
    assert sum(row.left for row in book.rows) == 150
    assert book.credit == ()


def test_an_instalment_is_open_again_when_money_on_it_is_owed_again() -> None:
    events: list[LoanEvent] = [LOAN, repaid(5, 600, 1)]
    assert seen(events, 6).schedule[1].met_on == on(5)
    assert seen([*events, fee(7, 2, due=15)], 8).schedule[1].met_on is None


# Cost and limits


def test_a_book_does_not_grow_with_the_number_of_payments() -> None:
    few = fold([LOAN, *(repaid(9, 1, number) for number in range(1, 6))], DEFAULT, on(15))
    many = fold([LOAN, *(repaid(9, 1, number) for number in range(1, 401))], DEFAULT, on(15))
    overpaid = fold([LOAN, *(repaid(9, 100, number) for number in range(1, 401))], DEFAULT, on(15))
    size = len(msgspec.msgpack.encode(few))
    assert len(msgspec.msgpack.encode(many)) < size + 20
    assert len(msgspec.msgpack.encode(overpaid)) < size + 1000


def test_a_sum_beyond_64_bits_is_not_folded() -> None:
    huge = [repaid(9, 2**62, number) for number in (1, 2)]
    with pytest.raises(CannotFold, match="64 bits"):
        fold([LOAN, *huge], DEFAULT, on(15))
    with pytest.raises(CannotFold, match="64 bits"):
        advance(fold([LOAN, huge[0]], DEFAULT, on(15)), huge[1], DEFAULT, on(15))


def test_a_date_beyond_the_calendar_is_not_judged() -> None:
    far = disbursed((Row(1, date(9999, 12, 30), 100),))
    book = fold([far], ProductLine(grace_days=3650), date(9999, 12, 31))
    with pytest.raises(CannotFold, match="calendar"):
        view(book, date(9999, 12, 31))


def test_more_waivers_without_an_amount_than_can_be_judged_are_left_to_a_person() -> None:
    waivers = [Waived(place(12, number), f"w{number}", "c1") for number in range(1, MOST_OPEN_WAIVERS + 2)]
    with pytest.raises(CannotFold, match="waivers"):
        fold([LOAN, *waivers], DEFAULT, on(15))


def test_a_charge_that_comes_after_a_later_waiver_that_names_it_is_refolded_with_it() -> None:
    waiver, charge = Waived(place(2, 1, recorded=0), "w", charge_id="c2"), fee(0, 2, due=0)
    before = fold([disbursed(rows((10, 100))), waiver], DEFAULT, on(1))
    whole = fold([disbursed(rows((10, 100))), waiver, charge], DEFAULT, on(1))
    went_on = advance(before, charge, DEFAULT, on(1))
    assert went_on is None or went_on == whole
