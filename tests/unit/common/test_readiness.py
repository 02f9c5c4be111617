"""Readiness says what is amiss within a bound, whatever hangs."""

from __future__ import annotations

import asyncio

from libs.common.api import Readiness


async def well() -> str | None:
    return None


async def away() -> str | None:
    return "nobody there"


async def hangs() -> str | None:
    return await asyncio.Event().wait() and None


async def test_a_check_that_hangs_is_amiss_and_does_not_hide_the_others() -> None:
    readiness = Readiness({"one": hangs, "bus": away, "two": hangs, "database": well}, within_s=0.05)
    async with asyncio.timeout(5):
        assert await readiness.missing() == {"one": "no answer within 0.05 s", "bus": "nobody there", "two": "no answer within 0.05 s"}
