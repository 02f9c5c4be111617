"""Reads the notifier's tables for the gauges, so that no scrape has to."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from services.notifier.metrics import NotifierMetrics
from services.notifier.store import watching


@dataclass(frozen=True, slots=True)
class DeliveryWatch:
    """Sets the gauges of deliveries, timers and watermarks."""

    engine: AsyncEngine
    clock: Clock
    metrics: NotifierMetrics

    async def look(self) -> None:
        """Read everything once."""
        async with self.engine.connect() as conn:
            self.metrics.on_watched(await watching.look(conn, now=await self.clock.at(conn)))
