"""What holds for every set of events."""

import random
from collections.abc import Sequence
from datetime import date, timedelta

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.ingest.domain.advance import advance
from services.ingest.domain.book import Book
from services.ingest.domain.events import (
    ChargeOffReversed,
    Disbursed,
    LoanEvent,
    Place,
    Repaid,
    RepaymentPending,
    RepaymentReversed,
    Retracted,
    Waived,
    WaiverReversed,
)
from services.ingest.domain.fold import Movement, fold, trace
from services.ingest.domain.product import DEFAULT, ProductLine
from services.ingest.domain.select import key_of
from services.ingest.domain.state import public_state
from services.ingest.domain.value import replace
from services.ingest.domain.view import LoanView, received, view
from services.ingest.domain.wake import next_change_on

from .loans import LAST, disbursed, event_sets, on, place, products, repaid, rows

last_days = st.integers(0, LAST + 10)
SPREAD_OF_COSTS = settings(deadline=None, max_examples=150)


def shuffled_with_repeats(events: Sequence[LoanEvent], seed: int) -> list[LoanEvent]:
    chance = random.Random(seed)
    repeated = [event for event in events for _ in range(chance.randint(1, 3))]
    chance.shuffle(repeated)
    return repeated


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days, seed=st.integers(0, 1000))
def test_any_order_and_any_repetition_of_the_events_gives_the_same_book(
    events: list[LoanEvent], product: ProductLine, day: int, seed: int
) -> None:
    again = shuffled_with_repeats(events, seed)
    assert fold(again, product, on(day)) == fold(events, product, on(day))
    assert trace(again, product, on(day)) == trace(events, product, on(day))


@settings(deadline=None, max_examples=300)
@given(events=event_sets(), product=products(), day=last_days, more=st.integers(0, 12))
def test_one_more_event_on_a_book_gives_what_a_refold_gives(events: list[LoanEvent], product: ProductLine, day: int, more: int) -> None:
    for count in range(len(events)):
        before = fold(events[:count], product, on(day))
        after = advance(before, events[count], product, on(day + more))
        if after is not None:
            assert after == fold(events[: count + 1], product, on(day + more))


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_events_in_their_order_give_the_same_book_one_by_one(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    in_order = sorted(events, key=lambda event: event.place)
    book = fold((), product, on(day))
    for count, event in enumerate(in_order, 1):
        book = advance(book, event, product, on(day)) or fold(in_order[:count], product, on(day))
    assert book == fold(events, product, on(day))


def test_a_plain_repayment_in_its_order_needs_no_refold() -> None:
    book = fold([disbursed(rows((10, 100), (20, 100)))], DEFAULT, on(5))
    assert advance(book, repaid(4, 30, 1), DEFAULT, on(5)) is not None


def taken_from_credit_for_good(movements: Sequence[Movement]) -> int:
    return sum(one.amount for one in movements if one.kind in ("chargeback", "refund") and one.credit == -one.amount)


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_all_money_received_is_on_instalments_or_credit(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    traced = trace(events, product, on(day))
    other = ("chargeback", "refund", "charge_off", "write_off")
    received = sum(one.amount for one in traced.movements if one.kind not in other and not one.reversed)
    on_rows = sum(sum(row.paid) for row in traced.book.rows)
    credit = sum(lot.amount for lot in traced.book.credit)
    assert received == on_rows + credit + taken_from_credit_for_good(traced.movements)


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_no_component_is_ever_below_zero(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    book = fold(events, product, on(day))
    for row in book.rows:
        assert min(*row.due, *row.paid, *row.waived, *row.open, row.in_advance, row.late) >= 0
        assert row.left == sum(row.open)
        assert row.in_advance + row.late <= sum(row.paid)
    assert [row.due_on for row in book.rows] == sorted(row.due_on for row in book.rows)
    if book.known:
        for charge in view(book, on(day)).charges:
            assert min(charge.paid, charge.waived, charge.outstanding) >= 0


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days, which=st.integers(0, 100))
def test_a_retracted_event_was_never_sent(events: list[LoanEvent], product: ProductLine, day: int, which: int) -> None:
    target = events[which % len(events)]
    late = place(LAST, 999)
    retraction = Retracted(Place(late.day, late.time, "wallet", "undo"), None, target.place.id)
    without = [event for event in events if event is not target]
    assert fold([*events, retraction], product, on(day)) == fold(without, product, on(day))


def counts_by(event: LoanEvent, product: ProductLine, day: date) -> bool:
    """Return whether an event counts by a day; one that makes the loan, undoes another or is pending has no day."""
    if isinstance(event, Disbursed | RepaymentReversed | WaiverReversed | ChargeOffReversed | Retracted | RepaymentPending):
        return True
    return isinstance(event, Waived) or key_of(event, product.allocation.charges_known)[0] <= day


def settled(book: Book) -> Book:
    """Leave out what a book says about later days, missing targets, and its last event: a waiver may come with its charge."""
    return replace(book, last=None, next_event_on=None, repayment_until=None, ignored=(), awaited=(), pending=())


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_the_book_of_a_day_is_that_of_the_events_that_count_by_then(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    # The amount of a waiver without one depends on what was recorded before it, whatever the day on which that counts.
    assume(not any(isinstance(event, Waived) and event.amount is None for event in events))
    by_then = [event for event in events if counts_by(event, product, on(day))]
    assert settled(fold(by_then, product, on(day))) == settled(fold(events, product, on(day)))


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_a_stored_book_comes_back_as_it_was(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    book = fold(events, product, on(day))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(book), type=Book) == book


def fact_of(shown: LoanView) -> tuple[object, ...]:
    """The parts of an overdue fact that time alone can change."""
    return shown.status, shown.anchor, shown.overdue, shown.outstanding, shown.next_due, shown.bucket, shown.dpd_original_from


@settings(deadline=None, max_examples=250)
@given(events=event_sets(), product=products(), day=last_days)
def test_the_fact_does_not_change_before_the_next_change_is_due(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    book = fold(events, product, on(day))
    assume(book.known)
    ahead = next_change_on(view(book, on(day)))
    assert ahead is None or ahead > on(day)
    until = min(ahead or on(day + 40), on(day + 40))
    fact = fact_of(view(book, on(day)))
    for step in range(1, (until - on(day)).days):
        later = on(day) + timedelta(days=step)
        assert fact_of(view(book, later)) == fact
        assert view(fold(events, product, later), later).outstanding == view(book, later).outstanding


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_there_is_an_anchor_exactly_when_something_is_overdue(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    book = fold(events, product, on(day))
    shown = view(book, on(day))
    assert (shown.anchor is not None) == (shown.overdue.total > 0)
    assert (shown.anchor is not None) == (shown.past_due_days > 0)
    remaining = shown.outstanding - shown.overdue
    assert min(remaining.principal, remaining.interest, remaining.fee, remaining.penalty) >= 0
    if shown.aged and not shown.bucket.startswith("none"):
        assert sum(one.amount for one in shown.aged) <= shown.overdue.total


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_the_public_state_is_plain_json(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    traced = trace(events, product, on(day))
    state = public_state(traced, on(day))
    assert msgspec.json.decode(msgspec.json.encode(state)) == state
    payments = {event.repayment_id for event in events if isinstance(event, Repaid)}
    assert {one.id for one in traced.movements if one.kind == "repayment"} <= payments


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_what_was_received_is_what_was_paid_and_not_taken_back(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    made = trace(events, product, on(day))
    assume(made.book.known)
    signs = {"chargeback": -1, "refund": -1, "charge_off": 0, "write_off": 0}
    paid = sum(signs.get(one.kind, 1) * one.amount for one in made.movements if not one.reversed)
    assert received(made.book) == max(0, paid)
