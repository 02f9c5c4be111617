"""Small batches of several partitions in one transaction, where the handler allows it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.ports import DeadLetterBudget, Record
from libs.common.errors import TransientError
from tests.contract.bus.rigs import BAD, PARTITIONS, Rig, keep, keep_but_bad
from tests.support.running import until

pytestmark = pytest.mark.kafka
JOINS_MS = 200


class Batches:
    """Keeps the records, and for every batch the number of partitions it came from."""

    def __init__(self) -> None:
        self.partitions: list[int] = []

    async def take(self, conn: AsyncConnection, records: Sequence[Record]) -> None:
        await keep_but_bad(conn, records)
        self.partitions.append(len({record.partition for record in records}))


async def publish_to_all(rig: Rig, *values: str, topic: int = 0) -> None:
    await rig.bus.publish([rig.message(value, topic=topic, partition=p) for value in values for p in range(PARTITIONS)])


async def test_what_stands_on_several_partitions_is_taken_in_at_once_and_in_order(on_kafka: Rig) -> None:
    rig, batches = on_kafka, Batches()
    await publish_to_all(rig, "a", "b", "c")
    await publish_to_all(rig, "x", topic=1)
    async with rig.running(rig.bus.consume(rig.subscription(batches.take, joins_ms=JOINS_MS))):
        for partition in range(PARTITIONS):
            await rig.have("a", "b", "c", partition=partition)
            await rig.have("x", topic=1, partition=partition)
            assert await rig.position(partition=partition) == 3
    assert max(batches.partitions) > 1


async def test_a_bad_record_among_them_goes_to_the_dead_letters_alone(on_kafka: Rig) -> None:
    rig, batches = on_kafka, Batches()
    await publish_to_all(rig, "a")
    await rig.publish(BAD, "b", partition=1)
    await publish_to_all(rig, "c")
    async with rig.running(rig.bus.consume(rig.subscription(batches.take, joins_ms=JOINS_MS))):
        await rig.have("a", "c", partition=0)
        await rig.have("a", "b", "c", partition=1)
        await rig.have("a", "c", partition=2)
    [letter] = await rig.unpublished()
    assert (letter.value, await rig.position(partition=1)) == (BAD.encode(), 4)


async def test_a_topic_with_too_many_bad_records_stands_still_and_another_goes_on(on_kafka: Rig) -> None:
    rig = on_kafka
    await publish_to_all(rig, BAD, BAD, BAD)
    subscription = rig.subscription(keep_but_bad, joins_ms=JOINS_MS, budget=DeadLetterBudget(2))
    async with rig.running(worker := rig.bus.consume(subscription)):
        await until(lambda: worker.health.stopped_topics == {rig.topics[0]}, what="the topic's stop")
        await publish_to_all(rig, "x", topic=1)
        for partition in range(PARTITIONS):
            await rig.have("x", topic=1, partition=partition)
    assert len(await rig.unpublished()) == 2


async def test_where_one_partition_has_been_taken_by_another_the_others_are_still_taken_once(on_kafka: Rig) -> None:
    rig = on_kafka
    async with rig.running(rig.bus.consume(rig.subscription(joins_ms=JOINS_MS))):
        await publish_to_all(rig, "a")
        for partition in range(PARTITIONS):
            await rig.have("a", partition=partition)
        await rig.do("update ingest.positions set next_offset = 2 where topic = :topic and partition = 1", topic=rig.topics[0])
        await publish_to_all(rig, "b", "c")
        await rig.have("a", "b", "c", partition=0)
        await rig.have("a", "c", partition=1)
        await rig.have("a", "b", "c", partition=2)


async def test_a_failure_that_passes_is_tried_again_and_nothing_is_half_done(on_kafka: Rig) -> None:
    rig, tries = on_kafka, []

    async def fails_twice(conn: AsyncConnection, records: Sequence[Record]) -> None:
        await keep(conn, records)
        tries.append(len(records))
        if len(tries) <= 2:
            raise TransientError("not now")

    await publish_to_all(rig, "a", "b")
    async with rig.running(rig.bus.consume(rig.subscription(fails_twice, joins_ms=JOINS_MS))):
        for partition in range(PARTITIONS):
            await rig.have("a", "b", partition=partition)
            assert await rig.position(partition=partition) == 2
