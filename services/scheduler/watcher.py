"""Counts what must be counted on tables, away from the scrape; one replica does it at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.bus.ports import Health
from libs.common.clock import Clock
from libs.common.repeating import repeat
from services.scheduler.metrics import REASONS, Meters
from services.scheduler.store import views, watch

WATCH_EVERY_S = 15.0


@dataclass(frozen=True, slots=True)
class Watcher:
    """Sets the gauges of coverage, timers and outbox."""

    engine: AsyncEngine
    clock: Clock
    meters: Meters

    async def run(self, stop: asyncio.Event) -> None:
        """Look again and again until the stop."""
        self.meters.watch_interval.set(WATCH_EVERY_S)
        await repeat(self.look, stop, every_s=WATCH_EVERY_S, worker="scheduler/watcher")

    async def look(self) -> None:
        """Count once, unless another replica does."""
        async with self.engine.begin() as conn:
            if not await watch.leads(conn):
                return
            now = await self.clock.at(conn)
            uncontacted = await views.count_uncontacted(conn, now, tenant=None)
            reasons = await views.reasons(conn, tenant=None)
            due, outbox = await watch.timers_due(conn, now), await watch.outbox(conn)
        self.meters.uncontacted.set(uncontacted)
        counted = dict.fromkeys(REASONS, 0)
        for reason, number in reasons.items():
            counted[reason if reason in counted else "other"] += number
        for reason, number in counted.items():
            self.meters.overdue.labels(reason).set(number)
        self.meters.due.labels("case").set(due[0])
        self.meters.oldest_due.labels("case").set(_stamp(due[1]))
        self.meters.outbox_rows.set(outbox[0])
        self.meters.outbox_oldest.set(_stamp(outbox[1]))
        self.meters.watched_at.set(now.timestamp())


def show_health(meters: Meters, health: Health) -> None:
    """Set what the consumer knows of itself; called before a scrape."""
    for (topic, partition), lag in health.lag.items():
        meters.lag.labels(topic, str(partition)).set(lag)
    for (topic, partition), at in health.progress_at.items():
        meters.progress.labels(topic, str(partition)).set(at.timestamp())
    for topic, number in health.assigned.items():
        meters.assigned.labels(topic).set(number)


def _stamp(moment: datetime | None) -> float:
    return 0 if moment is None else moment.timestamp()
