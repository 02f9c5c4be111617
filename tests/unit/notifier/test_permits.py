"""Permits: whatever the replicas do, no second exceeds the limit, and few permits are lost."""

from __future__ import annotations

from bisect import bisect_left
from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.permits import HORIZON, SECOND, USE_WITHIN, interval_of, lease
from tests.unit.notifier.values import MORNING

limits = st.integers(1, 20) | st.integers(1, 2000)
steps = st.lists(st.tuples(st.integers(0, 700_000), st.integers(1, 300), st.integers(0, 300_000)), min_size=1, max_size=40)
"""How many microseconds later some replica leases, how many permits, and with what lead."""


def most_in_a_second(moments: list[datetime]) -> int:
    """The fullest second that the permits allow: the first one used as late as possible, the others as early as possible.

    Messages that start within a second of one of the starts have permits from no more than that second plus the time a permit is valid.
    """
    moments = sorted(moments)
    return max((bisect_left(moments, moment + USE_WITHIN + SECOND) - place for place, moment in enumerate(moments)), default=0)


@given(limit=limits, plan=steps)
def test_no_sliding_second_holds_more_than_the_limit_over_any_replicas_and_any_interleaving(
    limit: int, plan: list[tuple[int, int, int]]
) -> None:
    now, free_at, moments = MORNING, None, list[datetime]()
    for later, wanted, lead in plan:
        now += timedelta(microseconds=later)
        got = lease(free_at, limit, now=now, wanted=wanted, lead=timedelta(microseconds=lead))
        free_at = got.free_at
        moments += got.moments
    assert most_in_a_second(moments) <= limit


@given(limit=limits, plan=steps)
def test_permits_are_never_given_twice_nor_for_the_past_nor_beyond_the_horizon(limit: int, plan: list[tuple[int, int, int]]) -> None:
    now, free_at, given_out = MORNING, None, list[datetime]()
    for later, wanted, lead in plan:
        now += timedelta(microseconds=later)
        ahead = timedelta(microseconds=lead)
        got = lease(free_at, limit, now=now, wanted=wanted, lead=ahead)
        assert len(got.moments) <= wanted
        assert all(now + ahead <= moment <= now + ahead + HORIZON for moment in got.moments)
        given_out += got.moments
        free_at = got.free_at
    assert all(later - before >= interval_of(limit) for before, later in pairwise(given_out))


def test_leases_from_before_a_clock_was_set_back_hold_up_nobody() -> None:
    assert lease(MORNING + timedelta(hours=1), 10, now=MORNING, wanted=1).moments == (MORNING,)


@given(limit=limits, every=st.integers(10_000, 400_000))
def test_under_steady_demand_nearly_the_whole_limit_is_given_out(limit: int, every: int) -> None:
    now, free_at, number = MORNING, None, 0
    while now < MORNING + 10 * SECOND:
        got = lease(free_at, limit, now=now, wanted=10_000)
        free_at, number = got.free_at, number + len(got.moments)
        now += timedelta(microseconds=every)
    assert number >= 0.95 * 9 * limit


def test_a_limit_of_one_sends_one() -> None:
    first = lease(None, 1, now=MORNING, wanted=5)
    second = lease(first.free_at, 1, now=MORNING, wanted=5)
    assert (len(first.moments), second.moments) == (1, ())
    assert first.free_at - first.moments[0] == SECOND + USE_WITHIN
