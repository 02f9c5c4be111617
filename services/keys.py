"""Keys of callers, and the keys that seal personal data: making, rotating, and resealing what was sealed before."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import auth, sealing
from libs.common.clock import WallClock
from libs.common.db import migrate
from libs.common.db.engine import make_engine
from libs.common.db.rewrapping import Done, left, rewrap
from libs.common.sealing import Ring
from services.ingest import service as ingest
from services.ingest.rewrapping import PLACES as INGEST
from services.notifier.store.sealed import PLACES as NOTIFIER


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is sealed for a key other than the newest, by table, and how much of it no available key opened."""

    by_table: dict[str, int]
    unreadable: int = 0

    @property
    def total(self) -> int:
        """Return the total."""
        return sum(self.by_table.values())


async def create(url: str, principal: auth.Principal) -> str:
    """Make a caller's key in every schema, and return it."""
    engine, token = make_engine(url, application="keys"), auth.new_token()
    try:
        async with engine.begin() as conn:
            for schema in migrate.SERVICES:
                await auth.add_key(conn, schema, token, principal)
    finally:
        await engine.dispose()
    return token


def fresh_settings() -> list[str]:
    """Return new sealing keys as settings."""
    private, public = sealing.new_pair()
    return _settings(
        [
            ("SEALING_PUBLIC_KEY", public),
            ("SEALING_PRIVATE_KEY", private),
            ("DIGEST_KEY", sealing.random_key()),
            ("LINK_KEY", sealing.random_key()),
        ]
    )


def rotated_settings(before: Sequence[bytes]) -> list[str]:
    """Return a new sealing key as settings, followed by the earlier ones; the key that addresses are found by stays."""
    private, public = sealing.new_pair()
    ring = ",".join(_text(key) for key in (private, *before))
    return [*_settings([("SEALING_PUBLIC_KEY", public)]), f"DUNWELL_SEALING_PRIVATE_KEY={ring}"]


async def rewrap_once(url: str, ring: Ring, *, partitions: int, batch: int | None) -> Remaining:
    """Reseal whatever is left (with no batch: nothing), and return what remains."""
    engine, unreadable = make_engine(url, application="rewrap"), 0
    try:
        if batch is not None:
            async for done in rewrap_all(engine, ring, partitions=partitions, batch=batch):
                unreadable += done.unreadable
        return Remaining(await remaining(engine, ring), unreadable)
    finally:
        await engine.dispose()


async def remaining(engine: AsyncEngine, ring: Ring) -> dict[str, int]:
    """Return how much is still sealed for an older key, by table."""
    async with engine.connect() as conn:
        return {place.table: await left(conn, place, ring) for place in (*INGEST, *NOTIFIER)}


async def rewrap_all(engine: AsyncEngine, ring: Ring, *, partitions: int, batch: int) -> AsyncIterator[Done]:
    """Reseal what is sealed for an older key: ingest's part first, since the notifier learns of keys from it."""
    for schema in ("ingest", "notifier"):
        if (missing := await migrate.pending(engine, schema)) is not None:
            raise RuntimeError(missing)
    async for done in ingest.rewrap(engine, WallClock(), ring, partitions=partitions, batch=batch).steps():
        yield done
    for place in NOTIFIER:
        async for done in rewrap(engine, place, ring, batch=batch):
            yield done


def _settings(keys: Sequence[tuple[str, bytes]]) -> list[str]:
    return [f"DUNWELL_{name}={_text(key)}" for name, key in keys]


def _text(key: bytes) -> str:
    return base64.b64encode(key).decode()
