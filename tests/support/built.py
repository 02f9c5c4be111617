"""The three services as wired, on a database that is never queried: to look at how they describe themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx

from libs.common import sealing
from libs.common.clock import DrivenClock
from libs.common.db.engine import make_engine
from services.embedded import Platform, Secrets, build


@asynccontextmanager
async def built_platform() -> AsyncIterator[tuple[Platform, httpx.AsyncClient]]:
    """The platform, wired but not started, and a client without a key."""
    engine = make_engine("postgresql://nobody@127.0.0.1:1/nothing", application="test")
    private, public = sealing.new_pair()
    platform = build(engine, Secrets(private, public, b"d" * 32), DrivenClock(datetime(2026, 11, 20, 12, tzinfo=UTC)))
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(platform.app), base_url="http://test") as client:
            yield platform, client
    finally:
        await engine.dispose()
