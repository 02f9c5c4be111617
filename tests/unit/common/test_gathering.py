"""Group commit: who goes together, in which order, and who is told of what failed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.bus import gathering
from libs.common.bus.gathering import Gathering
from libs.common.bus.ports import Message, UndeliveredError
from libs.common.errors import TransientError


def message(value: str, *, partition: int = 0) -> Message:
    return Message("topic", partition, b"k", value.encode(), ())


@dataclass
class Gate:
    """A bus that keeps each group until it is let through, perhaps with an error."""

    groups: list[list[Message]] = field(default_factory=list)
    errors: list[Exception | None] = field(default_factory=list)
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))

    async def publish(self, messages: Sequence[Message]) -> None:
        self.groups.append(list(messages))
        await self.turn.acquire()
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error

    @property
    def values(self) -> list[list[str]]:
        return [[(m.value or b"").decode() for m in group] for group in self.groups]


async def begun(gathered: Gathering, *parts: Sequence[Message]) -> list[asyncio.Task[None]]:
    """Publish each part as a caller of its own, and let them all get as far as they can."""
    tasks = [asyncio.create_task(gathered.publish(part)) for part in parts]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_a_publish_is_under_way_goes_together_in_the_next_one() -> None:
    gate = Gate()
    gathered = Gathering(gate.publish)
    first = await begun(gathered, [message("a")])
    others = await begun(gathered, [message("b")], [message("c"), message("d")])
    assert (gate.values, any(task.done() for task in (*first, *others))) == ([["a"]], False)
    gate.turn.release()
    await first[0]
    assert not any(task.done() for task in others)
    gate.turn.release()
    await asyncio.gather(*others)
    assert gate.values == [["a"], ["b", "c", "d"]]


async def test_a_large_part_goes_by_itself_and_waits_for_nobody() -> None:
    gate = Gate()
    gathered = Gathering(gate.publish)
    first = await begun(gathered, [message("a")])
    large, small = await begun(gathered, [message(str(n)) for n in range(gathering.ALONE)], [message("b")])
    assert [len(group) for group in gate.groups] == [1, gathering.ALONE]
    for _ in range(3):
        gate.turn.release()
    await asyncio.gather(*first, large, small)
    assert gate.values[-1] == ["b"]


async def test_an_error_that_names_a_partition_answers_those_alone_who_have_messages_there() -> None:
    gate = Gate(errors=[None, UndeliveredError("no leader", [("topic", 1)])])
    gathered = Gathering(gate.publish)
    first = await begun(gathered, [message("a", partition=1)])
    others = await begun(gathered, [message("b", partition=0)], [message("c", partition=1)], [message("d"), message("e", partition=1)])
    gate.turn.release()
    gate.turn.release()
    answers = await asyncio.gather(*first, *others, return_exceptions=True)
    assert [type(answer) for answer in answers] == [type(None), type(None), UndeliveredError, UndeliveredError]


@pytest.mark.parametrize("error", [TransientError("the broker is away"), ValueError("a fault of ours")], ids=["passing", "other"])
async def test_an_error_that_names_nothing_answers_all_of_its_group_and_the_next_group_goes_on(error: Exception) -> None:
    gate = Gate(errors=[error])
    gathered = Gathering(gate.publish)
    first = await begun(gathered, [message("a")])
    second = await begun(gathered, [message("b")])
    gate.turn.release()
    gate.turn.release()
    answers = await asyncio.gather(*first, *second, return_exceptions=True)
    assert answers == [error, None]


async def test_a_caller_that_goes_away_harms_nobody_and_what_was_not_under_way_is_dropped() -> None:
    gate = Gate()
    gathered = Gathering(gate.publish)
    first = await begun(gathered, [message("a")])
    gone, stays = await begun(gathered, [message("b")], [message("c")])
    gone.cancel()
    gate.turn.release()
    gate.turn.release()
    async with asyncio.timeout(5):
        await asyncio.gather(*first, stays)
    assert gate.values == [["a"], ["c"]]


async def test_a_group_has_an_end_and_whoever_comes_later_goes_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "TOGETHER", 3)
    gate = Gate()
    gathered = Gathering(gate.publish)
    tasks = await begun(gathered, [message("a")])
    tasks += await begun(gathered, [message("b"), message("c")], [message("d")], [message("e")])
    for _ in range(3):
        gate.turn.release()
    await asyncio.gather(*tasks)
    assert gate.values == [["a"], ["b", "c", "d"], ["e"]]


async def some_turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_group_waits_for_as_many_as_were_there_a_moment_ago_and_goes_once_they_have_come() -> None:
    gate = Gate()
    gathered = Gathering(gate.publish, waits_s=60)
    first = await begun(gathered, [message("a")])
    second = await begun(gathered, [message("b")])
    gate.turn.release()
    await first[0]
    assert gate.values == [["a"]]
    third = await begun(gathered, [message("c")])
    await some_turns()
    assert gate.values == [["a"], ["b", "c"]]
    gate.turn.release()
    await asyncio.gather(*second, *third)


async def test_a_caller_alone_is_not_kept_waiting() -> None:
    gate = Gate()
    gathered = Gathering(gate.publish, waits_s=60)
    for value in ("a", "b"):
        gate.turn.release()
        async with asyncio.timeout(5):
            await gathered.publish([message(value)])
    assert gate.values == [["a"], ["b"]]


async def test_a_group_goes_without_those_who_do_not_come_again_and_the_next_does_not_wait_for_them() -> None:
    gate = Gate()
    gathered = Gathering(gate.publish, waits_s=0.01)
    tasks = await begun(gathered, [message("a")], [message("b")], [message("c")])
    for _ in range(4):
        gate.turn.release()
    async with asyncio.timeout(5):
        await asyncio.gather(*tasks)
        await gathered.publish([message("d")])
    gathered.waits_s = 60
    async with asyncio.timeout(5):
        await gathered.publish([message("e")])
    assert gate.values[-2:] == [["d"], ["e"]]


@given(sizes=st.lists(st.integers(0, 5), max_size=30), pauses=st.lists(st.integers(0, 3), min_size=30, max_size=30))
def test_everything_is_published_once_in_the_order_in_which_it_came(sizes: list[int], pauses: list[int]) -> None:
    async def run() -> None:
        published: list[str] = []

        async def publish(messages: Sequence[Message]) -> None:
            await asyncio.sleep(0)
            published.extend((m.value or b"").decode() for m in messages)

        gathered, tasks, came = Gathering(publish), [], []
        for caller, size in enumerate(sizes):
            part = [message(f"{caller}-{n}") for n in range(size)]
            came += [(m.value or b"").decode() for m in part]
            tasks.append(asyncio.create_task(gathered.publish(part)))
            for _ in range(pauses[caller]):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        assert published == came

    asyncio.run(run())
