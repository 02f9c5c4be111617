"""The time up to which everything on the input topics is reflected in the facts: published to every partition, through the outbox."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import ids
from libs.common.bus.ports import Bus
from libs.common.clock import Clock
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.catalogue import FACTS, PROFILES
from libs.common.contracts.overdue_facts import DebtWatermark
from libs.common.db import positions
from libs.common.db.leading import leads
from libs.common.outbox import Outbox
from libs.common.repeating import repeat
from services.ingest.ledger import SOURCE
from services.ingest.observing import IngestMetrics
from services.ingest.store import feeds
from services.ingest.tables import GROUP, SCHEMA

EVERY_S = 1.0


@dataclass(slots=True)
class Watermarks:
    """Writes watermarks; only one of several replicas at a time does."""

    engine: AsyncEngine
    bus: Bus
    clock: Clock
    outbox: Outbox
    writer: Writer
    topics: Sequence[str]
    metrics: IngestMetrics
    said: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Publish watermarks repeatedly until stopped."""
        await repeat(self._say_and_wake, stop, every_s=EVERY_S, worker="ingest/watermarks")

    async def _say_and_wake(self) -> None:
        if await self.say():
            self.outbox.wake.set()

    async def say(self) -> bool:
        """Write one watermark to every partition; nothing while some input partition has never been caught up with.

        It is read after the batches that it covers have committed, so it comes after their facts in the outbox.
        """
        places = await self.bus.count_partitions(self.topics)
        async with self.engine.begin() as conn:
            if not await leads(conn, "watermark"):
                return False
            until = await positions.watermark(conn, SCHEMA, GROUP, places=places, topics=self.topics)
            if until is None or (self.said is not None and until <= self.said):
                return False
            now = await self.clock.at(conn)
            mark = DebtWatermark(until=until, stale_feeds=await feeds.stale(conn, now))
            envelope = Envelope("debt.watermark.v1", ids.fresh(), SOURCE, now, "-", "watermark")
            marks = [m for topic in (FACTS, PROFILES) for m in self.writer.broadcast(topic, envelope, mark, key="watermark")]
            await self.outbox.append(conn, marks)
        self.said = until
        self.metrics.watermark.set(until.timestamp())
        return True
