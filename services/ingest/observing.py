"""The metrics of ingest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Counter, Gauge, Histogram

from libs.common.bus.ports import Headers
from libs.common.metrics import FACT_BUCKETS_S, LATENCY_BUCKETS_S, LATENESS_BUCKETS_S, Metrics
from services.ingest.ledger import Counted

OUTCOMES = ("accepted", "repeat", "rejected", "unavailable")
TRANSPORTS = ("http", "kafka")
OVER_HTTP: Headers = (("dunwell_entered", b"http"),)
"""The last header of an event received over HTTP: it was counted then, and is not counted again when read from the topic."""


@dataclass(frozen=True, slots=True)
class IngestMetrics:
    """Metrics bound once and updated per batch."""

    events: Counter
    durable: Histogram
    to_ledger: Histogram
    timers_due: Gauge
    timer_oldest: Gauge
    lateness: Histogram
    parked: Gauge
    parked_oldest: Gauge
    watermark: Gauge

    def took_in(self, counted: Counted, *, came: int, oldest: datetime, now: datetime) -> None:
        """Count what a wallet published on the bus itself; the batch's oldest record shows how far behind the ledger is."""
        self.events.labels("kafka", "accepted").inc(counted.accepted)
        self.events.labels("kafka", "repeat").inc(counted.repeats)
        self.events.labels("kafka", "rejected").inc(came - counted.accepted - counted.repeats)
        self.to_ledger.observe(max(0.0, (now - oldest).total_seconds()))


def make(metrics: Metrics) -> IngestMetrics:
    """Create them in a registry."""
    return IngestMetrics(
        events=metrics.counter("intake_events_total", "Events received", transport=TRANSPORTS, outcome=OUTCOMES),
        durable=metrics.histogram("intake_durable_seconds", "First byte to durable 202", LATENCY_BUCKETS_S),
        to_ledger=metrics.histogram("event_to_fact_seconds", "Event on the topic to its stage", FACT_BUCKETS_S, "stage").labels("ledger"),
        timers_due=metrics.gauge("timers_due", "Timers that are due", "kind").labels("loan"),
        timer_oldest=metrics.gauge("timer_oldest_due_timestamp_seconds", "When the oldest due timer was due, 0 for none", "kind").labels(
            "loan"
        ),
        lateness=metrics.histogram("timer_lateness_seconds", "How late a timer was handled", LATENESS_BUCKETS_S, "kind").labels("loan"),
        parked=metrics.gauge("parked_events", "Events waiting for a person", "reason"),
        parked_oldest=metrics.gauge("parked_oldest_timestamp_seconds", "When the oldest of them was parked", "reason"),
        watermark=metrics.gauge("feed_watermark_timestamp_seconds", "Everything on the input topics at this time is committed"),
    )
