"""Long work in pieces: who runs in between, and who does not."""

from __future__ import annotations

import asyncio

from libs.common.turns import Turns


async def test_others_run_between_the_pieces_of_one_lot_and_the_next_lot_only_after_it() -> None:
    turns, ran = Turns(longest_s=0), list[str]()

    async def other() -> None:
        while len(ran) < 6:
            ran.append("other")
            await asyncio.sleep(0)

    def do(name: str) -> str:
        ran.append(name)
        return name.upper()

    first, second, _ = await asyncio.gather(turns.each(["a", "b"], do), turns.each(["c"], do), other())
    assert (first, second) == (["A", "B"], ["C"])
    assert [name for name in ran if name != "other"] == ["a", "b", "c"]
    assert "other" in ran[: ran.index("b")]


async def test_work_that_is_done_soon_is_not_interrupted() -> None:
    ran: list[str] = []
    await asyncio.gather(Turns(longest_s=60).each(["a", "b"], ran.append), Turns(longest_s=60).each(["c"], ran.append))
    assert ran == ["a", "b", "c"]
