"""Permits, taken before the claim in a short transaction of their own: sends need no extra round trip, and nothing marked has to wait."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock, stopwatch
from services.notifier.domain.breaker import given_back
from services.notifier.domain.health import Account, Admission, Health, admit
from services.notifier.domain.permits import USE_WITHIN
from services.notifier.domain.stock import Permit, Stock
from services.notifier.metrics import NotifierMetrics
from services.notifier.store import health
from services.notifier.store.queue import Key

LEAST_LEAD_S, MOST_LEAD_S = 0.25, 2.0
"""Bounds for how far ahead a lease's first permit lies: a longer lead does not lower the rate, a claim that outlasts it loses permits."""
SOON_S = 0.1
"""Pause before the next pass when something had to wait for a permit."""


@dataclass(slots=True)
class Till:
    """Leases permits for one sender, and tracks what it has deferred."""

    engine: AsyncEngine
    clock: Clock
    metrics: NotifierMetrics
    in_flight: Counter[Account] = field(default_factory=Counter)
    """How many messages each rate-limited account has been given and not yet answered."""
    _queues: dict[Account, datetime] = field(default_factory=dict)
    _intervals: dict[Account, timedelta] = field(default_factory=dict)
    _left: dict[Account, tuple[Permit, ...]] = field(default_factory=dict)
    """Permits the last claim found no message for: others held what was due, or it went to another provider."""
    _lead_s: float = LEAST_LEAD_S
    """How long recent claims took, plus half."""

    async def stock(self, keys: Sequence[Key]) -> Stock:
        """Return what the claim of these deliveries may give to each provider."""
        wanted = Counter(key.tenant for key in keys)
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            bounded = await health.bounded(conn, wanted.keys(), now=now)
            return await self._leased(conn, bounded, wanted) if bounded else Stock(now)

    async def settle(self, stock: Stock, *, took_s: float) -> None:
        """Learn from a claim: how long it took, what waits, which permits are left; an unused probe is given back."""
        self._lead_s = min(MOST_LEAD_S, max(LEAST_LEAD_S, 1.5 * took_s, 0.9 * self._lead_s))
        self._queues |= stock.queues
        self._left |= stock.left_over()
        self._intervals |= {account: one.interval for account, one in stock.admissions.items()}
        if unused := stock.unused_probes():
            async with self.engine.begin() as conn:
                known = await health.lock(conn, unused)
                now = await self.clock.at(conn)
                healths = {account: replace(one.health, breaker=given_back(one.health.breaker, now)) for account, one in known.items()}
                await health.save(conn, healths)

    def show(self) -> None:
        """Set how many messages wait for each provider, worked out from how far ahead their permits are promised."""
        now = self.clock.now()
        self.metrics.on_waiting(
            (name, max(0, (until - now) // self._intervals[tenant, name])) for (tenant, name), until in self._queues.items()
        )

    async def _leased(self, conn: AsyncConnection, bounded: Sequence[Account], wanted: Counter[str]) -> Stock:
        known = await health.lock(conn, bounded)
        before = stopwatch()
        now = await self.clock.at(conn)
        after = stopwatch()
        lead = timedelta(seconds=self._lead_s)
        admissions: dict[Account, Admission] = {}
        permits: dict[Account, tuple[Permit, ...]] = {}
        changed: dict[Account, Health] = {}
        for account, one in known.items():
            left = tuple(permit for permit in self._left.pop(account, ()) if permit.until > after + self._lead_s)
            room = max(0, min(wanted[account[0]], one.at_once - self.in_flight[account]) - len(left))
            taken, had = admit(one.health, one.per_second, now=now, wanted=room, lead=lead)
            if had.moments is not None:
                new = tuple(_permit((moment - now).total_seconds(), before, after) for moment in had.moments)
                permits[account] = new if had.probe else (*left, *new)
                had = replace(had, most=len(permits[account]))
            admissions[account] = had
            if taken != one.health:
                changed[account] = taken
        await health.save(conn, changed)
        queues = {account: until for account, until in self._queues.items() if account in admissions and until > now}
        return Stock(now, admissions, permits, queues, lead)


def _permit(ahead_s: float, before: float, after: float) -> Permit:
    """Return a permit by this process's stopwatch; the database read its clock between `before` and `after`, so no bound is too wide."""
    return Permit(after + ahead_s, before + ahead_s + USE_WITHIN.total_seconds())
