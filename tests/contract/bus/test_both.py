"""What every bus promises, tested on both: in one process and on Kafka."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.ports import DeadLetterBudget, Record, UndeliveredError
from libs.common.clock import WallClock
from libs.common.errors import TransientError
from tests.contract.bus.rigs import BAD, PARTITIONS, Rig, keep, keep_but_bad
from tests.support.running import until


async def test_everything_published_is_taken_in_once_and_in_order_within_a_partition(rig: Rig) -> None:
    sent = {p: [f"{p}-{n}" for n in range(120)] for p in range(PARTITIONS)}
    async with rig.running(rig.bus.consume(rig.subscription(batch_records=50))):
        for start in range(0, 120, 40):
            await asyncio.gather(*[rig.publish(*values[start : start + 40], partition=p) for p, values in sent.items()])
        for partition, values in sent.items():
            await rig.have(*values, partition=partition)
            assert await rig.position(partition=partition) == 120


async def test_a_batch_that_fails_for_now_is_tried_again_and_never_half_done(rig: Rig) -> None:
    tries: list[int] = []

    async def fails_twice(conn: AsyncConnection, records: Sequence[Record]) -> None:
        await keep(conn, records)
        tries.append(len(records))
        if len(tries) <= 2:
            raise TransientError("not now")

    async with rig.running(rig.bus.consume(rig.subscription(fails_twice))):
        await rig.publish("a", "b")
        await rig.have("a", "b")
        assert (len(tries), await rig.position()) == (3, 2)


async def test_what_stood_before_an_unusable_record_is_not_done_again_when_what_stands_behind_it_must_wait(rig: Rig) -> None:
    tries: list[str] = []

    async def fails_behind(conn: AsyncConnection, records: Sequence[Record]) -> None:
        await keep_but_bad(conn, records)
        if records[-1].value == b"c" and len(tries) < 2:
            tries.append("c")
            raise TransientError("not now")

    async with rig.running(rig.bus.consume(rig.subscription(fails_behind))):
        await rig.publish("a", "b", BAD, "c")
        await rig.have("a", "b", "c")
    assert (len(tries), await rig.position()) == (2, 4)
    assert len(await rig.unpublished()) == 1


async def test_a_database_that_is_away_is_waited_for(rig: Rig) -> None:
    async with rig.running(worker := rig.bus.consume(rig.subscription())):
        await rig.publish("a")
        await rig.have("a")
        async with rig.without_database():
            publishing = asyncio.create_task(rig.publish("b", "c"))
            await until(lambda: worker.health.last_error, what="the worker's error")
        await publishing
        await rig.have("a", "b", "c")
        assert await rig.position() == 3


async def test_one_unusable_record_goes_to_the_dead_letters_alone_and_the_rest_goes_on(rig: Rig) -> None:
    async with rig.running(rig.bus.consume(rig.subscription(keep_but_bad))):
        await rig.publish("a", "b", BAD, "c", "d", partition=1)
        await rig.have("a", "b", "c", "d", partition=1)
    [letter] = await rig.unpublished()
    assert (letter.topic, letter.partition, letter.value) == (f"{rig.topics[0]}.dlq", 0, BAD.encode())
    said = {name: value.decode() for name, value in letter.headers}
    assert said["ce_id"]
    assert (said["dunwell_reason"], said["dunwell_origin_topic"], said["dunwell_origin_partition"]) == ("unreadable", rig.topics[0], "1")
    assert said["dunwell_group"] == rig.group
    assert await rig.position(partition=1) == 5


async def test_after_too_many_unusable_records_the_topic_stands_still_and_another_goes_on(rig: Rig) -> None:
    async with rig.running(worker := rig.bus.consume(rig.subscription(keep_but_bad, budget=DeadLetterBudget(2)))):
        with contextlib.suppress(TransientError):
            await rig.publish(BAD, BAD, BAD, "after")
        await until(lambda: worker.health.stopped_topics == {rig.topics[0]}, what="the topic's stop")
        await rig.publish("x", topic=1)
        await rig.have("x", topic=1)
        with contextlib.suppress(TransientError):
            async with asyncio.timeout(5):
                await rig.publish("later")
        await rig.publish("y", topic=1)
        await rig.have("x", "y", topic=1)
        assert (await rig.values(), await rig.position()) == ([], 2)
    assert len(await rig.unpublished()) == 2


async def test_what_the_handler_sets_aside_and_what_the_consumer_does_count_together(rig: Rig) -> None:
    budget = DeadLetterBudget(2)

    async def sets_aside(conn: AsyncConnection, records: Sequence[Record]) -> None:
        for record in records:
            if record.value == b"aside":
                budget.spend(record, "malformed")
            else:
                await keep_but_bad(conn, [record])

    async with rig.running(worker := rig.bus.consume(rig.subscription(sets_aside, budget=budget))):
        with contextlib.suppress(TransientError):
            await rig.publish("aside", BAD, "a", "aside", "b")
        await until(lambda: worker.health.stopped_topics == {rig.topics[0]}, what="the topic's stop")
    assert budget.spent == {(rig.topics[0], "malformed"): 1, (rig.topics[0], "unreadable"): 1}


async def test_a_bad_record_that_is_tried_again_is_counted_once(rig: Rig) -> None:
    """Otherwise a database that flaps for a minute would use up the dead-letter budget."""
    async with rig.running(worker := rig.bus.consume(rig.subscription(keep_but_bad, budget=DeadLetterBudget(2)))):
        await rig.do("create function away() returns trigger language plpgsql as $$ begin raise 'not now' using errcode = '57P03'; end $$")
        await rig.do("create trigger away before insert on ingest.outbox for each row execute function away()")
        publishing = asyncio.create_task(rig.publish(BAD, "a"))
        tried = worker.health
        await until(lambda: "not now" in (tried.last_error or ""), what="the first try")
        for _ in range(3):
            tried.last_error = None
            await until(lambda: "not now" in (tried.last_error or ""), what="another try")
        await rig.do("drop trigger away on ingest.outbox")
        await publishing
        await rig.have("a")
        assert worker.health.stopped_topics == set()


async def test_whoever_holds_an_older_position_changes_nothing_and_reads_on_from_the_database(rig: Rig) -> None:
    async with rig.running(rig.bus.consume(rig.subscription())):
        await rig.publish("a", "b", "c")
        await rig.have("a", "b", "c")
        await rig.do("update ingest.positions set next_offset = 5 where topic = :topic and partition = 0", topic=rig.topics[0])
        await rig.publish("d", "e", "f")
        await until(_last(rig, "f"), what="the record behind the position")
        places = [row.position for row in await rig.rows("select position from effects order by n")]
        assert places[:3] == [0, 1, 2]
        assert min(places[3:]) == 5
        assert len(set(places)) == len(places)
        assert await rig.position() == places[-1] + 1


def _last(rig: Rig, value: str):  # type: ignore[no-untyped-def]  # noqa: ANN202  # a condition
    async def condition() -> bool:
        return (await rig.values())[-1] == value

    return condition


async def test_after_a_restart_it_goes_on_from_the_databases_position(rig: Rig) -> None:
    async with rig.running(rig.bus.consume(rig.subscription())):
        await rig.publish("a", "b")
        await rig.have("a", "b")
    again = rig.another_bus()
    async with rig.running(again.consume(rig.subscription())):
        await rig.publish("c", bus=again)
        await rig.have("a", "b", "c")
        assert await rig.position() == 3


async def test_a_worker_that_stops_finishes_the_batch_in_hand(rig: Rig) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def waits(conn: AsyncConnection, records: Sequence[Record]) -> None:
        entered.set()
        await go_on.wait()
        await keep(conn, records)

    async with rig.running(worker := rig.bus.consume(rig.subscription(waits))):
        publishing = asyncio.create_task(rig.publish("a"))
        await entered.wait()
        stopping = asyncio.create_task(worker.stop())
        go_on.set()
        await stopping
        with contextlib.suppress(TransientError):
            await publishing
    assert (await rig.values(), await rig.position()) == (["a"], 1)


async def test_a_partition_counts_as_caught_up_only_when_all_that_stood_there_is_committed(rig: Rig) -> None:
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def waits(conn: AsyncConnection, records: Sequence[Record]) -> None:
        entered.set()
        await go_on.wait()
        await keep(conn, records)

    async with rig.running(worker := rig.bus.consume(rig.subscription(waits))):
        publishing = asyncio.create_task(rig.publish("a"))
        await entered.wait()
        stood_at = WallClock().now()
        observing = asyncio.create_task(worker.observe())
        if rig.broker is not None:
            await observing
        before = await rig.caught_up_at()
        assert before is None or before < stood_at
        go_on.set()
        await asyncio.gather(observing, publishing)
        await rig.have("a")
        await until(_caught_up_after(rig, stood_at), what="the partition's catching up")
        await worker.observe()
        marks = [await rig.caught_up_at(partition=p) for p in range(PARTITIONS)]
        assert all(mark is not None and mark <= WallClock().now() for mark in marks)


async def test_a_partition_on_which_there_always_is_more_is_caught_up_with_up_to_an_earlier_look(rig: Rig) -> None:
    closed = {"0", "15"}

    async def halts(conn: AsyncConnection, records: Sequence[Record]) -> None:
        """Fail at a closed record and be retried, so that the position's row is free between the tries."""
        if (records[0].value or b"").decode() in closed:
            raise TransientError("not yet")
        await keep(conn, records)

    first, more = [str(n) for n in range(10)], [str(n) for n in range(10, 20)]
    async with rig.running(worker := rig.bus.consume(rig.subscription(halts, batch_records=1))):
        try:
            publishing = [asyncio.create_task(rig.publish(*first))]
            await until(lambda: worker.health.last_error, what="the first try")
            stood_at = WallClock().now()
            await worker.observe()
            publishing.append(asyncio.create_task(rig.publish(*more)))
            closed.discard("0")
            await rig.have(*first, *more[:5])
            await worker.observe()
            await until(_caught_up_after(rig, stood_at), what="the mark of the first look", within_s=5)
            assert await rig.position() == 15
        finally:
            closed.clear()
        await asyncio.gather(*publishing)
        await rig.have(*first, *more)


def _caught_up_after(rig: Rig, moment: datetime):  # type: ignore[no-untyped-def]  # noqa: ANN202  # a condition
    async def condition() -> bool:
        at = await rig.caught_up_at()
        return at is not None and at >= moment

    return condition


async def test_a_slow_handler_slows_the_intake_and_the_order_stays(rig: Rig) -> None:
    sizes: list[int] = []
    go_on = asyncio.Event()

    async def slow(conn: AsyncConnection, records: Sequence[Record]) -> None:
        sizes.append(len(records))
        await go_on.wait()
        await keep(conn, records)

    values = [str(n) for n in range(60)]
    async with rig.running(rig.bus.consume(rig.subscription(slow, batch_records=10))):
        publishing = asyncio.create_task(rig.publish(*values))
        await until(lambda: sizes, what="the first batch")
        if rig.broker is not None:
            await publishing
        assert len(sizes) == 1, "of one partition nothing more is begun while a batch is in hand"
        go_on.set()
        await publishing
        await rig.have(*values)
    assert max(sizes) <= 10
    assert all(int(a) < int(b) for a, b in pairwise(await rig.values()))


@pytest.mark.parametrize("partition", [0, PARTITIONS - 1])
async def test_what_is_handed_to_after_commit_is_committed(rig: Rig, partition: int) -> None:
    seen: list[list[str]] = []

    async def note() -> None:
        seen.append(await rig.values(partition=partition))

    async with rig.running(rig.bus.consume(rig.subscription(after_commit=note))):
        await rig.publish("a", partition=partition)
        await until(lambda: seen, what="the call after the commit")
    assert seen[0] == ["a"]


async def test_what_cannot_be_published_names_its_partitions_and_what_stands_beside_it_is_taken_in(rig: Rig) -> None:
    worker = rig.bus.consume(rig.subscription())
    good, bad = rig.message("a"), rig.message("b", topic=1, partition=PARTITIONS)
    async with rig.running(worker):
        if rig.broker is None:
            worker.health.stopped_topics.add(rig.topics[1])
        with pytest.raises(UndeliveredError) as refused:
            await rig.bus.publish([good, bad])
        await rig.have("a")
    assert refused.value.places == {(rig.topics[1], PARTITIONS)}
