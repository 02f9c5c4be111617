"""Metrics of webhooks."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Gauge

from libs.common.metrics import Metrics
from libs.common.webhooks.store import Tally


@dataclass(frozen=True, slots=True)
class WebhookMetrics:
    """The webhook metrics of one service."""

    calls: Counter
    expired: Counter
    failing: Gauge
    off: Gauge

    @classmethod
    def of(cls, metrics: Metrics) -> WebhookMetrics:
        """Register the metrics."""
        return cls(
            calls=metrics.counter("webhook_calls_total", "Calls of tenants' webhooks", result=("taken", "refused")),
            expired=metrics.counter("webhook_events_expired_total", "Events that a webhook had not taken when they were no longer kept"),
            failing=metrics.gauge("webhooks_failing", "Webhooks whose last call was not taken"),
            off=metrics.gauge("webhooks_switched_off", "Webhooks that were given up"),
        )

    def show(self, tally: Tally) -> None:
        """Show the counts from the database."""
        self.failing.set(tally.failing)
        self.off.set(tally.off)
