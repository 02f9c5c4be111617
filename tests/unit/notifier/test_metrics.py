"""Names chosen by tenants cannot create endless series, and everything watched is exported."""

from __future__ import annotations

from datetime import UTC, datetime

from libs.common.metrics import Metrics
from services.notifier.metrics import MOST_PROVIDERS, NotifierMetrics
from services.notifier.store.watching import Watched

OLDEST = datetime(2026, 11, 24, tzinfo=UTC)


def watched(**seen: object) -> Watched:
    nothing: dict[str, object] = {
        "states": {}, "unknown": {}, "due": 0, "oldest_due": None, "watermarks": {}, "stopped": {}, "switched": {},
    }  # fmt: skip
    return Watched(**{**nothing, **seen})  # type: ignore[arg-type]  # each as it is needed


def of(metrics: Metrics, name: str, provider: str) -> float | None:
    return metrics.registry.get_sample_value(f"dunwell_{name}", {"provider": provider})


def test_unknown_contacts_of_an_account_are_shown_and_gone_when_there_are_none_left() -> None:
    metrics = Metrics()
    own = NotifierMetrics.of(metrics, ("sandbox",))
    own.on_watched(watched(unknown={"main": (3, OLDEST)}))
    assert (of(metrics, "contacts_unknown", "main"), of(metrics, "contacts_unknown", "sandbox")) == (3, 0)
    assert of(metrics, "contacts_unknown_oldest_timestamp_seconds", "main") == OLDEST.timestamp()
    own.on_watched(watched())
    assert (of(metrics, "contacts_unknown", "main"), of(metrics, "contacts_unknown_oldest_timestamp_seconds", "main")) == (0, 0)


def test_names_beyond_the_bound_share_one_series_in_which_they_are_summed_up() -> None:
    metrics = Metrics()
    own = NotifierMetrics.of(metrics, ("sandbox",))
    names = [f"account-{number}" for number in range(MOST_PROVIDERS + 50)]
    own.on_watched(watched(stopped=dict.fromkeys(names, (1, 2)), unknown=dict.fromkeys(names, (1, OLDEST))))
    own.on_waiting((name, 7) for name in names)
    assert (of(metrics, "provider_paused", "account-0"), of(metrics, "provider_paused", "other")) == (1, 50)
    assert (of(metrics, "provider_breaker_open", "other"), of(metrics, "contacts_unknown", "other")) == (100, 50)
    assert of(metrics, "provider_permits_waiting", "other") == 350
    assert of(metrics, "provider_paused", names[-1]) is None


def test_positions_of_the_switch_that_stop_contacts_are_shown() -> None:
    metrics = Metrics()
    NotifierMetrics.of(metrics, ()).on_watched(watched(switched={"shadow": 2, "on": 5}))
    shown = {
        contacts: metrics.registry.get_sample_value("dunwell_switch_positions", {"contacts": contacts}) for contacts in ("off", "shadow")
    }
    assert shown == {"off": 0, "shadow": 2}
