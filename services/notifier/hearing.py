"""What providers say over a connection of their own: receipts and replies, each taken where those of callbacks are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from libs.common.errors import DomainError
from services.notifier.domain.receipts import Receipt
from services.notifier.domain.replies import Inbound
from services.notifier.providers.links import Heard, Written
from services.notifier.receiving import Receiver, words_of
from services.notifier.replying import Listener
from services.notifier.store import accounts


@dataclass(frozen=True, slots=True)
class Hearing:
    """Takes what is said; once it returns, all of it is kept for good."""

    receiver: Receiver
    listener: Listener

    def of(self, tenant: str, name: str) -> Heard:
        """Return what takes the words of one account."""

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
                raise DomainError(404, "not_found", "there is no such account any more")
            await self.listener.keep(row, [self._inbound(one, raw) for one in written], sealed=sealed)

    def _inbound(self, written: Written, raw: bytes) -> Inbound:
        """Return it under an id: such messages have none, so that one repeated on another day is another one."""
        now = self.listener.clock.now()
        known = hashlib.sha256(f"{now:%Y-%m-%d}".encode() + raw).hexdigest()
        return Inbound(known, "sms", written.address, written.said, at=now)
