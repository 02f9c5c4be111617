"""The sandbox's mailbox: messages are sealed like all personal data, and opened to be shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import sealing
from libs.common.clock import Clock
from libs.common.sealing import Ring
from services.notifier.providers.sandbox import Kept
from services.notifier.store import borrowers, sandbox
from services.notifier.store.borrowers import Who
from services.notifier.store.sandbox import SandboxRow, Wanted


class _Text(msgspec.Struct, frozen=True):
    to: str
    subject: str | None
    body: str
    html: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class SandboxMessage:
    """A message as shown."""

    id: str
    task_id: str
    borrower_id: str
    channel: str
    to: str | None
    """None, as is the text, once the borrower is erased or when it may not be shown."""
    subject: str | None
    body: str | None
    accepted_at: datetime
    html: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Stores and shows what the sandbox was given."""

    engine: AsyncEngine
    clock: Clock
    ring: Ring
    digest_key: bytes

    async def keep(self, kept: Sequence[Kept]) -> None:
        """Store a batch."""
        async with self.engine.begin() as conn:
            erased = await borrowers.erased_of(conn, {(one.message.tenant, one.message.borrower_id) for one in kept})
            now = await self.clock.at(conn)
            await sandbox.put(conn, [self._row(one, now, erased) for one in kept])

    async def find(self, wanted: Wanted, *, to: str | None) -> list[SandboxMessage]:
        """Return messages, oldest first."""
        if to is not None:
            wanted = Wanted(wanted.tenant, wanted.borrower_id, self._lookup(wanted.tenant, to), wanted.since, wanted.after, wanted.limit)
        async with self.engine.connect() as conn:
            return [self._shown(row) for row in await sandbox.find(conn, wanted)]

    def _row(self, kept: Kept, now: datetime, erased: Collection[Who]) -> SandboxRow:
        """Return the row for a message; if the borrower has been erased meanwhile, it records only that one came."""
        one = kept.message
        if (one.tenant, one.borrower_id) in erased:
            return SandboxRow(kept.id, one.tenant, one.task_id, one.borrower_id, one.channel, None, None, now)
        plain = msgspec.json.encode(_Text(one.to, one.subject, one.body, one.html, one.link))
        sealed = self.ring.keep(plain, f"sandbox/{one.tenant}/{kept.id}")
        return SandboxRow(kept.id, one.tenant, one.task_id, one.borrower_id, one.channel, self._lookup(one.tenant, one.to), sealed, now)

    def _shown(self, row: SandboxRow) -> SandboxMessage:
        if row.sealed is None:
            return SandboxMessage(row.id, row.task_id, row.borrower_id, row.channel, None, None, None, row.accepted_at)
        plain = self.ring.unseal(row.sealed, f"sandbox/{row.tenant}/{row.id}")
        text = msgspec.json.decode(plain, type=_Text)
        return SandboxMessage(
            row.id, row.task_id, row.borrower_id, row.channel, text.to, text.subject, text.body, row.accepted_at, text.html, text.link,
        )  # fmt: skip

    def _lookup(self, tenant: str, to: str) -> bytes:
        return sealing.digest(self.digest_key, "sandbox", tenant, to)
