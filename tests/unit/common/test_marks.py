"""Which partition is lost to its client: one that gives nothing when it is asked for alone, and not one whose records come late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from libs.common.bus.fetching import Fetched, Fetching
from libs.common.bus.marks import Movement
from libs.common.clock import stopwatch

AFTER_S = 0.02


class Client:
    """A client that gives of partition 0 whenever it is asked, and of partition 1 only when it has time for it."""

    def __init__(self, *, ever: bool) -> None:
        self.ever = ever

    async def getmany(self, *partitions: int, timeout_ms: int, max_records: int) -> Fetched[int]:
        if 0 in partitions:
            return {0: [b"a"] * max_records}
        return {1: [b"b"]} if self.ever and timeout_ms else {}


def time_passes() -> None:
    began = stopwatch()
    while stopwatch() - began < 2 * AFTER_S:
        pass


def is_lost(movement: Movement[int], place: int, *, behind: bool = True) -> bool:
    return movement.is_lost(place, behind=behind, after_s=AFTER_S)


async def rounds_of(fetching: Fetching[int], number: int) -> Sequence[Fetched[int]]:
    """Fetch, and take in what came, as a worker does."""
    came = []
    for _ in range(number):
        came.append(await fetching.next([0, 1], timeout_ms=0))
        for place in came[-1]:
            fetching.movement.moved(place)
    return came


def test_a_partition_whose_records_come_late_is_not_lost_however_often_others_move_meanwhile() -> None:
    movement: Movement[int] = Movement()
    fetching = Fetching(Client(ever=True), 10, movement)
    movement.moved(1)
    time_passes()
    asyncio.run(rounds_of(fetching, 20))
    assert not is_lost(movement, 1)
    assert list(asyncio.run(rounds_of(fetching, 1))[0]) == [1], "asked for alone, it comes"
    assert not is_lost(movement, 1)
    assert list(asyncio.run(rounds_of(fetching, 1))[0]) == [0], "and the others have their turns again"


def test_a_partition_that_gives_nothing_when_it_is_asked_for_alone_is_lost_however_others_moved() -> None:
    movement: Movement[int] = Movement()
    fetching = Fetching(Client(ever=False), 10, movement)
    movement.moved(1)
    time_passes()
    asyncio.run(rounds_of(fetching, 20))
    assert not is_lost(movement, 1)
    assert asyncio.run(rounds_of(fetching, 1)) == [{}]
    assert is_lost(movement, 1)


def test_where_nothing_moves_at_all_everything_that_is_behind_is_lost() -> None:
    movement: Movement[int] = Movement()
    movement.moved(0)
    assert not is_lost(movement, 0)
    time_passes()
    assert is_lost(movement, 0)


def test_a_partition_at_its_end_is_not_lost_and_neither_is_one_that_could_not_be_looked_at() -> None:
    movement: Movement[int] = Movement()
    movement.moved(0)
    time_passes()
    assert not is_lost(movement, 0, behind=False)
    assert not is_lost(movement, 0)
    time_passes()
    movement.unseen()
    assert not is_lost(movement, 0)
