"""One pass over what is due, in turns: of each tenant as many as of any other, however long its queue is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.db.engine import by_keys
from services.notifier.store import queue
from services.notifier.store.queue import Key

LIST_AGAIN = timedelta(seconds=1)
"""While a long queue is worked off, others are looked for so often: each begins anew, and finds rows that were locked or written late."""
LEAP = 8
"""Batches that are left to whoever had in hand what was dealt: two senders at one place would be in each other's way at each step."""


@dataclass(slots=True)
class TenantTurns:
    """The tenants whose turn comes, each with the place in its order up to which everything was looked at."""

    engine: AsyncEngine
    clock: Clock
    _places: dict[str, Key | None] = field(default_factory=dict)
    _listed_at: datetime | None = None

    async def next(self, limit: int, *, contested: bool = False) -> list[Key]:
        """Return what is to be looked at next; nothing when the pass is over. It lies ahead where others had all of the last."""
        async with self.engine.connect() as conn:
            await by_keys(conn)
            now = await self.clock.at(conn)
            await self._list(conn, now)
            while self._places:
                if keys := await self._deal(conn, limit, now, contested=contested):
                    return keys
        return []

    async def _list(self, conn: AsyncConnection, now: datetime) -> None:
        if self._listed_at is not None and now - self._listed_at < LIST_AGAIN:
            return
        self._listed_at = now
        self._places |= {tenant: None for tenant in await queue.due_tenants(conn, now=now) if tenant not in self._places}

    async def _deal(self, conn: AsyncConnection, limit: int, now: datetime, *, contested: bool) -> list[Key]:
        """Take the next share of those whose turn it is; who had nothing is through, the others stand at the end of the line."""
        served = {tenant: self._places.pop(tenant) for tenant in list(self._places)[:limit]}
        share = max(1, limit // len(served))
        keys = await queue.due(conn, served, now=now, share=share, past=LEAP * share) if contested else []
        keys = keys or await queue.due(conn, served, now=now, share=share)
        self._places |= {key.tenant: key for key in keys}
        return keys
