"""Providers as their operators see them: their state now, and their history."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from services.notifier.domain.breaker import Phase
from services.notifier.domain.health import Health
from services.notifier.domain.permits import interval_of
from services.notifier.store.accounts import RouteSet
from services.notifier.store.health import Event


def health_of(health: Health, per_second: int | None, now: datetime) -> dict[str, Any]:
    """Return the state of an account: its breaker, its permits, the rest it asked for, its last faults."""
    breaker = health.breaker
    ahead = (health.free_at - now if health.free_at else None) if per_second else None
    return {
        "breaker": {
            "state": breaker.phase, "since": breaker.since if breaker.phase is not Phase.CLOSED else None, "until": breaker.until,
            "calls": breaker.calls, "faults": breaker.faults, "opened": breaker.trips,
        },
        "rate": {"per_second": per_second, "permits_in_use": max(0, ahead // interval_of(per_second)) if ahead and per_second else 0},
        "slowed_until": health.slowed_until if health.slow(now) else None,
        "last_faults": health.last_faults,
    }  # fmt: skip


def history_of(name: str, events: Sequence[Event], routes: Sequence[RouteSet]) -> list[dict[str, Any]]:
    """Return the history of an account and of its share of messages, newest first; `routes` must come newest first."""
    shown = [{"at": one.at, "kind": one.kind, "by": one.by, **one.detail} for one in events] + _shares(name, routes)
    return sorted(shown, key=lambda one: one["at"], reverse=True)


def _shares(name: str, routes: Sequence[RouteSet]) -> list[dict[str, Any]]:
    """Yield each version of the routes in which a provider's weights differ from those in the version before."""
    found, before = [], list[dict[str, Any]]()
    for one in reversed(routes):
        weights = [{"channel": r.channel, "country": r.country, "weight": r.weight} for r in one.routes if r.provider == name]
        if weights != before:
            found.append({"at": one.at, "kind": "weights", "by": one.by, "version": one.version, "weights": weights})
        before = weights
    return found
