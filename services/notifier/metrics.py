"""The notifier's metrics, as listed in docs/operations.md."""

from __future__ import annotations

from collections import Counter as Counted
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import inf
from typing import get_args

from prometheus_client import Counter, Gauge, Histogram

from libs.common.metrics import LATENESS_BUCKETS_S, Metrics
from libs.compliance import RuleKind
from services.notifier.domain.delivery import Change, Delivery
from services.notifier.domain.results import Accepted, Fault, NotSent, Refused, Result, Unknown
from services.notifier.domain.states import State
from services.notifier.store.watching import NO_PROVIDER, Watched

CHANNELS = ("sms", "email", "push", "inbox", "none")
RESULTS = ("accepted", "refused", "unknown", "not_sent")
FAULTS: tuple[str, ...] = get_args(Fault)
SEARCHES = ("found", "never_taken", "unclear", "no_answer")
OTHER_KINDS = ("pipeline", "switch", "waiting", "other")
"""What defers contacts besides the gate's rules."""
MOST_PROVIDERS = 100
"""Tenants choose the names of their accounts: this many names get series of their own, the rest are `other`."""
OTHER_PROVIDERS = "other"
SWITCHED = ("off", "shadow")
WATCHED_STATES = (State.PENDING, State.IN_FLIGHT, State.UNKNOWN)
"""States that are counted; counting the ended ones would read the whole table."""
_OTHER = {
    "pipeline_stale": "pipeline", "feed_stale": "pipeline", "switched_off": "switch", "provider_paused": "switch",
    "provider_down": "switch",
    "profile_unknown": "waiting",
    "facts_behind": "waiting", "in_doubt": "waiting", "payment_pending": "waiting",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NotifierMetrics:
    """The notifier's counters and gauges, created once."""

    providers: tuple[str, ...]
    deferred: Counter
    results: Counter
    asked: Counter
    aware_sends: Counter
    unaware_sends: Counter
    lateness: Histogram
    provider_seconds: Histogram
    provider_paused: Gauge
    breaker_open: Gauge
    permits_waiting: Gauge
    deliveries: Gauge
    unknown: Gauge
    unknown_oldest: Gauge
    feed_watermark: Gauge
    timers_due: Gauge
    timer_oldest: Gauge
    switched: Gauge
    holidays_end: Gauge
    _names: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, metrics: Metrics, providers: Sequence[str]) -> NotifierMetrics:
        """Register them."""
        kinds = (*(kind.value for kind in RuleKind), *OTHER_KINDS)
        past = metrics.counter("sends_past_payment_total", "Contacts marked in flight after the payment", kind=("unaware", "aware"))
        return cls(
            providers=tuple(providers),
            deferred=metrics.counter("contacts_deferred_total", "Contacts deferred, by cause", channel=CHANNELS, rule_kind=kinds),
            results=metrics.counter(
                "contact_results_total",
                "Results that providers returned",
                provider=providers,
                channel=CHANNELS[:-1],
                result=RESULTS,
                fault=FAULTS,
            ),
            asked=metrics.counter(
                "provider_searches_total", "Providers' answers when asked about a contact", provider=providers, answer=SEARCHES
            ),
            aware_sends=past.labels("aware"),
            unaware_sends=past.labels("unaware"),
            lateness=metrics.histogram("timer_lateness_seconds", "Delay between being due and being claimed", LATENESS_BUCKETS_S, "kind"),
            provider_seconds=metrics.histogram(
                "provider_request_duration_seconds",
                "Duration of a call to a provider",
                (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
                "provider",
            ),
            provider_paused=metrics.gauge("provider_paused", "Accounts of this name that are paused", "provider"),
            breaker_open=metrics.gauge("provider_breaker_open", "Accounts of this name whose breaker is not closed", "provider"),
            permits_waiting=metrics.gauge("provider_permits_waiting", "Messages this replica has deferred for lack of permits", "provider"),
            deliveries=metrics.gauge("deliveries", "Deliveries that have not ended", "state"),
            unknown=metrics.gauge("contacts_unknown", "Contacts that may or may not have gone out", "provider"),
            unknown_oldest=metrics.gauge("contacts_unknown_oldest_timestamp_seconds", "The oldest unknown contact; 0 if none", "provider"),
            feed_watermark=metrics.gauge("feed_watermark_timestamp_seconds", "Everything before this time is known", "topic", "partition"),
            timers_due=metrics.gauge("timers_due", "Timers that are due and not yet claimed", "kind"),
            timer_oldest=metrics.gauge("timer_oldest_due_timestamp_seconds", "The oldest due timer; 0 if none", "kind"),
            switched=metrics.gauge("switch_positions", "Positions of the switch that stop contacts", "contacts"),
            holidays_end=metrics.gauge("holidays_end_timestamp_seconds", "When the holiday calendar of a pack in use ends", "pack"),
        )

    def named(self, provider: str) -> str:
        """Return the label for a provider."""
        if provider in self._names or len(self._names) < MOST_PROVIDERS:
            self._names.add(provider)
            return provider
        return OTHER_PROVIDERS

    def on_waiting(self, waiting: Iterable[tuple[str, int]]) -> None:
        """Set how many messages this replica has deferred, by provider."""
        numbers = Counted[str]()
        for provider, number in waiting:
            numbers[self.named(provider)] += number
        for label, number in numbers.items():
            self.permits_waiting.labels(label).set(number)

    def on_claim(self, due: Sequence[Delivery], changes: Sequence[Change], now: datetime) -> None:
        """Count the outcome of a claim."""
        observe = self.lateness.labels("delivery").observe
        for delivery in due:
            if delivery.next_at is not None and delivery.state is State.PENDING:
                observe(max(0.0, (now - delivery.next_at).total_seconds()))
        for change in changes:
            if any(outcome.kind == "deferred" for outcome in change.outcomes):
                self._on_deferred(change.delivery)

    def _on_deferred(self, delivery: Delivery) -> None:
        if not delivery.decisions:
            self.deferred.labels("none", _OTHER.get(delivery.reason or "", "other")).inc()
        for decision in delivery.decisions:
            for kind in decision.kinds:
                self.deferred.labels(decision.channel, kind).inc()

    def on_result(self, provider: str, channel: str, result: Result) -> None:
        """Count a provider's result."""
        provider = self.named(provider)
        match result:
            case Accepted():
                self.results.labels(provider, channel, "accepted", "none").inc()
            case Refused(_, fault):
                self.results.labels(provider, channel, "refused", fault).inc()
            case Unknown():
                self.results.labels(provider, channel, "unknown", "provider").inc()
            case NotSent():
                self.results.labels(provider, channel, "not_sent", result.fault).inc()

    def on_watched(self, seen: Watched) -> None:
        """Set the gauges that the watcher has read."""
        for state in WATCHED_STATES:
            self.deliveries.labels(state.value).set(seen.states.get(state.value, 0))
        self._on_unknown(seen)
        self.timers_due.labels("delivery").set(seen.due)
        self.timer_oldest.labels("delivery").set(_seconds(seen.oldest_due))
        self._on_stopped(seen)
        for contacts in SWITCHED:
            self.switched.labels(contacts).set(seen.switched.get(contacts, 0))
        for (topic, partition), until in seen.watermarks.items():
            self.feed_watermark.labels(topic, str(partition)).set(_seconds(until))

    def _on_unknown(self, seen: Watched) -> None:
        numbers, oldest = Counted[str](), dict[str, float]()
        for provider, (number, since) in seen.unknown.items():
            label = self.named(provider)
            numbers[label] += number
            oldest[label] = min(_seconds(since), oldest.get(label, inf))
        for label in {*self.providers, NO_PROVIDER, OTHER_PROVIDERS, *self._names}:
            self.unknown.labels(label).set(numbers[label])
            self.unknown_oldest.labels(label).set(oldest.get(label, 0))

    def _on_stopped(self, seen: Watched) -> None:
        paused, broken = Counted[str](), Counted[str]()
        for name, numbers in seen.stopped.items():
            label = self.named(name)
            paused[label] += numbers[0]
            broken[label] += numbers[1]
        for label in paused:
            self.provider_paused.labels(label).set(paused[label])
            self.breaker_open.labels(label).set(broken[label])


def _seconds(moment: datetime | None) -> float:
    return moment.timestamp() if moment else 0.0
