"""The watcher: queries for metrics run here, on one replica at a time, never during a scrape."""

from __future__ import annotations

import asyncio
import collections
from collections.abc import Awaitable, Callable, Sequence

from sqlalchemy import text

from libs.common.api import Readiness
from libs.common.bus.ports import BusWorker
from libs.common.db.leading import leads
from libs.common.metrics import Metrics
from libs.common.ports import Ports
from libs.common.repeating import repeat

INTERVAL_S = 15.0
REASONS = ("unreadable", "not_json", "malformed", "unknown_type", "too_large", "other")
"""Reasons for setting a record aside, as label values; any other counts as `other`."""


class Watcher:
    """Queries the tables every few seconds; a gauge at zero means nothing unless its last success is recent."""

    def __init__(
        self, ports: Ports, schema: str, looks: Sequence[Callable[[], Awaitable[None]]], metrics: Metrics, *, readiness: Readiness
    ) -> None:
        self._ports = ports
        self._schema = schema
        self._looks = looks
        self._readiness = readiness
        self._ready = metrics.gauge("ready", "Whether nothing is amiss with what /readyz asks, 1 or 0; of every replica", "check")
        self._succeeded = metrics.gauge("watcher_last_success_timestamp_seconds", "When the watcher last looked at everything")
        metrics.gauge("watcher_interval_seconds", "How often it looks").set(INTERVAL_S)

    async def run(self, stop: asyncio.Event) -> None:
        """Repeat until stopped."""
        await repeat(self.look, stop, every_s=INTERVAL_S, worker=f"{self._schema}/watcher")

    async def look(self) -> None:
        """Check readiness once, and query the tables unless another replica is doing so now."""
        missing = await self._readiness.missing()
        for check in (*self._readiness.checks, "lifecycle"):
            self._ready.labels(check).set(check not in missing)
        async with self._ports.engine.begin() as conn:
            if not await leads(conn, f"watcher-{self._schema}"):
                return
            for look in self._looks:
                await look()
        self._succeeded.set(self._ports.clock.now().timestamp())


def base_gauges(ports: Ports, schema: str, metrics: Metrics, workers: Sequence[BusWorker]) -> Callable[[], Awaitable[None]]:
    """Return the query for what every service has: its outbox and its consumers."""
    rows = metrics.gauge("outbox_rows", "Messages written and not yet published")
    oldest = metrics.gauge("outbox_oldest_timestamp_seconds", "Moment of the oldest of them, 0: none")
    lag = metrics.gauge("consumer_lag_records", "Records that stand behind this member's position", "topic", "partition")
    progress = metrics.gauge("consumer_progress_timestamp_seconds", "Last movement", "topic", "partition")
    assigned = metrics.gauge("consumer_assigned_partitions", "Partitions of this member", "topic")
    stopped = metrics.gauge("consumer_paused_partitions", "Topics that stand still after too many bad records", "topic")
    rebalances = metrics.counter("consumer_rebalances_total", "Rebalances this member has seen")
    seen = collections.Counter[int]()

    def from_memory() -> None:
        for place, worker in enumerate(workers):
            health = worker.health
            rebalances.inc(health.rebalances - seen[place])
            seen[place] = health.rebalances
            for topic, number in health.assigned.items():
                assigned.labels(topic).set(number)
                stopped.labels(topic).set(topic in health.stopped_topics)
            for (topic, partition), behind in health.lag.items():
                lag.labels(topic, str(partition)).set(behind)
            for (topic, partition), at in health.progress_at.items():
                progress.labels(topic, str(partition)).set(at.timestamp())

    async def look() -> None:
        async with ports.engine.connect() as conn:
            found = (await conn.execute(text(f"select coalesce(sum(messages), 0), min(created_at) from {schema}.outbox"))).one()
        rows.set(found[0])
        oldest.set(found[1].timestamp() if found[1] else 0)

    metrics.before_scrape(from_memory)
    metrics.before_scrape(_dead_letters(ports, metrics, workers))
    return look


def _dead_letters(ports: Ports, metrics: Metrics, workers: Sequence[BusWorker]) -> Callable[[], None]:
    """Return the update of the metrics of records set aside, and of how many more may be."""
    topics = [topic for worker in workers for topic in worker.subscription.topics]
    letters = metrics.counter("dead_letters_total", "Records that were set aside", topic=topics, reason=REASONS)
    left = metrics.gauge("dead_letter_budget_ratio", "Share of what may be set aside that is left, 0: the topic stands still", "topic")
    shown = collections.Counter[tuple[str, str]]()

    def from_memory() -> None:
        now = ports.clock.now()
        for worker in workers:
            budget, stopped = worker.subscription.budget, worker.health.stopped_topics
            for topic in worker.subscription.topics:
                left.labels(topic).set(0 if topic in stopped else budget.left(topic, now))
            for (topic, reason), number in budget.spent.items():
                letters.labels(topic, reason if reason in REASONS else "other").inc(number - shown[topic, reason])
            shown.update(budget.spent - shown)

    return from_memory
