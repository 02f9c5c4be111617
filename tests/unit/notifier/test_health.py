"""A provider's health: whose fault an answer is decides who is held back, and a claim is given no more than may go out."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.breaker import OPEN_FOR, Breaker, Phase
from services.notifier.domain.health import LAST_FAULTS, LONGEST_SLOW, SLOW_FOR, Account, Health, Tally, admit, answered
from services.notifier.domain.results import NO_PERMIT, Accepted, Fault, NotSent, Refused, Result, Unknown
from services.notifier.domain.stock import LONGEST_WAIT, Stock
from tests.unit.notifier.values import MORNING

MAIN: Account = ("t", "main")
LEAD = timedelta()
OPEN = Breaker(Phase.OPEN, MORNING - OPEN_FOR, MORNING, trips=1)
OTHERS: tuple[Fault, ...] = (
    "recipient",
    "content",
    "throttled_recipient",
    "throttled_content",
    "opted_out",
    "invalid_address",
    "throttled",
)
throttled = Refused("20429", "throttled", permanent=False)


def stock_of(health: Health, per_second: int | None, wanted: int = 100) -> Stock:
    _, admission = admit(health, per_second, now=MORNING, wanted=wanted, lead=LEAD)
    return Stock(MORNING, {MAIN: admission})


@pytest.mark.parametrize("fault", OTHERS)
def test_bad_addresses_texts_and_limits_never_open_the_breaker(fault: Fault) -> None:
    after = answered(Health(), Tally.of([Refused("x", fault)] * 1000), MORNING)
    assert after.breaker == Breaker()


@pytest.mark.parametrize("result", [Unknown("answer_timeout"), NotSent("connect_failed"), Refused("busy", "provider", permanent=False)])
def test_what_the_provider_could_not_do_opens_it(result: Result) -> None:
    after = answered(Health(), Tally.of([result] * 10), MORNING)
    assert after.breaker.phase is Phase.OPEN
    assert [(one.fault, one.number) for one in after.last_faults] == [("provider", 10)]


@pytest.mark.parametrize("code", [NO_PERMIT, "no_slot"])
def test_what_we_could_not_start_in_time_is_nobodys_fault(code: str) -> None:
    assert answered(Health(), Tally.of([NotSent(code)] * 100), MORNING) == Health()


@pytest.mark.parametrize("code", ["request_unmakeable", "mail_unmakeable", "sms_unmakeable"])
def test_one_message_that_cannot_be_made_stops_no_account(code: str) -> None:
    assert Tally.of([Refused(code, "config", permanent=False)]) == Tally()


@given(rest=st.none() | st.integers(0, 100_000), before=st.integers(0, 50))
def test_the_rest_that_a_provider_asks_for_is_a_floor_and_without_one_the_pauses_grow_to_a_bound(rest: int | None, before: int) -> None:
    asked = timedelta(seconds=rest) if rest is not None else None
    after = answered(Health(slowings=before), Tally.of([replace(throttled, retry_after=asked), Accepted("x")]), MORNING)
    assert after.slowed_until is not None
    lasts = after.slowed_until - MORNING
    assert lasts >= (asked or timedelta())
    assert SLOW_FOR <= lasts <= max(LONGEST_SLOW, asked or timedelta())
    assert after.slowings == before + 1
    assert answered(after, Tally.of([Accepted("x")]), MORNING).slowings == 0


def test_only_the_newest_faults_are_kept() -> None:
    health = Health()
    for number in range(2 * LAST_FAULTS):
        health = answered(health, Tally.of([Unknown(f"code-{number}")]), MORNING)
    assert [one.code for one in health.last_faults] == [f"code-{number}" for number in reversed(range(LAST_FAULTS, 2 * LAST_FAULTS))]


def test_a_healthy_provider_without_a_rate_may_be_given_any_number() -> None:
    stock = stock_of(Health(), None)
    assert all(stock.take(MAIN) for _ in range(1000))


def test_one_with_a_rate_is_given_as_many_as_it_has_permits_and_the_rest_comes_when_it_is_free() -> None:
    stock = stock_of(Health(), 100)
    given_out = sum(stock.take(MAIN) for _ in range(100))
    assert 40 <= given_out <= 60
    times = [stock.again_at(MAIN, number) for number in range(50)]
    assert times == sorted(times)
    assert len(set(times)) == 50
    assert min(times) > MORNING


def test_what_waits_longer_than_the_longest_wait_is_looked_at_again_before() -> None:
    stock = stock_of(Health(), 1)
    times = [stock.again_at(MAIN, number) for number in range(2000)]
    assert max(times) <= MORNING + LONGEST_WAIT
    assert min(times[1000:]) >= MORNING + LONGEST_WAIT / 2


@pytest.mark.parametrize("per_second", [None, 10])
def test_an_open_breaker_gives_one_probe_to_one_of_many_claims(per_second: int | None) -> None:
    health, probes, given_out = Health(breaker=OPEN), 0, 0
    for _ in range(5):
        health, admission = admit(health, per_second, now=MORNING, wanted=100, lead=LEAD)
        stock = Stock(MORNING, {MAIN: admission})
        assert stock.shut == {MAIN}
        probes += len(stock.probes("t"))
        given_out += sum(stock.take(MAIN) for _ in range(100))
        assert not stock.probes("t")
    assert (probes, given_out) == (1, 1)


def test_a_slowed_provider_is_given_nothing_until_its_rest_is_over() -> None:
    slowed = Health(slowed_until=MORNING + timedelta(seconds=30))
    for per_second in (None, 10):
        stock = stock_of(slowed, per_second)
        assert stock.slow("t") == {"main"}
        assert not stock.shut
        assert not stock.take(MAIN)
        assert stock.again_at(MAIN) >= MORNING + timedelta(seconds=30)
        _, later = admit(slowed, per_second, now=MORNING + timedelta(seconds=30), wanted=1, lead=LEAD)
        assert Stock(MORNING, {MAIN: later}).take(MAIN)
