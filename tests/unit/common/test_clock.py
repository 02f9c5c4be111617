"""Time as a part that is passed in."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from libs.common.clock import DrivenClock, HandoverClock, WallClock, pause, stopwatch

START = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_the_wall_clock_is_aware_and_in_utc() -> None:
    assert WallClock().now().tzinfo is UTC


def test_a_driven_clock_stands_until_it_is_moved_and_never_goes_back() -> None:
    clock = DrivenClock(START)
    assert clock.now() == clock.now() == START
    clock.advance(timedelta(hours=1))
    clock.move_to(START)
    assert clock.now() == START + timedelta(hours=1)


def test_a_clock_that_was_handed_over_is_the_wall_clock_for_good() -> None:
    clock = HandoverClock(START)
    clock.driven.move_to(START + timedelta(days=1))
    assert clock.now() == START + timedelta(days=1)
    before = WallClock().now()
    clock.hand_over()
    assert before <= clock.now() <= WallClock().now()
    with pytest.raises(RuntimeError, match="wall clock"):
        _ = clock.driven


async def test_a_pause_ends_with_its_time_or_with_the_stop() -> None:
    began, stop = stopwatch(), asyncio.Event()
    await pause(stop, 0.01)
    assert stopwatch() - began >= 0.009
    stop.set()
    async with asyncio.timeout(1):
        await pause(stop, 3600)
