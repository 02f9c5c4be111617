"""The scheduler's own metrics (docs/operations.md has the catalogue)."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import Counter, Gauge, Histogram

from libs.common.contracts.contact_outcomes import CONTACT_OUTCOMES
from libs.common.metrics import LATENESS_BUCKETS_S, Metrics

REASONS = (
    "scheduled", "settling", "task_open", "ladder_ended", "in_doubt", "pending_payment", "paused", "clear", "nothing_owed",
    "no_outcome", "no_case", "no_profile", "contact_unknown", "deceased", "insolvent", "represented", "hardship", "moratorium", "cease",
    "dispute", "complaint", "promise", "manual", "vulnerable", "fraud_victim", "bereavement", "awaits_approval", "awaits_evidence",
    "handed_over", "offer_accepted", "other",
)  # fmt: skip
"""The closed set of label values; any other reason counts as `other`."""


@dataclass(frozen=True, slots=True)
class Meters:
    """The counters of the workers and the gauges of the watcher."""

    requested: Counter
    cancelled: Counter
    parked: Counter
    outcomes: Counter
    breached: Counter
    lateness: Histogram
    uncontacted: Gauge
    overdue: Gauge
    due: Gauge
    oldest_due: Gauge


def meters(metrics: Metrics) -> Meters:
    """Register the metrics."""
    return Meters(
        requested=metrics.counter("contacts_requested_total", "Contacts asked for", purpose=("reminder", "dunning", "notice")),
        cancelled=metrics.counter("contacts_cancelled_total", "Contacts taken back before they went out"),
        parked=metrics.counter("cases_parked_total", "Cases that the rules could not digest"),
        outcomes=metrics.counter(
            "contact_outcomes_total", "Outcomes taken in", type=[name.removesuffix(".v1") for name in CONTACT_OUTCOMES]
        ),
        breached=metrics.counter("tasks_breached_total", "Tasks of people that were not done in time"),
        lateness=metrics.histogram("timer_lateness_seconds", "How late a due case was claimed", LATENESS_BUCKETS_S, "kind"),
        uncontacted=metrics.gauge("coverage_uncontacted_cases", "Overdue cases with neither a next contact nor a reason that ends"),
        overdue=metrics.gauge("coverage_overdue_borrowers", "Overdue cases by the reason of their last plan", "reason"),
        due=metrics.gauge("timers_due", "Timers whose moment has passed", "kind"),
        oldest_due=metrics.gauge("timer_oldest_due_timestamp_seconds", "The oldest of them; 0 for none", "kind"),
    )
