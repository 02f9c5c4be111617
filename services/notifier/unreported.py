"""Asks providers about messages they accepted under a name and have not reported on: a few times, holding no lock."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from libs.common import logs
from libs.common.db.failures import is_transient
from services.notifier.domain.asking import UNREPORTED
from services.notifier.metrics import NotifierMetrics
from services.notifier.providers.port import Queryable
from services.notifier.receiving import Receiver
from services.notifier.store import unreported
from services.notifier.store.unreported import Unreported

AT_ONCE = 10
"""Questions per round: they share a connection with what is sent."""


@dataclass(frozen=True, slots=True)
class Querier:
    """Records what it learns like receipts."""

    receiver: Receiver
    metrics: NotifierMetrics

    async def look(self) -> int:
        """Ask one round of due questions; return how many messages were looked at."""
        async with self.receiver.engine.begin() as conn:
            now = await self.receiver.clock.at(conn)
            due, looked_at = await unreported.claim(conn, UNREPORTED, now=now, limit=AT_ONCE)
        await asyncio.gather(*(self._ask(one) for one in due))
        return looked_at

    async def _ask(self, one: Unreported) -> None:
        """Ask about one message; whatever goes wrong affects only this question."""
        try:
            provider = await self.receiver.directory.provider(one.tenant, one.provider)
            word = await provider.query(one.spelled) if isinstance(provider, Queryable) else None
            self.metrics.asked.labels(self.metrics.named(one.provider), "no_answer" if word is None else "found").inc()
            if word is not None:
                await self.receiver.keep_answer(one.tenant, one.provider, word)
        except Exception as error:
            if is_transient(error):
                raise
            logs.get("querier").warning("question_in_doubt", tenant=one.tenant, provider=one.provider, reason=type(error).__name__)
