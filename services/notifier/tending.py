"""Provider health, shared by all replicas: faults open a breaker, `too fast` starts a rest, a misconfigured account is paused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import logs
from libs.common.clock import Clock
from libs.common.db.failures import is_transient
from services.notifier.domain.breaker import Phase
from services.notifier.domain.health import Account, Health, Tally, answered
from services.notifier.domain.results import Result
from services.notifier.store import accounts, health
from services.notifier.store.health import Event


@dataclass(frozen=True, slots=True)
class Ward:
    """Keeps the health of providers in transactions of its own: no result waits for it, and none is lost with it."""

    engine: AsyncEngine
    clock: Clock

    async def hear(self, account: Account, version: int | None, results: Sequence[Result]) -> None:
        """Take in the answers to one batch, given by this version of an account; does nothing for a built-in provider."""
        if version is None:
            return
        tally = Tally.of(results)
        try:
            async with self.engine.begin() as conn:
                if await self._is_news(conn, account, tally):
                    await self._hear(conn, account, version, tally)
        except Exception as error:
            if not is_transient(error):
                raise
            logs.get("ward").warning("health_not_kept", tenant=account[0], provider=account[1], reason=type(error).__name__)

    async def _is_news(self, conn: AsyncConnection, account: Account, tally: Tally) -> bool:
        """Check without a lock, which would be a write: when a healthy provider accepts messages there is nothing to record."""
        before = await health.find(conn, account)
        return before is not None and (tally.config is not None or answered(before, tally, await self.clock.at(conn)) != before)

    async def _hear(self, conn: AsyncConnection, account: Account, version: int, tally: Tally) -> None:
        known = (await health.lock(conn, [account])).get(account)
        if known is None:
            return
        now = await self.clock.at(conn)
        after = answered(known.health, tally, now)
        if after != known.health:
            await health.save(conn, {account: after})
            await health.note(conn, account, _changes(known.health, after, now))
        if tally.config is not None and not tally.accepted:
            await self._stop(conn, account, version, tally.config, now)

    async def _stop(self, conn: AsyncConnection, account: Account, version: int, code: str, now: datetime) -> None:
        """Pause an account that refuses whatever it is given: its messages wait for another provider or for a person."""
        reason = f"config: {code}"
        if await accounts.pause(conn, *account, reason=reason, by=accounts.BY_ITSELF, version=version):
            logs.get("ward").error("provider_paused", tenant=account[0], provider=account[1], reason=reason)
            await health.note(conn, account, [Event(now, "paused", detail={"reason": reason})])


def _changes(before: Health, after: Health, now: datetime) -> list[Event]:
    """Return the changes that belong in the history: steps of the breaker, and the start of a rest."""
    events = []
    if before.breaker.phase is not after.breaker.phase:
        opened, until = after.breaker.phase is Phase.OPEN, after.breaker.until
        detail = {"until": until.isoformat() if until else None, "faults": after.breaker.faults} if opened else {}
        events.append(Event(now, "breaker_opened" if opened else "breaker_closed", detail=detail))
    if after.slowed_until != before.slowed_until and not before.slowings:
        events.append(Event(now, "slowed", detail={"until": after.slowed_until.isoformat() if after.slowed_until else None}))
    return events
