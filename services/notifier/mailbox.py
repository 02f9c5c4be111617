"""The sandbox's mailbox: what it was given is sealed like everything that names a person, and opened to be shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import sealing
from libs.common.clock import Clock
from libs.common.sealing import Ring
from services.notifier.providers.sandbox import Kept
from services.notifier.store import sandbox
from services.notifier.store.sandbox import SandboxRow, Wanted


class _Text(msgspec.Struct, frozen=True):
    to: str
    subject: str | None
    body: str
    html: str | None = None


@dataclass(frozen=True, slots=True)
class SandboxMessage:
    """A message as it is shown."""

    id: str
    task_id: str
    borrower_id: str
    channel: str
    to: str
    subject: str | None
    body: str
    accepted_at: datetime
    html: str | None = None


@dataclass(frozen=True, slots=True)
class Mailbox:
    """Keeps and shows what the sandbox was given."""

    engine: AsyncEngine
    clock: Clock
    ring: Ring
    digest_key: bytes

    async def keep(self, kept: Sequence[Kept]) -> None:
        """Keep a batch."""
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            await sandbox.put(conn, [self._row(one, now) for one in kept])

    async def find(self, wanted: Wanted, *, to: str | None) -> list[SandboxMessage]:
        """Return messages, oldest first."""
        if to is not None:
            wanted = Wanted(wanted.tenant, wanted.borrower_id, self._lookup(wanted.tenant, to), wanted.since, wanted.after, wanted.limit)
        async with self.engine.connect() as conn:
            return [self._shown(row) for row in await sandbox.find(conn, wanted)]

    def _row(self, kept: Kept, now: datetime) -> SandboxRow:
        one = kept.message
        plain = msgspec.json.encode(_Text(one.to, one.subject, one.body, one.html))
        sealed = self.ring.seal(plain, f"sandbox/{one.tenant}/{kept.id}")
        return SandboxRow(kept.id, one.tenant, one.task_id, one.borrower_id, one.channel, self._lookup(one.tenant, one.to), sealed, now)

    def _shown(self, row: SandboxRow) -> SandboxMessage:
        plain = self.ring.unseal(row.sealed, f"sandbox/{row.tenant}/{row.id}")
        text = msgspec.json.decode(plain, type=_Text)
        return SandboxMessage(
            row.id, row.task_id, row.borrower_id, row.channel, text.to, text.subject, text.body, row.accepted_at, text.html
        )  # fmt: skip

    def _lookup(self, tenant: str, to: str) -> bytes:
        return sealing.digest(self.digest_key, "sandbox", tenant, to)
