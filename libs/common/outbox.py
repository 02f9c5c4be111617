"""Messages are written in the transaction that causes them and published afterwards, in order within a partition."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.bundles import bundled, packed, unpacked
from libs.common.bus.ports import Bus, Message
from libs.common.clock import pause
from libs.common.feed.keeping import Feed
from libs.common.feed.store import interrupt
from libs.common.repeating import repeat

RELAY_BATCH = 2000
"""How many messages are published at once, plus whatever shares a row with the last of them."""
BUNDLE_MESSAGES = 1000
BUNDLE_BYTES = 1024 * 1024
IDLE_S = 1.0
"""How often a relay checks without being woken."""


class Row(NamedTuple):
    """The messages of one transaction, or part of them."""

    id: int
    messages: list[Message]


def said_in(rows: Sequence[Row]) -> list[Message]:
    """Return the messages of rows, in order."""
    return [message for row in rows for message in row.messages]


@dataclass(slots=True)
class Outbox:
    """The outbox of one service's schema."""

    schema: str
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def append(self, conn: AsyncConnection, messages: Sequence[Message]) -> None:
        """Write messages to be published, in this order, once this transaction is committed.

        A transaction's messages share a few rows: a row per message costs the database more than all other handling of it.
        """
        bundles = list(bundled(messages, most=BUNDLE_MESSAGES, most_bytes=BUNDLE_BYTES))
        if bundles:
            await conn.execute(
                text(
                    f"insert into {self.schema}.outbox (messages, bundle) select messages, bundle"  # the schema is ours
                    " from unnest(cast(:counts as int[]), cast(:bundles as bytea[])) with ordinality as m(messages, bundle, place)"
                    " order by place"
                ),
                {"counts": [len(bundle) for bundle in bundles], "bundles": [packed(bundle) for bundle in bundles]},
            )

    async def depth(self, conn: AsyncConnection) -> int:
        """Return how many messages are not published yet."""
        found = await conn.execute(text(f"select coalesce(sum(messages), 0) from {self.schema}.outbox"))
        return int(found.scalar_one())

    async def lowest(self, conn: AsyncConnection, most: int = RELAY_BATCH) -> list[Row]:
        """Return the lowest rows, and no further row once they hold so many messages."""
        rows = (
            await conn.execute(
                text(
                    "select id, bundle from (select id, bundle, sum(messages) over (order by id) - messages as before"
                    f" from (select id, bundle, messages from {self.schema}.outbox order by id limit :limit) r) r"
                    " where before < :limit order by id"
                ),
                {"limit": most},
            )
        ).all()
        return [Row(row.id, unpacked(row.bundle)) for row in rows]

    async def remove(self, conn: AsyncConnection, rows: Sequence[Row]) -> list[Row]:
        """Remove rows, and return those that were still there."""
        gone = await conn.execute(
            text(f"delete from {self.schema}.outbox o using unnest(cast(:ids as bigint[])) as i(id) where o.id = i.id returning o.id"),
            {"ids": [row.id for row in rows]},
        )
        ids = set(gone.scalars())
        return [row for row in rows if row.id in ids]


@dataclass(slots=True)
class Relay:
    """Publishes the outbox: read rows, publish outside any transaction, delete them in another.

    A session lock per schema keeps a single relay at work; should two ever overlap (a lost connection), rows are published twice, but
    never before one written earlier to the same partition, because each relay takes the lowest rows that remain.
    """

    engine: AsyncEngine
    outbox: Outbox
    bus: Bus
    feed: Feed | None = None
    """Where published messages are kept for readers without Kafka; None: nowhere, and a feed kept earlier tells its readers so."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def drain(self) -> int:
        """Publish everything in the outbox, and return the number of messages."""
        total = 0
        async with self._turn:
            while published := await self._publish_some():
                total += published
                if published < RELAY_BATCH:
                    break
        return total

    async def run(self, stop: asyncio.Event) -> None:
        """Publish whatever arrives until stopped; only the holder of the lock does."""
        await repeat(lambda: self._hold_and_publish(stop), stop, every_s=0, worker=f"{self.outbox.schema}/relay")

    async def _hold_and_publish(self, stop: asyncio.Event) -> None:
        async with self.engine.connect() as holder:
            await holder.execution_options(isolation_level="AUTOCOMMIT")
            held = False
            try:
                while not stop.is_set():
                    self.outbox.wake.clear()
                    held = held or await self._take_over(holder)
                    if held and await self._has_messages(holder):
                        await self.drain()
                    await pause(stop, IDLE_S, wake=self.outbox.wake)
            finally:
                await holder.invalidate()  # the lock ends with the session; back in the pool, it would stop everyone from publishing

    async def _take_over(self, holder: AsyncConnection) -> bool:
        """Become the publishing relay, if nobody is."""
        if not await self._take_lock(holder):
            return False
        if self.feed is None:
            async with self.engine.begin() as conn:
                await interrupt(conn, self.outbox.schema)
        return True

    async def _take_lock(self, holder: AsyncConnection) -> bool:
        """Take the lock if nobody has it; it is held as long as this connection lives."""
        lock = text("select pg_try_advisory_lock(0, hashtext(:name))")
        return bool((await holder.execute(lock, {"name": f"dunwell-relay-{self.outbox.schema}"})).scalar_one())

    async def _has_messages(self, holder: AsyncConnection) -> bool:
        """Tell whether there is anything to publish, on the connection that holds the lock: if that is lost, this fails."""
        return bool((await holder.execute(text(f"select exists (select from {self.outbox.schema}.outbox)"))).scalar_one())

    async def _publish_some(self) -> int:
        async with self.engine.connect() as conn:
            rows = await self.outbox.lowest(conn)
        if not rows:
            return 0
        messages = said_in(rows)
        await self.bus.publish(messages)
        async with self.engine.begin() as conn:
            removed = await self.outbox.remove(conn, rows)
            kept = self.feed is not None and await self.feed.keep(conn, messages if len(removed) == len(rows) else said_in(removed))
        if self.feed is not None and kept:
            self.feed.bell.ring()
        return len(messages)
