"""What only a broker can do to us: rebalances, deaf consumers, restarts, and remembering more than the database."""

from __future__ import annotations

import asyncio
import contextlib
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus import kafka
from libs.common.bus.kafka import DeafConsumerError, KafkaWorker
from libs.common.bus.ports import Record
from libs.common.clock import stopwatch
from libs.common.errors import TransientError
from tests.contract.bus.rigs import PARTITIONS, Rig, ended, joined, keep
from tests.support.running import until

pytestmark = pytest.mark.kafka
ENOUGH = 400
LONGEST_ROUND = 6
"""The most batches of one partition before every other had one: while others are being fetched, those at hand continue."""


class Calls:
    """Counts how often the owner was told that the database went back."""

    def __init__(self) -> None:
        self.number = 0

    async def note(self) -> None:
        self.number += 1


async def go_back(rig: Rig, to: int) -> None:
    """Reset positions and effects in one transaction, as a restore would."""
    async with rig.engine.begin() as conn:
        await conn.exec_driver_sql(f"update ingest.positions set next_offset = least(next_offset, {to}), caught_up_at = null")
        await conn.exec_driver_sql(f"delete from effects where position >= {to}")


def committed_on_broker(worker: KafkaWorker) -> Callable[[], bool]:
    return lambda: not worker._standing.uncommitted


def clients() -> set[object]:
    """The existing clients of the broker."""
    return {task for task in asyncio.all_tasks() if "_md_synchronizer" in str(task)}


async def test_after_the_database_went_back_the_records_are_read_again_and_its_owner_is_told_once(on_kafka: Rig) -> None:
    rig, told = on_kafka, Calls()
    for partition in range(PARTITIONS):
        await rig.publish("a", "b", "c", partition=partition)
    async with rig.running(rig.bus.consume(rig.subscription(on_went_back=told.note))):
        for partition in range(PARTITIONS):
            await rig.have("a", "b", "c", partition=partition)
    await go_back(rig, 1)
    assert await rig.values() == ["a"]
    async with rig.running(rig.another_bus().consume(rig.subscription(on_went_back=told.note))):
        for partition in range(PARTITIONS):
            await rig.have("a", "b", "c", partition=partition)
    assert told.number == 1


async def test_a_database_that_goes_back_under_a_running_worker_is_noticed_with_the_next_record(on_kafka: Rig) -> None:
    rig, told = on_kafka, Calls()
    worker = rig.bus.consume(rig.subscription(on_went_back=told.note))
    assert isinstance(worker, KafkaWorker)
    async with rig.running(worker):
        await rig.publish("a", "b", "c")
        await rig.have("a", "b", "c")
        await until(committed_on_broker(worker), what="the group's offset on the broker")
        await go_back(rig, 1)
        await rig.publish("d")
        await rig.have("a", "b", "c", "d")
    assert told.number == 1


async def test_a_group_is_behind_by_what_it_has_not_taken_and_one_that_never_came_is_not(on_kafka: Rig) -> None:
    rig = on_kafka
    async with rig.running(rig.bus.consume(rig.subscription())):
        await rig.publish("a")
        await rig.have("a")
    await rig.publish("b", "c")
    assert await rig.bus.behind(rig.topics[0], [rig.group, "never came"]) == 2
    asked = clients()
    assert len(asked) == 3, "what publishes, what asks for the ends, what asks for the groups"
    assert await rig.bus.behind(rig.topics[0], ["never came"]) == 0
    assert clients() == asked
    await rig.bus.close()
    assert clients() == set()


async def test_whoever_is_ahead_is_no_restore(on_kafka: Rig) -> None:
    rig, told = on_kafka, Calls()
    async with rig.running(rig.bus.consume(rig.subscription(on_went_back=told.note))):
        await rig.publish("a")
        await rig.have("a")
        await rig.do("update ingest.positions set next_offset = 2 where topic = :topic and partition = 0", topic=rig.topics[0])
        await rig.publish("taken by another", "b")
        await rig.have("a", "b")
    assert told.number == 0


async def test_a_member_that_joins_and_one_that_leaves_lose_nothing_and_double_nothing(on_kafka: Rig) -> None:
    rig = on_kafka
    sent = {p: [f"{p}-{n}" for n in range(ENOUGH)] for p in range(PARTITIONS)}

    async def send() -> None:
        for start in range(0, ENOUGH, 10):
            for partition, values in sent.items():
                await rig.publish(*values[start : start + 10], partition=partition)

    async with rig.running(first := rig.bus.consume(rig.subscription(batch_records=7))):
        sending = asyncio.create_task(send())
        second = rig.another_bus().consume(rig.subscription(batch_records=7))
        async with rig.running(second):
            await until(lambda: sum(second.health.assigned.values()) > 0, what="the second member's partitions")
        await until(lambda: sum(first.health.assigned.values()) == 2 * PARTITIONS, what="the first member to have all again")
        await sending
        for partition, values in sent.items():
            await rig.have(*values, partition=partition)


async def test_a_partition_that_is_assigned_while_the_database_is_away_is_read_once_it_is_back(on_kafka: Rig) -> None:
    """The client swallows a listener's error; the partition would silently be read by nobody."""
    rig = on_kafka
    await rig.publish("a")
    worker = rig.bus.consume(rig.subscription())
    async with rig.without_database():
        running = asyncio.ensure_future(worker.run())
        await until(lambda: worker.health.last_error, what="the worker's error")
        assert not worker.health.joined
    await rig.have("a")
    await worker.stop()
    await running


async def test_a_worker_that_starts_before_its_broker_waits_for_it_and_a_producer_that_is_given_up_does_not(
    on_kafka: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = on_kafka
    broker = _ours(rig)
    await rig.publish("a")
    await asyncio.to_thread(broker.kill)
    monkeypatch.setattr(kafka, "PUBLISH_WITHIN_S", 0.5)
    monkeypatch.setattr(kafka, "STOP_WITHIN_S", 0.5)
    with pytest.raises(TransientError):
        await rig.publish("b")
    assert [task for task in asyncio.all_tasks() if "aiokafka" in str(task)] == []
    worker = rig.another_bus().consume(rig.subscription())
    running = asyncio.ensure_future(worker.run())
    await until(lambda: worker.health.last_error, what="the worker's error")
    await asyncio.to_thread(broker.restart)
    await joined(worker, running)
    await rig.have("a")
    await worker.stop()
    await running


async def test_a_broker_that_is_killed_and_comes_back_loses_nothing(on_kafka: Rig) -> None:
    """What was acknowledged is there afterwards; what was not is published again, as the relay does."""
    rig = on_kafka
    broker = _ours(rig)
    sent: list[str] = []
    over = asyncio.Event()
    async with rig.running(rig.bus.consume(rig.subscription())):
        senders = [asyncio.create_task(_send_until(rig, over, sent, p)) for p in range(PARTITIONS)]
        await until(lambda: len(sent) > 100, what="some records")
        await rig.bus.behind(rig.topics[0], [rig.group])
        await asyncio.to_thread(broker.kill)
        await asyncio.to_thread(broker.restart)
        before = len(sent)
        await until(lambda: len(sent) > before + 100, what="records after the restart", within_s=60)
        over.set()
        await asyncio.gather(*senders)
        for partition in range(PARTITIONS):
            mine = [value for value in sent if value.startswith(f"{partition}-")]
            await until(_all_there(rig, partition, mine), what="every record that was answered for", within_s=60)
            first_seen = list(dict.fromkeys(await rig.values(partition=partition)))
            assert first_seen == mine
    await until(_none_behind(rig), what="the clients that asked before to be made anew")
    assert await rig.rows("select topic, partition, position from effects group by 1, 2, 3 having count(*) > 1") == []


def _none_behind(rig: Rig) -> Callable[[], Awaitable[bool]]:
    async def none() -> bool:
        with contextlib.suppress(TransientError):
            return await rig.bus.behind(rig.topics[0], [rig.group]) == 0
        return False

    return none


async def _send_until(rig: Rig, over: asyncio.Event, sent: list[str], partition: int) -> None:
    number = 0
    while not over.is_set():
        value = f"{partition}-{number}"
        with contextlib.suppress(TransientError):
            await rig.publish(value, partition=partition)
            sent.append(value)
            number += 1


def _all_there(rig: Rig, partition: int, wanted: Sequence[str]) -> Callable[[], Awaitable[bool]]:
    async def condition() -> bool:
        return set(wanted) <= set(await rig.values(partition=partition))

    return condition


async def test_a_consumer_that_stands_still_before_records_ends_and_says_where(on_kafka: Rig) -> None:
    rig = on_kafka

    async def never_ends(conn: AsyncConnection, records: Sequence[Record]) -> None:
        await asyncio.Event().wait()

    worker = rig.bus.consume(rig.subscription(never_ends))
    assert isinstance(worker, KafkaWorker)
    worker.deaf_after_s = 1.5
    running = asyncio.ensure_future(worker.run())
    await rig.publish("a")
    died_of = await ended(running)
    assert isinstance(died_of, DeafConsumerError)
    assert f"{rig.topics[0]}/0 stands at 0" in str(died_of)


async def test_a_partition_that_the_client_has_lost_ends_the_process_although_another_moves(on_kafka: Rig) -> None:
    rig = on_kafka
    worker = rig.bus.consume(rig.subscription())
    assert isinstance(worker, KafkaWorker)
    worker.deaf_after_s = 1.5
    running = asyncio.ensure_future(worker.run())
    await joined(worker, running)
    await rig.publish("a", partition=1)
    await rig.have("a", partition=1)
    worker._consumer.pause(TopicPartition(rig.topics[0], 1))  # stands for a client that no longer fetches it
    await rig.publish("b", partition=1)
    sent = 0

    async def moved_or_ended() -> bool:
        return running.done() or len(await rig.values()) == sent

    while not running.done():
        await rig.publish("c")
        sent += 1
        await until(moved_or_ended, what="the other partition")
    assert sent > 1
    assert isinstance(died_of := await ended(running), DeafConsumerError)
    assert f"{rig.topics[0]}/1 stands at 1" in str(died_of)


async def test_no_partition_waits_until_others_are_empty(on_kafka: Rig) -> None:
    rig, batches = on_kafka, []
    for topic in range(len(rig.topics)):
        for partition in range(PARTITIONS):
            await rig.publish(*map(str, range(40)), topic=topic, partition=partition)

    async def note(conn: AsyncConnection, records: Sequence[Record]) -> None:
        batches.append((records[0].topic, records[0].partition))

    async with rig.running(rig.bus.consume(rig.subscription(note, batch_records=2))):
        await until(lambda: len(set(batches)) == 2 * PARTITIONS, what="a batch of each partition")
    assert max(map(batches.count, set(batches))) <= LONGEST_ROUND, "of twenty batches each"


async def test_a_consumer_with_nothing_to_read_is_not_taken_for_deaf(on_kafka: Rig) -> None:
    rig = on_kafka
    worker = rig.bus.consume(rig.subscription())
    assert isinstance(worker, KafkaWorker)
    worker.deaf_after_s = 0.5
    async with rig.running(worker):
        seen: set[object] = set()

        async def observed() -> bool:
            seen.add(await rig.caught_up_at())
            return len(seen) > 3

        await until(observed, what="three looks at an idle partition")
        await rig.publish("a")
        await rig.have("a")


async def test_who_could_not_look_for_long_is_not_taken_for_deaf_when_what_was_away_comes_back(on_kafka: Rig) -> None:
    rig = on_kafka
    worker = rig.bus.consume(rig.subscription())
    assert isinstance(worker, KafkaWorker)
    worker.deaf_after_s = 8.0  # longer than the longest pause between two tries
    async with rig.running(worker):
        await rig.publish("a")
        await rig.have("a")
        async with rig.without_database():
            began = stopwatch()
            await rig.publish("b")
            await until(lambda: stopwatch() - began > worker.deaf_after_s + 2, what="the end of patience")
        await rig.have("a", "b")


async def test_what_a_handler_cannot_survive_comes_out_of_the_worker_as_it_is(on_kafka: Rig) -> None:
    rig = on_kafka

    async def breaks(conn: AsyncConnection, records: Sequence[Record]) -> None:
        raise LookupError("a fault of ours")

    running = asyncio.ensure_future(rig.bus.consume(rig.subscription(breaks)).run())
    await rig.publish("a")
    assert isinstance(await ended(running), LookupError)
    assert await rig.position() == 0


async def test_a_header_without_a_value_stops_nobody(on_kafka: Rig) -> None:
    rig = on_kafka
    seen: list[Record] = []

    async def look(conn: AsyncConnection, records: Sequence[Record]) -> None:
        assert records[0].header("empty") == ""
        seen.extend(records)
        await keep(conn, records)

    producer = AIOKafkaProducer(bootstrap_servers=_ours(rig).bootstrap)
    await producer.start()
    async with rig.running(rig.bus.consume(rig.subscription(look))):
        await producer.send_and_wait(rig.topics[0], b"a", partition=0, headers=[("empty", None)])
        await rig.have("a")
    await producer.stop()
    assert seen[0].headers == (("empty", b""),)


async def test_a_handler_that_cannot_keep_up_stops_the_fetching(on_kafka: Rig) -> None:
    rig = on_kafka
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def waits(conn: AsyncConnection, records: Sequence[Record]) -> None:
        entered.set()
        await go_on.wait()

    for _ in range(32):
        await rig.publish(*["x" * 250_000] * 4)
    tracemalloc.start()
    try:
        async with rig.running(rig.bus.consume(rig.subscription(waits, batch_records=10))):
            await entered.wait()
            with contextlib.suppress(TimeoutError):
                await until(lambda: tracemalloc.get_traced_memory()[0] > 16_000_000, within_s=1.5)
            held = tracemalloc.get_traced_memory()[1]
            go_on.set()
    finally:
        tracemalloc.stop()
    assert held < 16_000_000, "of 32 MB on the topic no more than a few fetches may be held"


async def test_a_partition_that_does_not_exist_is_refused_and_nothing_else_is_published_in_its_place(on_kafka: Rig) -> None:
    with pytest.raises(TransientError, match="has 3 partitions"):
        await on_kafka.publish("a", partition=PARTITIONS)


def _ours(rig: Rig):  # type: ignore[no-untyped-def]  # noqa: ANN202  # a broker of this run
    if rig.broker is None or not rig.broker.killable:
        pytest.skip("the broker of KAFKA_BOOTSTRAP is not ours to kill")
    return rig.broker
