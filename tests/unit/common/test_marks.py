"""Who stands still: a partition that gives nothing though it is asked, and not one whose turn has not come."""

from __future__ import annotations

from libs.common.bus.marks import ASKED_IN_VAIN, Movement
from libs.common.clock import stopwatch

LATER_S = 0.02


def another_moved_later() -> tuple[Movement[int], float]:
    """Return a movement in which partition 1 moved so much later than 0, and a moment in between."""
    movement: Movement[int] = Movement()
    movement.moved(0)
    began = stopwatch()
    while (between := stopwatch()) - began < LATER_S:
        pass
    movement.moved(1)
    return movement, between


def test_whoever_is_busy_with_other_partitions_is_not_taken_for_deaf() -> None:
    movement, between = another_moved_later()
    assert movement.stood_still_s(0, behind=True) <= stopwatch() - between


def test_a_partition_that_gives_nothing_in_its_turns_stands_still_however_others_move() -> None:
    movement, _ = another_moved_later()
    for _ in range(ASKED_IN_VAIN):
        movement.asked_all()
    movement.moved(1)
    assert movement.stood_still_s(0, behind=True) >= LATER_S


def test_a_partition_at_its_end_stands_not_still_and_neither_does_one_that_could_not_be_looked_at() -> None:
    movement, _ = another_moved_later()
    for _ in range(ASKED_IN_VAIN):
        movement.asked_all()
    assert movement.stood_still_s(0, behind=False) == 0
    movement.unseen()
    assert movement.stood_still_s(0, behind=True) == 0
