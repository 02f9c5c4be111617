"""Promises to pay, with any payments and reversals, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.scheduler.domain.promises import (
    Account,
    Promise,
    PromiseState,
    PromiseTerms,
    credited,
    deadline,
    judged,
    promisable,
    tolerated,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LOANS = ("L1", "L2")
calmly = settings(deadline=None)


def promised(number: int, amount: int, *, hours: int = 0, days: int = 3, loans: tuple[str, ...] = ("L1",), since: int = 0) -> Promise:
    due_on = date(2026, 11, 24) + timedelta(days=days)
    return Promise(
        f"p{number}", amount, due_on, deadline(due_on, "UTC"), NOON + timedelta(hours=hours), dict.fromkeys(loans, since), tolerated(amount)
    )  # fmt: skip


@calmly
@given(
    late=st.fixed_dictionaries({loan: st.integers(0, 9) for loan in LOANS}),
    made=st.lists(st.tuples(st.integers(1, 6), st.sets(st.sampled_from(LOANS), min_size=1)), max_size=3),
    named=st.sets(st.sampled_from(LOANS), min_size=1),
)
def test_as_much_more_can_be_promised_as_all_promises_could_be_kept_with(
    late: dict[str, int], made: list[tuple[int, set[str]]], named: set[str]
) -> None:
    def kept(wanted: Sequence[tuple[int, set[str]]], left: dict[str, int]) -> bool:
        """Return whether each can be paid out of what is overdue, by trying every way."""
        if not wanted:
            return True
        (amount, loans), *others = wanted
        if not amount:
            return kept(others, left)
        return any(left[loan] and kept([(amount - 1, loans), *others], {**left, loan: left[loan] - 1}) for loan in loans)

    promises = [promised(n, amount, loans=tuple(loans)) for n, (amount, loans) in enumerate(made)]
    most = promisable(named, late, promises)
    assert [kept([*made, (more, named)], late) for more in (most, most + 1)] == [kept(made, late), False]


def paid(received: int, *, owed: bool = True, loan: str = "L1") -> dict[str, Account]:
    return {loan: Account(received, owed)}


BOOKS = st.dictionaries(st.sampled_from(LOANS), st.integers(0, 500), min_size=2)
PROMISES = st.lists(
    st.builds(
        lambda amount, days, loans, sinces: (amount, days, {loan: sinces[loan] for loan in loans}),
        st.integers(1, 300), st.integers(0, 9), st.sets(st.sampled_from(LOANS), min_size=1),
        st.fixed_dictionaries({loan: st.integers(0, 200) for loan in LOANS}),
    ),
    max_size=5,
).map(
    lambda found: [
        replace(promised(n, amount, hours=n, days=days), since=since) for n, (amount, days, since) in enumerate(found)
    ]
)  # fmt: skip
MOMENTS = st.integers(0, 20 * 24).map(lambda hours: NOON + timedelta(hours=hours))


def accounts(book: dict[str, int], *, owed: bool = True) -> dict[str, Account]:
    return {loan: Account(received, owed) for loan, received in book.items()}


@calmly
@given(promises=PROMISES, book=BOOKS)
def test_no_payment_counts_twice_and_none_beyond_what_was_promised(promises: list[Promise], book: dict[str, int]) -> None:
    found = credited(promises, accounts(book))
    assert all(0 <= one.paid <= one.amount for one in found)
    assert sum(one.paid for one in found) <= sum(book.values())
    alone = [one for one in found if set(one.since) == {"L1"}]
    lowest = min((one.since["L1"] for one in alone), default=0)
    if len(alone) == len(found):
        assert sum(one.paid for one in alone) <= max(0, book["L1"] - lowest)


@calmly
@given(promises=PROMISES, book=BOOKS, more=st.integers(0, 300))
def test_the_older_promise_has_the_money_first_and_more_money_never_takes_any_away(
    promises: list[Promise], book: dict[str, int], more: int
) -> None:
    same = [replace(one, since={"L1": 0}) for one in promises]
    before = credited(same, accounts(book))
    for place, one in enumerate(before):
        assert not one.paid or all(older.paid == older.amount for older in before[:place])
    after = credited(same, accounts({**book, "L1": book["L1"] + more}))
    assert all(later.paid >= earlier.paid for earlier, later in zip(before, after, strict=True))


@calmly
@given(promises=PROMISES, books=st.lists(BOOKS, min_size=1, max_size=6), moments=st.lists(MOMENTS, min_size=6, max_size=6))
def test_once_decided_a_promise_only_falls(promises: list[Promise], books: list[dict[str, int]], moments: list[datetime]) -> None:
    rank = [PromiseState.KEPT, PromiseState.PARTLY_KEPT, PromiseState.BROKEN]
    for book, now in zip(books, sorted(moments), strict=False):
        after = judged(promises, accounts(book), now)
        assert judged(after, accounts(book), now) == after
        for one, other in zip(sorted(promises, key=lambda p: p.made_at), after, strict=True):
            if one.state is not PromiseState.OPEN:
                assert other.state is one.state or rank.index(other.state) > rank.index(one.state)
                assert other.paid <= one.paid
        promises = after


@calmly
@given(promises=PROMISES, book=BOOKS, now=MOMENTS)
def test_no_promise_is_open_after_its_time_and_none_is_broken_before(promises: list[Promise], book: dict[str, int], now: datetime) -> None:
    for one in judged(promises, accounts(book), now):
        assert one.open is False or now < one.until
        assert one.state not in {PromiseState.BROKEN, PromiseState.PARTLY_KEPT} or now >= one.until
        assert (one.state is PromiseState.KEPT) == one.enough


@pytest.mark.parametrize(
    ("received", "owed", "days", "state"),
    [(0, True, 0, "open"), (100, True, 0, "kept"), (98, True, 0, "kept"), (97, True, 0, "open"), (97, True, 5, "partly_kept"),
     (0, True, 4, "open"), (0, True, 5, "broken"), (0, False, 0, "invalidated"), (100, False, 0, "kept"), (100, False, 9, "kept")],
)  # fmt: skip
def test_what_becomes_of_a_promise_of_a_hundred_in_three_days(received: int, owed: bool, days: int, state: str) -> None:
    (one,) = judged([promised(1, 100)], paid(received, owed=owed), datetime(2026, 11, 24, tzinfo=UTC) + timedelta(days=days))
    assert one.state.value == state


def test_money_taken_back_before_does_not_have_to_be_paid_twice() -> None:
    one = promised(1, 100, since=500)
    (fallen,) = judged([one], paid(200), NOON)
    assert fallen.since == {"L1": 200}
    (kept,) = judged([fallen], paid(300), NOON)
    assert kept.state is PromiseState.KEPT


def test_what_comes_after_the_time_of_a_broken_promise_is_for_the_next_one() -> None:
    first, late = promised(1, 100, days=1), NOON + timedelta(days=4)
    (broken,) = judged([first], paid(0), late)
    second = replace(promised(2, 100, days=9), made_at=late)
    assert [one.paid for one in judged([broken, second], paid(100), late)] == [0, 100]


def test_a_promise_about_a_debt_of_which_nothing_is_known_stays_as_it_was() -> None:
    one = replace(promised(1, 100), paid=40)
    assert credited([one], {}) == [one]


def test_a_promise_of_one_is_not_kept_by_nothing() -> None:
    assert tolerated(1, PromiseTerms(tolerance_percent=50)) == 0
    assert tolerated(200, PromiseTerms(tolerance_percent=2)) == 4


def test_a_promise_ends_when_the_day_and_its_grace_are_over_where_the_debt_is() -> None:
    assert deadline(date(2026, 11, 26), "Asia/Shanghai", PromiseTerms(grace_days=2)).isoformat() == "2026-11-28T16:00:00+00:00"
