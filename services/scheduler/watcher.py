"""The watcher's work on the scheduler's tables: it counts coverage and timers, and announces forgotten cases."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from services.scheduler.acting import Desk
from services.scheduler.metrics import REASONS, Meters
from services.scheduler.outgoing import Outgoing
from services.scheduler.store import cases, views, watch

WHOLE_EVERY = timedelta(hours=1)
"""How often all debts are read; in between, only what has changed, or is overdue."""

FORGOTTEN = "case.uncontacted"
MOST_TOLD = 500
"""At most this many per round; the others follow in the next ones."""


@dataclass(slots=True)
class CaseWatch:
    """Sets the gauges of coverage and timers."""

    engine: AsyncEngine
    clock: Clock
    meters: Meters
    _whole_at: datetime | None = None
    _old: int = 0
    """Forgotten debts that only the full count has found."""

    async def look(self) -> None:
        """Count once."""
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            uncontacted = await views.count_uncontacted(conn, views.Scope(None, now))
            if self._whole_at is None or now >= self._whole_at + WHOLE_EVERY:
                await views.recount(conn)
                self._whole_at, self._old = now, await views.count_uncontacted(conn, views.Scope(None, now, whole=True)) - uncontacted
            await views.fold_counts(conn)
            reasons = await views.reasons(conn, tenant=None)
            due, oldest = await watch.timers_due(conn, now)
        self.meters.uncontacted.set(uncontacted + self._old)
        counted = dict.fromkeys(REASONS, 0)
        for reason, number in reasons.items():
            counted[reason if reason in counted else "other"] += number
        for reason, number in counted.items():
            self.meters.overdue.labels(reason).set(number)
        self.meters.due.labels("case").set(due)
        self.meters.oldest_due.labels("case").set(oldest.timestamp() if oldest else 0)


@dataclass(frozen=True, slots=True)
class Alarm:
    """Announces each forgotten case, once per spell."""

    engine: AsyncEngine
    clock: Clock
    desk: Desk

    async def look(self) -> None:
        """Announce those not announced yet."""
        async with self.engine.begin() as conn:
            scope = views.Scope(None, await self.clock.at(conn))
            found = await views.untold(conn, scope, kind=FORGOTTEN, limit=MOST_TOLD)
            if not found:
                return
            held, out = await cases.lock_rows(conn, found), Outgoing()
            still = await views.untold(conn, scope, kind=FORGOTTEN, limit=MOST_TOLD)  # others may have handled some before they were locked
            for one in held:
                if one.key in still:
                    self.desk.event(one.case, FORGOTTEN, one.moment(scope.now), out, reason=still[one.key])
            await self.desk.save(conn, [], out)
        self.desk.outbox.wake.set()
