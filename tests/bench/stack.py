"""PostgreSQL and Kafka for one run, in a folder that is removed with it."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import asyncpg
from sqlalchemy.engine import make_url

from libs.common.bus.kafka import KafkaBus, make_topics
from libs.common.bus.ports import Message
from libs.common.bus.topics import TopicSpec
from libs.common.clock import WallClock
from libs.common.contracts.catalogue import CATALOGUE, dead_letters_of
from libs.common.db.embedded import EmbeddedPostgres
from tests.bench.events import PARTITIONS
from tests.support.kafka import Broker
from tests.support.postgres import Databases

PUT = 5_000
SETTINGS = {"shared_buffers": "4GB", "max_wal_size": "16GB", "checkpoint_timeout": "15min"}
"""What docs/operations.md recommends for a working PostgreSQL; the server's defaults are meant to start anywhere."""
KEEPS_COMPILERS = "-XX:-UseDynamicNumberOfCompilerThreads"
"""The JVM would end idle compiler threads, and their CPU time could no longer be told apart."""


@dataclass
class Stack:
    """The servers of this run."""

    folder: Path
    server: EmbeddedPostgres
    databases: Databases
    broker: Broker
    put_so_far: int = 0

    @property
    def postgres_pid(self) -> int:
        """Return the postmaster's process id."""
        return int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0])

    @property
    def trees(self) -> dict[str, int]:
        """Return the process trees that are measured beside the client."""
        return {"postgres": self.postgres_pid, "broker": self.broker.pid}

    @asynccontextmanager
    async def database(self, *services: str) -> AsyncIterator[str]:
        """Yield the URL of a fresh database with these schemas."""
        async with self.databases.fresh(*services) as engine:
            yield engine.url.set(drivername="postgresql").render_as_string(hide_password=False)

    @asynccontextmanager
    async def copied(self, url: str) -> AsyncIterator[str]:
        """Yield the URL of a copy of this database, to which nobody may be connected."""
        name = f"copy_{uuid.uuid4().hex[:12]}"
        admin = await asyncpg.connect(self.server.url("postgres"))
        try:
            original = make_url(url).database
            await admin.execute(f'create database "{name}" template "{original}" strategy file_copy', timeout=None)
            try:
                yield self.server.url(name)
            finally:
                await admin.execute(f'drop database "{name}" with (force)', timeout=None)
        finally:
            await admin.close()

    async def describe(self) -> str:
        """Return the server's version, and refuse one whose commits are not durable."""
        conn = await asyncpg.connect(self.server.url("postgres"))
        try:
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                if (value := await conn.fetchval(f"show {name}")) != "on":
                    raise RuntimeError(f"{name} is {value}: the figures would be worth nothing")
            return str(await conn.fetchval("show server_version")).split()[0]
        finally:
            await conn.close()

    async def put(self, messages: Sequence[Message]) -> None:
        """Put messages on their topics."""
        bus = KafkaBus(self.broker.bootstrap, clock=WallClock(), client_id="bench", partitions=PARTITIONS)
        try:
            for at in range(0, len(messages), PUT):
                await bus.publish(messages[at : at + PUT])
        finally:
            await bus.close()
        self.put_so_far += len(messages)


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Stack]:
    """Start the servers, create the topics, and stop the servers at the end."""
    server = await _postgres(folder / "postgres")
    broker = Broker.start(folder / "kafka", java_options=KEEPS_COMPILERS)
    try:
        week = timedelta(days=7)
        topics = [TopicSpec(topic.name, PARTITIONS, week, compacted=False) for topic in CATALOGUE]
        letters = [TopicSpec(dead_letters_of(topic.name), 1, week, compacted=False) for topic in CATALOGUE]
        await make_topics(broker.bootstrap, [*topics, *letters])
        yield Stack(folder, server, Databases(server), broker)
    finally:
        broker.stop()
        await server.stop()


async def _postgres(folder: Path) -> EmbeddedPostgres:
    """Start a server with these settings, some of which it only reads at startup."""
    server = EmbeddedPostgres(folder)
    conn = await asyncpg.connect(server.url("postgres"))
    try:
        for name, value in SETTINGS.items():
            await conn.execute(f"alter system set {name} = '{value}'")
    finally:
        await conn.close()
    await server.stop()
    return EmbeddedPostgres(folder)
