"""What a consumer fetches next, so that no partition starves while another is served again and again."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from libs.common.bus.marks import LISTEN_S, Movement

P = TypeVar("P", bound=Hashable)
Fetched = Mapping[P, Sequence[object]]


@dataclass(slots=True)
class Fetching(Generic[P]):
    """Fetches in rounds in which each partition gets one turn; a partition that has stood still for too long is asked for alone.

    The client returns everything it holds of one partition, thousands of records, before it turns to another. On a slow database the last
    partition, payments included, would wait for minutes and look as if the client had gone deaf.
    """

    consumer: Any
    most: int
    """Records per fetch."""
    movement: Movement[P]
    _had_a_turn: set[P] = field(default_factory=set)

    async def next(self, partitions: Sequence[P], *, timeout_ms: int) -> Fetched[P]:
        """Return the next records of these partitions (of all if none is named); empty if nothing arrives in time."""
        if suspects := [partition for partition in partitions if partition in self.movement.suspects]:
            return await self._listen_for(suspects)
        fetched: Fetched[P] = {}
        if left := [partition for partition in partitions if partition not in self._had_a_turn]:
            fetched = await self.consumer.getmany(*left, timeout_ms=0, max_records=self.most)
        if not fetched:
            self._had_a_turn.clear()
            fetched = await self.consumer.getmany(*partitions, timeout_ms=timeout_ms, max_records=self.most)
        self._had_a_turn.update(fetched)
        return fetched

    async def _listen_for(self, suspects: Sequence[P]) -> Fetched[P]:
        """Give the client time to deliver these, with nothing else to do."""
        fetched: Fetched[P] = await self.consumer.getmany(*suspects, timeout_ms=round(LISTEN_S * 1000), max_records=self.most)
        if not fetched:
            self.movement.asked_alone(suspects)
        return fetched
