"""The relay's side of the feed: it keeps what it has published, by tenant and topic."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bundles import bundled
from libs.common.bus.ports import Message
from libs.common.feed import store
from libs.common.feed.store import Bundle

BUNDLE_MESSAGES = 500
BUNDLE_BYTES = 256 * 1024
"""A reader decodes a whole bundle, even for one message."""
NOT_KEPT = frozenset({b"debt.watermark.v1"})
"""Sent to every partition every second: it vouches for the partitions of the bus, and a feed has none."""


@dataclass(slots=True)
class Bell:
    """Wakes everyone waiting for the next ring."""

    next: asyncio.Event = field(default_factory=asyncio.Event)

    def ring(self) -> None:
        """Wake them."""
        self.next.set()
        self.next = asyncio.Event()


@dataclass(frozen=True, slots=True)
class Feed:
    """The feed of one service: its schema and the topics that it produces."""

    schema: str
    topics: frozenset[str]
    bell: Bell = field(default_factory=Bell)

    async def keep(self, conn: AsyncConnection, messages: Sequence[Message]) -> bool:
        """Keep what was published, in the transaction that removes it from the outbox; False where none of it belongs in a feed."""
        streams: dict[tuple[str, str], list[Message]] = {}
        for message in messages:
            headers = dict(message.headers)
            if message.topic in self.topics and headers["ce_type"] not in NOT_KEPT:
                streams.setdefault((headers["ce_tenant"].decode(), message.topic), []).append(message)
        if streams:
            bundles = [
                Bundle(*named, part)
                for named, said in streams.items()
                for part in bundled(said, most=BUNDLE_MESSAGES, most_bytes=BUNDLE_BYTES)
            ]
            await store.keep(conn, self.schema, bundles)
        return bool(streams)
