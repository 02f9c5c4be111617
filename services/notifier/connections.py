"""Connections on which providers report without being asked: kept open and listened to even while nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.clock import pause
from libs.common.errors import DomainError
from services.notifier.directory import Directory
from services.notifier.domain.receipts import Receipt
from services.notifier.domain.replies import Inbound
from services.notifier.providers.kinds import LINKS
from services.notifier.providers.links import Heard, Written
from services.notifier.receiving import Receiver, words_of
from services.notifier.replying import Listener
from services.notifier.store import accounts

LOOK_EVERY_S = 10.0


@dataclass(frozen=True, slots=True)
class Connector:
    """Connects the accounts of every kind that listens."""

    engine: AsyncEngine
    directory: Directory

    async def run(self, stop: asyncio.Event) -> None:
        """Check repeatedly until stopped: a lost connection is made again."""
        while not stop.is_set():
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  # the database is down, or an account cannot be opened: the next round retries
                logs.get("listener").warning("look_failed", reason=type(error).__name__)
            await pause(stop, LOOK_EVERY_S)

    async def look(self) -> None:
        """Connect whatever is not connected."""
        async with self.engine.connect() as conn:
            listening = await accounts.of_kinds(conn, [link.kind for link in LINKS.values() if link.listens])
        for tenant, name in listening:
            provider = await self.directory.linked(tenant, name)
            if provider is not None:
                await provider.listen()


@dataclass(frozen=True, slots=True)
class Hearing:
    """Handles what arrives on connections like the receipts and replies of callbacks; when it returns, all of it is durable."""

    receiver: Receiver
    listener: Listener

    def of(self, tenant: str, name: str) -> Heard:
        """Return the handler for one account."""

        async def take(words: Sequence[Receipt | Written], raw: bytes) -> None:
            await self._take(tenant, name, words, raw)

        return take

    async def _take(self, tenant: str, name: str, words: Sequence[Receipt | Written], raw: bytes) -> None:
        receipts = [word for word in words if isinstance(word, Receipt)]
        written = [word for word in words if isinstance(word, Written)]
        sealed = self.receiver.directory.sealed_words(tenant, name, raw)
        if not words:
            await self.receiver.keep_unread(tenant, name, sealed=sealed)
        if receipts:
            await self.receiver.keep(tenant, name, words_of(receipts), sealed=sealed, signed=True)
        if written:
            async with self.receiver.engine.connect() as conn:
                row = await accounts.find(conn, tenant, name)
            if row is None:
                raise DomainError(404, "not_found", "this account no longer exists")
            await self.listener.keep(row, [self._inbound(one) for one in written], sealed=sealed)

    def _inbound(self, written: Written) -> Inbound:
        return Inbound(written.under, "sms", written.address, written.said, at=self.listener.clock.now())
