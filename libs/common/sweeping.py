"""What is kept for a time and grows without end is dropped when that has passed, at a pace that leaves the database to others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock, pause
from libs.common.repeating import repeat

EVERY_S = 3600.0
AT_ONCE = 500
RESTS = 9
"""How much longer it rests after a batch than that took: a tenth of the time it works."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What goes after how long: `drop(conn, before, most)` takes some of what is older, and says whether there may be more."""

    kept: timedelta
    drop: Callable[[AsyncConnection, datetime, int], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Drops what is old enough, a few at a time, once an hour."""

    engine: AsyncEngine
    clock: Clock
    schema: str
    sweeps: Sequence[Sweep]

    async def run(self, stop: asyncio.Event) -> None:
        """Do so until the stop."""
        await repeat(partial(self.sweep, stop), stop, every_s=EVERY_S, worker=f"{self.schema}/sweeper")

    async def sweep(self, stop: asyncio.Event) -> None:
        """Drop all that is old enough now, with rests in between; a stop ends it."""
        time = asyncio.get_running_loop().time
        for sweep in self.sweeps:
            more = True
            while more and not stop.is_set():
                began = time()
                async with self.engine.begin() as conn:
                    more = await sweep.drop(conn, await self.clock.at(conn) - sweep.kept, AT_ONCE)
                if more:
                    await pause(stop, RESTS * (time() - began))
