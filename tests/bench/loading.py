"""Posts bodies, so many at a time; the CPU of this side is not counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence

import aiohttp


async def post_all(url: str, bodies: Sequence[bytes], *, headers: Mapping[str, str], at_once: int, status: int = 202) -> None:
    """Post every body once; a status other than the expected one is an error."""
    waiting = deque(bodies)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=at_once), headers=headers) as session:

        async def work() -> None:
            while waiting:
                async with session.post(url, data=waiting.popleft()) as answer:
                    if answer.status != status:
                        raise RuntimeError(f"{answer.status}: {(await answer.text())[:300]}")
                    await answer.read()

        await asyncio.gather(*(work() for _ in range(at_once)))
