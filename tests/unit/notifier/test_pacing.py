"""Pacing: each message starts with a permit valid at that moment, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.clock import stopwatch
from services.notifier.domain.stock import Permit
from services.notifier.pacing import Flights, paced

spans = st.lists(st.tuples(st.floats(-0.02, 0.02), st.floats(0.0, 0.02)), max_size=8)


@settings(max_examples=25, deadline=None)
@given(number=st.integers(0, 8), plan=spans)
def test_everything_either_starts_within_its_permit_in_order_or_is_left(number: int, plan: list[tuple[float, float]]) -> None:
    items = list(range(number))
    began = stopwatch()
    permits = sorted((Permit(began + at, began + at + lasts) for at, lasts in plan), key=lambda permit: permit.not_before)
    started, left, used = asyncio.run(run(items, permits))
    assert [item for item, _ in started] + left == items
    assert all(not_before <= at for at, not_before in used)
    assert len(started) <= len(permits)


async def run(items: Sequence[int], permits: Sequence[Permit]) -> tuple[list[tuple[int, int]], list[int], list[tuple[float, float]]]:
    used: list[tuple[float, float]] = []

    async def start(item: int, permit: Permit) -> int:
        used.append((stopwatch(), permit.not_before))
        return item

    started, left = await paced(items, permits, start)
    return started, left, used


def test_a_permit_that_is_void_is_used_for_nothing() -> None:
    now = stopwatch()
    started, left, _ = asyncio.run(run([1, 2], [Permit(now - 2, now - 1), Permit(now, now + 10)]))
    assert (started, left) == ([(1, 1)], [2])


async def test_what_goes_wrong_with_one_batch_is_raised_once_all_have_landed() -> None:
    flights, go, landed = Flights(2), asyncio.Event(), []

    async def failing() -> None:
        raise OSError("the pipe broke")

    async def going() -> None:
        await go.wait()
        landed.append("second")

    flights.begin(failing())
    flights.begin(going())
    asyncio.get_running_loop().call_soon(go.set)
    with pytest.raises(OSError, match="pipe"):
        await flights.landed()
    assert landed == ["second"]
