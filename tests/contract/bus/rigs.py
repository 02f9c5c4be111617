"""A bus on a real database, with two topics of its own and a handler whose effects can be counted."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.kafka import KafkaBus, make_topics
from libs.common.bus.ports import Bus, BusWorker, Handler, Message, Record, Subscription
from libs.common.bus.topics import TopicSpec
from libs.common.clock import WallClock
from libs.common.errors import PoisonError
from tests.support.kafka import Broker
from tests.support.running import unpublished, until

SCHEMA = "ingest"
PARTITIONS = 3
DAY = timedelta(days=1)
BAD = "bad"


async def keep(conn: AsyncConnection, records: Sequence[Record]) -> None:
    """Write an effect for every record; the same record twice would be two effects."""
    for record in records:
        await conn.execute(
            text("insert into effects (topic, partition, position, value) values (:topic, :partition, :position, :value)"),
            {
                "topic": record.topic, "partition": record.partition, "position": record.offset,
                "value": (record.value or b"").decode(),
            },
        )  # fmt: skip


async def keep_but_bad(conn: AsyncConnection, records: Sequence[Record]) -> None:
    """Write effects, and refuse the unusable record once those before it are written."""
    for record in records:
        if record.value == BAD.encode():
            raise PoisonError("unreadable", "nobody can use it")
        await keep(conn, [record])


@dataclass
class Rig:
    """A bus under test."""

    engine: AsyncEngine
    bus: Bus
    reopen: Callable[[], Bus]
    """Makes the bus of another process: on Kafka another client, in one process the only bus there is."""
    topics: tuple[str, str]
    group: str
    broker: Broker | None = None
    _buses: list[Bus] = field(default_factory=list)

    def another_bus(self) -> Bus:
        """Return the bus as another process would see it."""
        self._buses.append(made := self.reopen())
        return made

    def subscription(self, handler: Handler = keep, **options: Any) -> Subscription:
        """Return a subscription to both topics."""
        return Subscription(self.group, self.topics, handler, self.engine, SCHEMA, **options)

    async def publish(self, *values: str, topic: int = 0, partition: int = 0, bus: Bus | None = None) -> None:
        """Publish values to one partition."""
        await (bus or self.bus).publish([self.message(value, topic=topic, partition=partition) for value in values])

    def message(self, value: str, *, topic: int = 0, partition: int = 0) -> Message:
        """Return a message of one of the topics."""
        return Message(self.topics[topic], partition, b"k", value.encode(), (("ce_id", value[:20].encode()),))

    async def values(self, topic: int = 0, partition: int = 0) -> list[str]:
        """Return the effects on a partition, in the order they were made."""
        found = await self.rows(
            "select value from effects where topic = :topic and partition = :partition order by n",
            topic=self.topics[topic], partition=partition,
        )  # fmt: skip
        return [row.value for row in found]

    async def have(self, *values: str, topic: int = 0, partition: int = 0, within_s: float = 20.0) -> None:
        """Wait until a partition's effects are these, and no others."""
        found: list[str] = []

        async def enough() -> bool:
            nonlocal found
            found = await self.values(topic, partition)
            return len(found) >= len(values)

        with contextlib.suppress(TimeoutError):
            await until(enough, within_s=within_s)
        assert found == list(values)

    async def position(self, topic: int = 0, partition: int = 0) -> int | None:
        """Return the database's position."""
        found = await self.rows(
            "select next_offset from ingest.positions where topic = :topic and partition = :partition",
            topic=self.topics[topic], partition=partition,
        )  # fmt: skip
        return found[0].next_offset if found else None

    async def caught_up_at(self, topic: int = 0, partition: int = 0) -> datetime | None:
        """Return the moment up to which everything on a partition is committed."""
        found = await self.rows(
            "select caught_up_at from ingest.positions where topic = :topic and partition = :partition",
            topic=self.topics[topic], partition=partition,
        )  # fmt: skip
        return found[0].caught_up_at if found else None

    async def rows(self, statement: str, **values: Any) -> Sequence[Any]:
        """Return the rows of a statement."""
        async with self.engine.connect() as conn:
            return (await conn.execute(text(statement), values)).all()

    async def unpublished(self) -> list[Message]:
        """Return the messages in the outbox."""
        return await unpublished(self.engine, "ingest")

    async def do(self, statement: str, **values: Any) -> None:
        """Run a statement in a transaction of its own."""
        async with self.engine.begin() as conn:
            await conn.execute(text(statement), values)

    @asynccontextmanager
    async def running(self, worker: BusWorker) -> AsyncIterator[BusWorker]:
        """Run a worker; whatever it died of is raised at the end."""
        task = asyncio.ensure_future(worker.run())
        try:
            await joined(worker, task)
            yield worker
        finally:
            await worker.stop()
            await task

    @asynccontextmanager
    async def without_database(self) -> AsyncIterator[None]:
        """Cut all connections to the database and refuse new ones for as long as this lasts."""
        name = str(self.engine.url.database)
        admin = create_async_engine(self.engine.url.set(database="postgres"), isolation_level="AUTOCOMMIT")
        async with admin.connect() as conn:
            await conn.execute(text(f'alter database "{name}" with allow_connections false'))
            await conn.execute(text("select pg_terminate_backend(pid) from pg_stat_activity where datname = :name"), {"name": name})
            try:
                yield
            finally:
                await conn.execute(text(f'alter database "{name}" with allow_connections true'))
        await admin.dispose()

    async def close(self) -> None:
        """Close every bus."""
        for bus in (self.bus, *self._buses):
            await bus.close()


async def joined(worker: BusWorker, task: asyncio.Future[None] | None = None, within_s: float = 30.0) -> None:
    """Wait until a worker has its partitions."""

    async def has_joined() -> bool:
        if task is not None and task.done():
            await task
        return worker.health.joined

    await until(has_joined, "the worker's partitions", within_s=within_s)


async def ended(task: asyncio.Future[None], within_s: float = 20.0) -> BaseException | None:
    """Return what a worker died of."""
    async with asyncio.timeout(within_s):
        await asyncio.wait({task})
    return task.exception()


@asynccontextmanager
async def in_process_rig(engine: AsyncEngine) -> AsyncIterator[Rig]:
    """The bus of one process."""

    def reopen() -> Bus:
        return InProcessBus(clock=WallClock(), partitions=PARTITIONS)

    async with _rig(engine, reopen) as made:
        yield made


@asynccontextmanager
async def kafka_rig(engine: AsyncEngine, broker: Broker) -> AsyncIterator[Rig]:
    """The bus on a broker, with topics that nobody has used."""

    def reopen() -> Bus:
        return KafkaBus(broker.bootstrap, clock=WallClock(), client_id="contract", partitions=PARTITIONS)

    async with _rig(engine, reopen, broker) as made:
        specs = [TopicSpec(name, PARTITIONS, DAY, compacted=False) for name in made.topics]
        await make_topics(broker.bootstrap, specs)
        yield made


@asynccontextmanager
async def _rig(engine: AsyncEngine, reopen: Callable[[], Bus], broker: Broker | None = None) -> AsyncIterator[Rig]:
    await _make_effects(engine)
    unique = uuid.uuid4().hex[:8]
    made = Rig(engine, reopen(), reopen, (f"one-{unique}", f"two-{unique}"), f"group-{unique}", broker)
    try:
        yield made
    finally:
        await made.close()


async def _make_effects(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        await conn.execute(
            text(
                "create table effects (n bigint generated always as identity, topic text not null, partition int not null,"
                " position bigint not null, value text not null)"
            )
        )
