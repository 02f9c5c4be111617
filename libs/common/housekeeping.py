"""Drops what is only kept for a time once that time has passed."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import idempotency
from libs.common.feed import store
from libs.common.repeating import repeat

FEED_KEPT = timedelta(days=7)
EVERY_S = 60.0
AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Housekeeper:
    """Drops old parts of the feed and expired idempotent answers, a few at a time."""

    engine: AsyncEngine
    schema: str

    async def run(self, stop: asyncio.Event) -> None:
        """Tidy once a minute until stopped."""
        await repeat(self.tidy, stop, every_s=EVERY_S, worker=f"{self.schema}/housekeeper")

    async def tidy(self) -> None:
        """Drop everything that is old enough now."""
        while await self._some():
            pass

    async def _some(self) -> bool:
        async with self.engine.begin() as conn:
            fed = await store.prune(conn, self.schema, FEED_KEPT, most=AT_ONCE)
            answered = await idempotency.prune(conn, self.schema, most=AT_ONCE)
        return AT_ONCE in (fed, answered)
