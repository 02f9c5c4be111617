"""When a webhook is called again, and when it is given up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from libs.common.webhooks.retrying import FIRST_PAUSE, LONGEST_ASKED, LONGEST_PAUSE, OFF_AFTER, asked_pause, given_up, pause_after

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
spans = st.timedeltas(timedelta(), timedelta(days=400))


@given(st.integers(0, 10_000), st.text(), st.none() | spans)
def test_a_pause_is_within_its_bounds_and_not_shorter_than_was_asked_for(tries: int, seed: str, asked: timedelta | None) -> None:
    pause = pause_after(tries, seed, asked)
    assert pause >= min(asked or timedelta(), LONGEST_ASKED)
    assert pause <= max(min(FIRST_PAUSE * 2 ** min(tries, 30), LONGEST_PAUSE), min(asked or timedelta(), LONGEST_ASKED))
    assert pause == pause_after(tries, seed, asked)


def test_pauses_are_spread_over_all_of_their_length() -> None:
    shares = sorted(pause_after(5, str(seed), None) / (FIRST_PAUSE * 32) for seed in range(1000))
    assert all(abs(share - at / 1000) < 0.06 for at, share in enumerate(shares))


@given(st.integers(0, 10**12))
def test_a_pause_in_seconds_is_read_up_to_a_bound(seconds: int) -> None:
    assert asked_pause(str(seconds), NOW) == min(timedelta(seconds=min(seconds, 10**9)), LONGEST_ASKED)


def test_a_pause_up_to_a_date_is_read_and_what_is_neither_is_none() -> None:
    assert asked_pause(format_datetime(NOW + timedelta(minutes=3)), NOW) == timedelta(minutes=3)
    assert asked_pause(format_datetime(NOW - timedelta(minutes=3)), NOW) == timedelta()
    assert asked_pause("soon", NOW) is None
    assert asked_pause(None, NOW) is None


def test_one_that_is_gone_is_given_up_at_once_and_one_that_fails_after_days() -> None:
    assert given_up(410, "http_410", None, NOW)
    assert given_up(500, "http_500", NOW - OFF_AFTER + timedelta(seconds=1), NOW) is None
    assert "connect_failed" in (given_up(None, "connect_failed", NOW - OFF_AFTER, NOW) or "")
