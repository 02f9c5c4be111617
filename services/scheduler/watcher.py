"""What the watcher counts on the scheduler's tables: coverage and timers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from services.scheduler.metrics import REASONS, Meters
from services.scheduler.store import views, watch

WHOLE_EVERY = timedelta(hours=1)
"""How often the whole book is read; in between only what has changed, or has not come to pass."""


@dataclass(slots=True)
class CaseWatch:
    """Sets the gauges of coverage and timers."""

    engine: AsyncEngine
    clock: Clock
    meters: Meters
    _whole_at: datetime | None = None
    _old: int = 0
    """Forgotten debts that only the look at the whole book has found."""

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
