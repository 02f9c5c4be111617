"""The breaker: opened only by a provider's own faults, and probed by one message at a time."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.breaker import (
    LEAST_FAULTS,
    LONGEST_OPEN,
    OPEN_FOR,
    PROBE_FOR,
    WINDOW,
    Breaker,
    Phase,
    given_back,
    heard,
    probing,
)
from tests.unit.notifier.values import MORNING

SECOND = timedelta(seconds=1)


def opened() -> Breaker:
    return heard(Breaker(), good=0, faults=LEAST_FAULTS, now=MORNING)


def test_it_opens_when_half_of_the_calls_fail_and_not_for_a_few() -> None:
    assert opened().phase is Phase.OPEN
    assert opened().until == MORNING + OPEN_FOR
    assert heard(Breaker(), good=0, faults=LEAST_FAULTS - 1, now=MORNING).phase is Phase.CLOSED
    assert heard(Breaker(), good=LEAST_FAULTS + 1, faults=LEAST_FAULTS, now=MORNING).phase is Phase.CLOSED


def test_faults_of_several_batches_and_replicas_add_up_within_the_window_and_no_longer() -> None:
    breaker = heard(Breaker(), good=0, faults=LEAST_FAULTS - 1, now=MORNING)
    assert heard(breaker, good=0, faults=1, now=MORNING + WINDOW).phase is Phase.OPEN
    assert heard(breaker, good=0, faults=1, now=MORNING + WINDOW + SECOND).phase is Phase.CLOSED


@given(st.lists(st.integers(1, 500), max_size=20))
def test_answers_that_are_no_faults_never_open_it_and_leave_nothing_to_write(batches: list[int]) -> None:
    breaker = Breaker()
    for number in batches:
        breaker = heard(breaker, good=number, faults=0, now=MORNING)
    assert breaker == Breaker()


def test_one_probe_goes_at_a_time_and_one_that_is_never_heard_of_is_given_up() -> None:
    assert probing(opened(), MORNING + OPEN_FOR - SECOND) is None
    half = probing(opened(), MORNING + OPEN_FOR)
    assert half is not None
    assert half.phase is Phase.HALF_OPEN
    assert probing(half, MORNING + OPEN_FOR + PROBE_FOR - SECOND) is None
    assert probing(half, MORNING + OPEN_FOR + PROBE_FOR) is not None
    assert probing(given_back(half, MORNING + OPEN_FOR), MORNING + OPEN_FOR) is not None
    assert probing(Breaker(), MORNING) is None


def test_a_probe_that_comes_through_closes_it_and_one_that_fails_opens_it_for_longer() -> None:
    half = probing(opened(), MORNING + OPEN_FOR)
    assert half is not None
    assert heard(half, good=1, faults=0, now=MORNING) == Breaker()
    again = heard(half, good=0, faults=1, now=MORNING)
    assert (again.phase, again.until) == (Phase.OPEN, MORNING + 2 * OPEN_FOR)
    for _ in range(20):
        assert again.until is not None
        tried = probing(again, again.until)
        assert tried is not None
        again = heard(tried, good=0, faults=1, now=MORNING)
    assert again.until == MORNING + LONGEST_OPEN


@given(good=st.integers(0, 100), faults=st.integers(0, 100))
def test_answers_to_what_was_begun_before_it_opened_change_nothing(good: int, faults: int) -> None:
    assert heard(opened(), good=good, faults=faults, now=MORNING + SECOND) == opened()
