"""The watcher: reads for the metrics what stands in the tables, so that no scrape does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.clock import Clock, pause
from libs.common.db.failures import is_transient
from services.notifier.metrics import NotifierMetrics
from services.notifier.store import watching

WATCH_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Watcher:
    """Looks every ten seconds."""

    engine: AsyncEngine
    clock: Clock
    metrics: NotifierMetrics

    async def run(self, stop: asyncio.Event) -> None:
        """Look until the stop; a database that is away is looked at again, and the stamp of the last success grows old."""
        self.metrics.watcher_interval.set(WATCH_EVERY_S)
        while not stop.is_set():
            try:
                await self.look()
            except Exception as error:
                if not is_transient(error):
                    raise
                logs.get("watcher").warning("look_failed", reason=type(error).__name__)
            await pause(stop, WATCH_EVERY_S)

    async def look(self) -> None:
        """Read everything once."""
        async with self.engine.connect() as conn:
            now = await self.clock.at(conn)
            self.metrics.on_watched(await watching.look(conn, now=now), now)
