"""Work that is done again and again."""

from __future__ import annotations

import asyncio

from libs.common.repeating import repeat


async def test_a_step_with_more_to_do_is_done_again_at_once_and_any_other_when_it_is_woken() -> None:
    stop, wake, done = asyncio.Event(), asyncio.Event(), list[int]()

    async def step() -> bool:
        done.append(len(done))
        if len(done) == 3:
            asyncio.get_running_loop().call_soon(wake.set)
        if len(done) == 4:
            stop.set()
        return len(done) < 3

    await asyncio.wait_for(repeat(step, stop, every_s=3600, worker="test", wake=wake), 10)
    assert done == [0, 1, 2, 3]
