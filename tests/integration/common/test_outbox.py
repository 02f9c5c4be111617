"""The outbox: what is committed is published, in order, and again rather than never."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import BusWorker, Message
from libs.common.clock import WallClock, pause
from libs.common.errors import TransientError
from libs.common.outbox import Outbox, Relay
from tests.support.running import until

SCHEMA = "ingest"
PARTITIONS = 4


def message(value: str, key: str = "k", partition: int = 0) -> Message:
    return Message("topic", partition, key.encode(), value.encode(), (("ce_id", value.encode()),))


class Published(InProcessBus):
    """A bus of this process that remembers what it was given and can be made to answer late, or never."""

    def __init__(self) -> None:
        super().__init__(clock=WallClock(), partitions=PARTITIONS)
        self.log: list[Message] = []
        self.slow_s = 0.0
        self.lose_answers = 0

    async def publish(self, messages: Sequence[Message]) -> None:
        for start in range(0, len(messages), 50):
            await asyncio.sleep(self.slow_s)
            self.log += messages[start : start + 50]
        if self.lose_answers:
            self.lose_answers -= 1
            raise TransientError("the answer was lost")

    def consume(self, subscription: object) -> BusWorker:  # type: ignore[override]  # nobody consumes here
        raise NotImplementedError

    def first_seen(self, key: str | None = None) -> list[str]:
        """Return the values in the order of their first publication."""
        return list(dict.fromkeys((m.value or b"").decode() for m in self.log if key is None or m.key == key.encode()))


async def write(engine: AsyncEngine, outbox: Outbox, *messages: Message) -> None:
    async with engine.begin() as conn:
        await outbox.append(conn, messages)


async def left(engine: AsyncEngine) -> int:
    async with engine.connect() as conn:
        return await Outbox(SCHEMA).depth(conn)


async def test_messages_of_one_transaction_are_published_in_the_order_in_which_they_were_written(engine: AsyncEngine) -> None:
    bus, outbox = Published(), Outbox(SCHEMA)
    await write(engine, outbox, *[message(str(n), partition=n % PARTITIONS) for n in range(500)])
    assert await Relay(engine, outbox, bus).drain() == 500
    assert bus.first_seen() == [str(n) for n in range(500)]
    assert await left(engine) == 0


async def test_a_transaction_that_is_rolled_back_publishes_nothing(engine: AsyncEngine) -> None:
    bus, outbox = Published(), Outbox(SCHEMA)
    async with engine.connect() as conn, conn.begin() as transaction:
        await outbox.append(conn, [message("never")])
        await transaction.rollback()
    assert await Relay(engine, outbox, bus).drain() == 0
    assert bus.log == []


async def test_for_one_key_the_order_is_that_of_the_commits_however_many_write_at_once(engine: AsyncEngine) -> None:
    """Each writer locks the aggregate's row before it writes, as every handler does, and numbers what it says."""
    bus, outbox = Published(), Outbox(SCHEMA)
    relay, stop = Relay(engine, outbox, bus), asyncio.Event()
    async with engine.begin() as conn:
        await conn.execute(text("create table aggregates (key text primary key, version int not null default 0)"))
        await conn.execute(text("insert into aggregates (key) select k::text from generate_series(0, 4) as k"))
    relaying = asyncio.create_task(relay.run(stop))
    await asyncio.gather(*[_bump(engine, outbox, random.Random(writer)) for writer in range(8)])
    await until(lambda: _empty(engine), what="an empty outbox")
    stop.set()
    outbox.wake.set()
    await relaying
    for key in map(str, range(5)):
        versions = [int(value.partition(":")[2]) for value in bus.first_seen(key)]
        assert versions == list(range(1, len(versions) + 1))
    assert len(bus.first_seen()) == 8 * 40


async def _bump(engine: AsyncEngine, outbox: Outbox, dice: random.Random) -> None:
    for _ in range(40):
        key = str(dice.randrange(5))
        async with engine.begin() as conn:
            version = await _next_version(conn, key)
            for _ in range(dice.randrange(4)):
                await conn.execute(text("select pg_backend_pid()"))  # others come in between
            await outbox.append(conn, [message(f"{key}:{version}", key)])
        outbox.wake.set()


async def _next_version(conn: AsyncConnection, key: str) -> int:
    raised = text("update aggregates set version = version + 1 where key = :key returning version")
    return int((await conn.execute(raised, {"key": key})).scalar_one())


async def _empty(engine: AsyncEngine) -> bool:
    return await left(engine) == 0


async def test_two_relays_at_once_publish_nothing_before_what_was_written_earlier(engine: AsyncEngine) -> None:
    """Should the lock that keeps one at work be lost, both work: rows may come twice, the first time in order."""
    bus, outbox = Published(), Outbox(SCHEMA)
    bus.slow_s = 0.003
    await write(engine, outbox, *[message(str(n)) for n in range(5000)])
    await asyncio.gather(Relay(engine, outbox, bus).drain(), Relay(engine, outbox, bus).drain())
    assert bus.first_seen() == [str(n) for n in range(5000)]
    assert await left(engine) == 0


async def test_of_two_relays_that_run_one_works_and_the_other_takes_over_when_it_ends(engine: AsyncEngine) -> None:
    buses = Published(), Published()
    relays = [Relay(engine, Outbox(SCHEMA), bus) for bus in buses]
    stops = asyncio.Event(), asyncio.Event()
    running = [asyncio.create_task(relay.run(stop)) for relay, stop in zip(relays, stops, strict=True)]
    for number in range(20):
        await write(engine, relays[0].outbox, message(str(number)))
        for relay in relays:
            relay.outbox.wake.set()
        await until(lambda: _empty(engine), what="an empty outbox")
    assert sorted(len(bus.log) for bus in buses) == [0, 20]
    worker = 0 if buses[0].log else 1
    stops[worker].set()
    await running[worker]
    await write(engine, relays[0].outbox, message("after"))
    await until(lambda: buses[1 - worker].first_seen() == ["after"], what="the other's work")
    stops[1 - worker].set()
    await running[1 - worker]


async def test_a_relay_that_may_not_publish_does_not_ask_again_and_again(engine: AsyncEngine) -> None:
    asked: list[str] = []
    first, second = Relay(engine, Outbox(SCHEMA), Published()), Relay(engine, Outbox(SCHEMA), Published())
    stop = asyncio.Event()
    running = [asyncio.create_task(first.run(stop))]
    await until(lambda: _is_locked(engine), what="the first one's lock")
    event.listen(engine.sync_engine, "before_cursor_execute", lambda *said: asked.append(said[2]))
    running.append(asyncio.create_task(second.run(stop)))
    second.outbox.wake.set()
    await until(lambda: any("pg_try_advisory_lock" in one for one in asked), what="the second one's question")
    second.outbox.wake.set()
    await pause(stop, 0.3)
    stop.set()
    await asyncio.gather(*running)
    assert len([one for one in asked if "pg_try_advisory_lock" in one]) <= 3


async def _is_locked(engine: AsyncEngine) -> bool:
    async with engine.connect() as conn:
        found = await conn.execute(
            text(
                "select count(*) from pg_locks where locktype = 'advisory' and database = "
                "(select oid from pg_database where datname = current_database())"
            )
        )
        return bool(found.scalar_one())


async def test_a_relay_whose_bus_was_away_goes_on_when_it_is_back(engine: AsyncEngine) -> None:
    """The lock must not stay behind on a connection that went back to the pool."""
    bus, outbox, stop = Published(), Outbox(SCHEMA), asyncio.Event()
    await asyncio.gather(*[left(engine) for _ in range(8)])
    running = asyncio.create_task(Relay(engine, outbox, bus).run(stop))
    bus.lose_answers = 3
    await write(engine, outbox, message("a"))
    outbox.wake.set()
    await until(lambda: _empty(engine), what="an empty outbox", within_s=8)
    stop.set()
    await running
    assert bus.first_seen() == ["a"]


async def test_a_crash_between_publishing_and_deleting_repeats_and_never_loses(engine: AsyncEngine) -> None:
    bus, outbox = Published(), Outbox(SCHEMA)
    await write(engine, outbox, *[message(str(n)) for n in range(30)])
    bus.lose_answers = 2
    for _ in range(2):
        with pytest.raises(TransientError):
            await Relay(engine, outbox, bus).drain()
        assert await left(engine) == 30
    await write(engine, outbox, message("30"))
    assert await Relay(engine, outbox, bus).drain() == 31
    assert bus.first_seen() == [str(n) for n in range(31)]
    assert len(bus.log) == 30 * 3 + 1


async def test_a_relay_that_was_told_to_publish_now_takes_what_was_committed_before(engine: AsyncEngine) -> None:
    """One process answers 202 after `drain`: two that drain at once must both have waited for what they wrote."""
    bus, outbox = Published(), Outbox(SCHEMA)
    bus.slow_s = 0.005
    relay = Relay(engine, outbox, bus)

    async def write_and_drain(value: str) -> bool:
        await write(engine, outbox, message(value))
        await relay.drain()
        return value in bus.first_seen()

    assert all(await asyncio.gather(*[write_and_drain(str(n)) for n in range(30)]))


async def test_a_transaction_that_says_much_is_published_in_its_order_part_by_part(engine: AsyncEngine) -> None:
    bus, outbox = Published(), Outbox(SCHEMA)
    long = "x" * (300 * 1024)
    values = [f"{n}-{long if n % 700 == 0 else ''}" for n in range(5_000)]
    await write(engine, outbox, *map(message, values))
    assert await left(engine) == 5_000
    assert await Relay(engine, outbox, bus).drain() == 5_000
    assert bus.first_seen() == values
    assert await left(engine) == 0
