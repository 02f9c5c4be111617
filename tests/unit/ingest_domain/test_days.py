"""What a book says on a day, and when that will change."""

from datetime import UTC, datetime, time

import pytest

from services.ingest.domain.events import (
    Closed,
    LoanEvent,
    Paused,
    RepaymentPending,
    RepaymentReversed,
    Resumed,
    WrittenOff,
)
from services.ingest.domain.fold import fold, trace
from services.ingest.domain.product import (
    DEFAULT,
    AgeBy,
    Bound,
    Buckets,
    ProductLine,
    Tolerance,
)
from services.ingest.domain.view import Aged, Anchor, Status, view
from services.ingest.domain.wake import next_change_on, resting_until

from .loans import LOAN, disbursed, on, place, repaid, rows, seen

# Days, buckets, status


def test_what_is_left_within_the_tolerance_counts_as_met() -> None:
    strict = ProductLine(tolerance=Tolerance(amount=0, millionths=9_999))
    lenient = ProductLine(tolerance=Tolerance(amount=0, millionths=10_000))
    events: list[LoanEvent] = [LOAN, repaid(10, 297, 1)]
    assert seen(events, 12, strict).anchor == Anchor(1, on(10))
    assert seen(events, 12, lenient).anchor is None
    assert seen(events, 12, lenient).overdue.total == 0
    assert seen(events, 12, lenient).outstanding.total == 603
    assert seen(events, 12, ProductLine(tolerance=Tolerance(amount=3))).schedule[0].met_on == on(10)


def test_each_overdue_instalment_is_aged_by_its_own_days() -> None:
    shown = seen([disbursed(rows((0, 100), (40, 100), (70, 100)))], 75)
    assert (shown.bucket, shown.aged) == ("M3", (Aged("M1", 100), Aged("M2", 100), Aged("M3", 100)))


def test_a_bucket_changes_the_day_after_its_last() -> None:
    book = fold([LOAN], DEFAULT, on(35))
    assert next_change_on(view(book, on(35))) == on(41)
    assert (view(book, on(40)).bucket, view(book, on(41)).bucket) == ("M1", "M2")


def test_a_pause_puts_the_bucket_off_and_one_without_an_end_stops_it() -> None:
    line = ProductLine(grace_days=2, buckets=Buckets(AgeBy.DELINQUENT_DAYS, "none", (Bound("A", 5), Bound("B"))))
    loan = disbursed(rows((10, 300)))
    paused = fold([loan, Paused(place(0, 1), on(11), on(15))], line, on(15))
    assert next_change_on(view(paused, on(15))) == on(17)
    assert (view(paused, on(16)).bucket, view(paused, on(17)).bucket) == ("none", "A")
    endless: list[LoanEvent] = [loan, Paused(place(0, 1), on(11))]
    assert next_change_on(view(fold(endless, line, on(15)), on(15))) is None
    resumed = fold([*endless, Resumed(place(15, 2), on(20))], line, on(15))
    assert next_change_on(view(resumed, on(15))) == on(20)


def test_a_reminder_becomes_due_the_products_number_of_days_before() -> None:
    book = fold([LOAN], ProductLine(due_soon_days=3), on(0))
    assert next_change_on(view(book, on(0))) == on(7)


@pytest.mark.parametrize(
    ("last", "status"),
    [(WrittenOff(place(12, 2), on(12)), Status.WRITTEN_OFF), (Closed(place(12, 2), on(12)), Status.CLOSED)],
)
def test_nothing_is_owed_once_the_lender_has_ended_the_loan(last: LoanEvent, status: Status) -> None:
    shown = seen([LOAN, repaid(9, 100, 1), last], 15)
    assert (shown.status, shown.outstanding.total, shown.overdue.total, shown.anchor) == (status, 0, 0, None)
    assert shown.schedule[0].met_on == on(12)
    assert next_change_on(view(fold([LOAN, last], DEFAULT, on(15)), on(15))) is None


def test_a_write_off_says_what_it_wrote_off() -> None:
    traced = trace([LOAN, repaid(9, 100, 1), WrittenOff(place(12, 2), on(12), "wo")], DEFAULT, on(15))
    assert [(one.kind, one.principal) for one in traced.movements] == [("repayment", 100), ("write_off", 800)]


# Pending payments


@pytest.mark.parametrize(("hour", "last"), [(12, 14), (16, 14), (17, 15)])
def test_contacts_rest_while_a_payment_is_under_way_until_its_result(hour: int, last: int) -> None:
    until = datetime.combine(on(14), time(hour), UTC)  # in Shanghai in the evening, at midnight, and an hour later
    events: list[LoanEvent] = [LOAN, RepaymentPending(place(12, 1), "r2", 300, until)]
    book = fold(events, DEFAULT, on(12))
    assert [resting_until(book, on(day)) for day in (12, last, last + 1)] == [until, until, None]
    assert next_change_on(view(book, on(last))) == on(last + 1)
    assert fold([*events, repaid(12, 300, 2)], DEFAULT, on(12)).pending == ()
    assert fold([*events, RepaymentReversed(place(13, 3), "r2")], DEFAULT, on(12)).pending == ()


def test_a_payment_dated_after_today_rests_contacts_now_and_counts_on_its_day() -> None:
    book = fold([LOAN, repaid(14, 300, 1, recorded=12)], DEFAULT, on(12))
    assert view(book, on(12)).overdue.total == 300
    assert [resting_until(book, on(day)) for day in (12, 14)] == [datetime.combine(on(13), time(16), UTC), None]
    assert next_change_on(view(book, on(12))) == on(13)
    assert next_change_on(view(book, on(13))) == on(14)
    assert seen([LOAN, repaid(14, 300, 1, recorded=12)], 14).overdue.total == 0
