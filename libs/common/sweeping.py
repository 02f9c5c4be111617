"""Drops data that grows without end once its retention time has passed, at a pace that leaves the database to others."""

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
"""How many times longer than a batch it rests after it: it works a tenth of the time."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is dropped after how long: `drop(conn, before, most)` deletes some of what is older, and tells whether there may be more."""

    kept: timedelta
    drop: Callable[[AsyncConnection, datetime, int], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Drops what is old enough once an hour, a few rows at a time."""

    engine: AsyncEngine
    clock: Clock
    schema: str
    sweeps: Sequence[Sweep]

    async def run(self, stop: asyncio.Event) -> None:
        """Sweep until stopped."""
        await repeat(partial(self.sweep, stop), stop, every_s=EVERY_S, worker=f"{self.schema}/sweeper")

    async def sweep(self, stop: asyncio.Event) -> None:
        """Drop everything that is old enough now, with rests in between; a stop ends it."""
        time = asyncio.get_running_loop().time
        for sweep in self.sweeps:
            more = True
            while more and not stop.is_set():
                began = time()
                async with self.engine.begin() as conn:
                    more = await sweep.drop(conn, await self.clock.at(conn) - sweep.kept, AT_ONCE)
                if more:
                    await pause(stop, RESTS * (time() - began))
