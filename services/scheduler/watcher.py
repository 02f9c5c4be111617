"""What the watcher counts on the scheduler's tables: coverage and timers."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from services.scheduler.metrics import REASONS, Meters
from services.scheduler.store import views, watch


@dataclass(frozen=True, slots=True)
class CaseWatch:
    """Sets the gauges of coverage and timers."""

    engine: AsyncEngine
    clock: Clock
    meters: Meters

    async def look(self) -> None:
        """Count once."""
        async with self.engine.connect() as conn:
            now = await self.clock.at(conn)
            uncontacted = await views.count_uncontacted(conn, now, tenant=None)
            reasons = await views.reasons(conn, tenant=None)
            due, oldest = await watch.timers_due(conn, now)
        self.meters.uncontacted.set(uncontacted)
        counted = dict.fromkeys(REASONS, 0)
        for reason, number in reasons.items():
            counted[reason if reason in counted else "other"] += number
        for reason, number in counted.items():
            self.meters.overdue.labels(reason).set(number)
        self.meters.due.labels("case").set(due)
        self.meters.oldest_due.labels("case").set(oldest.timestamp() if oldest else 0)
