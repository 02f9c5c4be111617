"""Processing one batch: position, effects and dead letters in one transaction, whatever the bus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import logs
from libs.common.bus.ports import Message, Record, Subscription
from libs.common.contracts.catalogue import dead_letters_of
from libs.common.db import positions
from libs.common.errors import DeadLetterLimitError, PoisonError
from libs.common.outbox import Outbox


@dataclass(slots=True)
class Intake:
    """What every consumer group does with a batch, on every bus."""

    subscription: Subscription
    outbox: Outbox
    reached: int = 0
    """The offset after the last commit: if a batch fails behind a bad record, its first part is already committed."""

    async def take(self, batch: Sequence[Record], *, expected: int) -> int:
        """Commit the effects of the batch with the next offset, and return it; PositionMovedError if the position is not `expected`."""
        next_offset = batch[-1].offset + 1
        try:
            async with self.subscription.engine.begin() as conn:
                await self._move(conn, batch, expected)
                await self.subscription.handler(conn, batch)
        except PoisonError as error:
            next_offset = await self._take_apart(batch, error, expected=expected)
        else:
            await self._committed(next_offset)
        return next_offset

    async def take_together(self, batches: Sequence[Sequence[Record]], expected: Sequence[int]) -> bool:
        """Commit batches of several partitions of a topic in one transaction; False, with nothing done, if they must go one by one."""
        steps = [
            positions.Step(batch[0].topic, batch[0].partition, stood, batch[-1].offset + 1, batch[-1].at)
            for batch, stood in zip(batches, expected, strict=True)
        ]
        try:
            async with self.subscription.engine.begin() as conn:
                if not await positions.move_together(conn, self.subscription.schema, self.subscription.group, steps):
                    await conn.rollback()
                    return False
                await self.subscription.handler(conn, [record for batch in batches for record in batch])
        except (PoisonError, DeadLetterLimitError):
            return False
        await self._woken()
        return True

    async def read_on(self, place: positions.Place, log: positions.Log) -> tuple[int, bool]:
        """Return where to resume, and whether the database is behind the group's offset, i.e. was restored to an earlier state."""
        async with self.subscription.engine.begin() as conn:
            position, start = await positions.read_on(conn, self.subscription.schema, place, log)
        about, wanted = {"topic": place.topic, "partition": place.partition}, positions.lower(position, log.committed)
        if not log.begins <= wanted <= log.ends:
            logs.get("bus").error("position_outside_the_log", **about, position=wanted, begins=log.begins, ends=log.ends)
        logs.get("bus").info("partition_assigned", **about, position=start, committed=log.committed)
        return start, log.committed is not None and position < log.committed

    async def _move(self, conn: AsyncConnection, batch: Sequence[Record], expected: int) -> None:
        place = positions.Place(self.subscription.group, batch[0].topic, batch[0].partition)
        await positions.move(
            conn, self.subscription.schema, place, expected=expected, next_offset=batch[-1].offset + 1, record_at=batch[-1].at
        )

    async def _take_apart(self, batch: Sequence[Record], error: PoisonError, *, expected: int) -> int:
        """Halve the batch until the unusable record is alone, and dead-letter that one."""
        if len(batch) > 1:
            middle = len(batch) // 2
            between = await self.take(batch[:middle], expected=expected)
            return await self.take(batch[middle:], expected=between)
        async with self.subscription.engine.begin() as conn:
            await self._move(conn, batch, expected)
            self.subscription.budget.spend(batch[0], error.reason)
            await self.outbox.append(conn, [dead_letter(batch[0], self.subscription.group, error)])
        await self._committed(batch[0].offset + 1)
        return batch[0].offset + 1

    async def _committed(self, next_offset: int) -> None:
        self.reached = next_offset
        await self._woken()

    async def _woken(self) -> None:
        if self.subscription.after_commit is not None:
            await self.subscription.after_commit()


def dead_letter(record: Record, group: str, error: PoisonError) -> Message:
    """Return the record unchanged, with the reason and its origin as headers."""
    origin = (
        ("dunwell_group", group.encode()),
        ("dunwell_reason", error.reason.encode()),
        ("dunwell_detail", error.detail.encode()[:1000]),
        ("dunwell_origin_topic", record.topic.encode()),
        ("dunwell_origin_partition", str(record.partition).encode()),
        ("dunwell_origin_offset", str(record.offset).encode()),
    )
    return Message(dead_letters_of(record.topic), 0, record.key, record.value, (*record.headers, *origin))
