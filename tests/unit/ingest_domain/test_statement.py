"""A statement agrees with itself and with the loan, whatever the events are."""

from collections import defaultdict
from itertools import chain

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.ingest.domain.events import (
    ChargeAdded,
    Component,
    CreditRefunded,
    Effect,
    LoanEvent,
    Parts,
    Repaid,
    Rescheduled,
    WrittenOff,
)
from services.ingest.domain.fold import trace
from services.ingest.domain.product import DEFAULT, ProductLine
from services.ingest.domain.state import public_state
from services.ingest.domain.statement import Statement, stated
from services.ingest.domain.trail import Side

from .loans import LAST, LOAN, event_sets, on, place, products, repaid, rows

last_days = st.integers(0, LAST + 10)
SPREAD_OF_COSTS = settings(deadline=None, max_examples=80)


def statement_of(events: list[LoanEvent], product: ProductLine, day: int) -> Statement:
    """The statement; an unknown loan has none."""
    found = stated(events, product, on(day))
    assert (found is not None) == trace(events, product, on(day)).book.known
    assume(found is not None)
    assert found is not None
    return found


def as_told(parts: Parts) -> dict[str, int]:
    return {**{component.value: getattr(parts, component.value) for component in Component}, "total": parts.total}


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_the_sums_are_those_of_the_loan_and_of_its_instalments(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    statement = statement_of(events, product, day)
    state = public_state(trace(events, product, on(day)), on(day))
    totals, instalments = statement.totals, statement.instalments
    outstanding = totals.due - totals.paid - totals.waived - totals.left_at_end
    assert as_told(outstanding) == state["outstanding"]
    assert as_told(sum((one.row.outstanding for one in instalments), Parts())) == state["outstanding"]
    assert as_told(sum((one.overdue for one in instalments), Parts())) == state["overdue"]
    assert totals.left_at_end == Parts() or state["status"] in ("written_off", "closed")
    assert min(totals.left_at_end.amounts) >= 0


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_the_last_line_and_entry_leave_what_the_loan_says(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    statement = statement_of(events, product, day)
    state = public_state(trace(events, product, on(day)), on(day))
    last = statement.entries[-1]
    assert as_told(statement.shown.outstanding)["total"] == last.posting.outstanding == state["outstanding"]["total"]  # type: ignore[index]
    assert sum(one.credit_change for one in statement.entries) == last.posting.credit == state["credit"]
    for one in statement.entries:
        assert not one.lines or one.lines[-1].balance == one.posting.outstanding


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_every_entry_and_line_has_the_next_number(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    statement = statement_of(events, product, day)
    numbers = list(chain.from_iterable((one.number, *(row.number for row in one.lines)) for one in statement.entries))
    assert numbers == list(range(1, len(numbers) + 1))


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_a_payment_is_on_its_lines_or_kept_as_credit_when_it_comes(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    kinds = {event.repayment_id: event.kind.value for event in events if isinstance(event, Repaid)}
    for one in statement_of(events, product, day).entries:
        posting = one.posting
        if posting.id in kinds and posting.kind == kinds[posting.id] and posting.undone_by is None:
            assert {(row.line.side, row.line.by) for row in one.lines} <= {(Side.PAID, posting.id)}
            assert sum(row.line.amount for row in one.lines) + one.credit_change == posting.amount


@SPREAD_OF_COSTS
@given(events=event_sets(), product=products(), day=last_days)
def test_the_lines_of_an_instalment_are_its_row(events: list[LoanEvent], product: ProductLine, day: int) -> None:
    statement = statement_of(events, product, day)
    sums = defaultdict[tuple[int, Side, Component], int](int)
    for one in statement.entries:
        for row in one.lines:
            sums[row.line.n, row.line.side, row.line.component] += row.line.amount
    for owed in statement.instalments:
        for side, parts in ((Side.DUE, owed.row.due), (Side.PAID, owed.row.paid), (Side.WAIVED, owed.row.waived)):
            assert [sums[owed.row.n, side, component] for component in Component] == [getattr(parts, c.value) for c in Component]


# Single cases


def test_the_balance_runs_from_line_to_line() -> None:
    statement = stated([LOAN, repaid(12, 350, 1)], DEFAULT, on(15))
    assert statement is not None
    assert [(row.number, row.line.n, row.line.amount, row.balance) for one in statement.entries for row in one.lines] == [
        (2, 1, 300, 300), (3, 2, 300, 600), (4, 3, 300, 900),
        (6, 1, 300, 600), (7, 2, 50, 550),
    ]  # fmt: skip


def test_a_statement_of_a_past_day_is_that_of_what_counts_by_then() -> None:
    events: list[LoanEvent] = [LOAN, repaid(12, 350, 1), repaid(14, 50, 2, recorded=30)]
    by_day = [stated(events, DEFAULT, on(day)) for day in (11, 13, 14)]
    assert [one and len(one.entries) for one in by_day] == [1, 2, 3]
    assert [one and one.shown.overdue.total for one in by_day] == [300, 0, 0]


def test_what_is_overdue_stands_at_its_instalment_a_charge_before_its_instalment_too() -> None:
    fee = ChargeAdded(place(14, 1), "c1", Component.FEE, 30, on(14), 2)
    statement = stated([LOAN, fee], DEFAULT, on(16))
    assert statement is not None
    assert [one.overdue for one in statement.instalments] == [Parts(principal=300), Parts(fee=30), Parts()]


def test_when_a_loan_is_written_off_what_was_open_is_left_and_later_money_changes_no_balance() -> None:
    events: list[LoanEvent] = [LOAN, repaid(12, 350, 1), WrittenOff(place(20, 2), on(20)), repaid(25, 100, 3)]
    statement = stated(events, DEFAULT, on(30))
    assert statement is not None
    assert [one.posting.outstanding for one in statement.entries] == [900, 550, 0, 0]
    assert [row.balance for row in statement.entries[-1].lines] == [0]
    assert (statement.totals.left_at_end, statement.totals.paid) == (Parts(principal=450), Parts(principal=450))


def test_credit_is_said_where_it_is_kept_and_where_it_is_used() -> None:
    refund = CreditRefunded(place(21, 2), "rf", 30, on(21))
    new = Rescheduled(place(22, 3), 1, "more", rows((10, 300), (20, 300), (30, 300), (40, 50)), Effect.FROM_DATE, on(22))
    statement = stated([LOAN, repaid(12, 1000, 1), refund, new], DEFAULT, on(25))
    assert statement is not None
    assert [(one.posting.kind, one.credit_change, one.posting.credit) for one in statement.entries] == [
        ("disbursement", 0, 0), ("repayment", 100, 100), ("refund", -30, 70), ("reschedule", -50, 20),
    ]  # fmt: skip
