"""Broker clients kept between calls: made when first needed, and made again after they were closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

C = TypeVar("C")


@dataclass(slots=True)
class Kept(Generic[C]):
    """One client shared by all callers."""

    begin: Callable[[], Awaitable[C]]
    end: Callable[[C], Awaitable[object]]
    _live: C | None = None
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def live(self) -> C:
        """Return the client, starting it if necessary."""
        async with self._making:
            if self._live is None:
                self._live = await self.begin()
            return self._live

    async def let_go(self) -> None:
        """Close the client; the next call starts another."""
        client, self._live = self._live, None
        if client is not None:
            await self.end(client)


async def begun(start: Callable[[], Awaitable[object]], stop: Callable[[], Awaitable[object]]) -> None:
    """Start a client; stop it again if it fails to start."""
    try:
        await start()
    except BaseException:
        with contextlib.suppress(Exception):
            await stop()
        raise
