"""One pass over what is due, in turns: each tenant gets as many as any other, however long its queue is."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.db.engine import by_keys
from services.notifier.store import queue
from services.notifier.store.queue import Key

LIST_AGAIN = timedelta(seconds=1)
"""How often other tenants are looked for while a long queue is worked off; each starts anew, finding rows locked or written late."""
LEAP = 8
"""Batches to skip when another sender holds those dealt: two senders at the same place would collide at every step."""


@dataclass(slots=True)
class TenantTurns:
    """The tenants still to be served, each with the place in its queue that has been reached."""

    engine: AsyncEngine
    clock: Clock
    _places: dict[str, Key | None] = field(default_factory=dict)
    _listed_at: datetime | None = None

    async def next(self, limit: int, *, contested: bool = False) -> list[Key]:
        """Return the keys to look at next; none when the pass is over. If others held all of the last batch (`contested`), skip ahead."""
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
        """Deal the next share to the tenants whose turn it is; those with nothing left are done, the others go to the end of the line."""
        served = {tenant: self._places.pop(tenant) for tenant in list(self._places)[:limit]}
        share = max(1, limit // len(served))
        keys = await queue.due(conn, served, now=now, share=share, past=LEAP * share) if contested else []
        keys = keys or await queue.due(conn, served, now=now, share=share)
        self._places |= {key.tenant: key for key in keys}
        return keys
