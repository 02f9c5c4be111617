"""A provider's health: what it may be given now, and how its answers change that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.notifier.domain.breaker import Breaker, Phase, heard, probing
from services.notifier.domain.permits import interval_of, lease
from services.notifier.domain.results import OURS, Accepted, NotSent, Refused, Result, Unknown

SLOW_FOR = timedelta(seconds=1)
"""How long a provider rests after `too fast` without a stated time; doubled each time in a row."""
LONGEST_SLOW = timedelta(minutes=1)
LAST_FAULTS = 10
AGAIN = timedelta(milliseconds=5)
"""Spacing of retries for messages that wait for a provider without a rate."""

Account = tuple[str, str]
"""Tenant and name of a provider."""


@dataclass(frozen=True, slots=True)
class LastFault:
    """A fault of a provider as shown: how often a code came in one batch."""

    at: datetime
    fault: str
    code: str
    number: int


@dataclass(frozen=True, slots=True)
class Health:
    """What all replicas know about a provider."""

    free_at: datetime | None = None
    """When permits are next available."""
    slowed_until: datetime | None = None
    slowings: int = 0
    """How many times in a row it said `too fast`."""
    breaker: Breaker = field(default_factory=Breaker)
    last_faults: tuple[LastFault, ...] = ()

    def slow(self, now: datetime) -> bool:
        """Return whether it is still in a rest it asked for."""
        return self.slowed_until is not None and now < self.slowed_until


@dataclass(frozen=True, slots=True)
class Admission:
    """What one claim may give to a provider: one message per permit if it has a rate, else at most `most`; None is any number."""

    most: int | None = None
    moments: tuple[datetime, ...] | None = None
    shut: bool = False
    """Out of the draw: its breaker is open, or a single message is probing it."""
    probe: bool = False
    slow: bool = False
    free_at: datetime | None = None
    """When it may be given more."""
    interval: timedelta = AGAIN
    """Spacing of the retries of messages that wait for it."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the answers to one batch say about the provider, rather than about addresses, texts or us."""

    good: int = 0
    faults: int = 0
    accepted: int = 0
    throttled: int = 0
    rest: timedelta | None = None
    """The longest rest it asked for."""
    config: str | None = None
    """A code that says the account itself is misconfigured."""
    shown: tuple[tuple[str, str], ...] = ()
    """Fault and code of each answer for which the provider is to blame."""

    @classmethod
    def of(cls, results: Sequence[Result]) -> Tally:
        """Count the results: any proper answer, even "wrong address", shows that the provider is up."""
        others = [result for result in results if not isinstance(result, Accepted)]
        accepted = len(results) - len(others)
        tally = cls(good=accepted, accepted=accepted)
        for result in others:
            tally = tally._with(result)
        return tally

    def _with(self, result: Refused | Unknown | NotSent) -> Tally:
        match result:
            case NotSent(why) | Refused(why, _) if why in OURS:
                return self
            case Unknown(why) | NotSent(why) | Refused(why, "provider"):
                return replace(self, faults=self.faults + 1, shown=(*self.shown, ("provider", why)))
            case Refused(code, "config"):
                return replace(self, config=self.config or code, shown=(*self.shown, ("config", code)))
            case Refused(code, "throttled", retry_after=rest):
                longest = max((one for one in (self.rest, rest) if one is not None), default=None)
                counted = replace(self, good=self.good + 1, throttled=self.throttled + 1, rest=longest)
                return replace(counted, shown=(*self.shown, ("throttled", code)))
            case Refused():
                return replace(self, good=self.good + 1)


def admit(health: Health, per_second: int | None, *, now: datetime, wanted: int, lead: timedelta) -> tuple[Health, Admission]:
    """Return what a claim may give to a provider, and the provider's health with that deducted."""
    if health.breaker.phase is not Phase.CLOSED:
        return _to_probe(health, per_second, now, lead)
    if health.slow(now):
        return health, Admission(0, slow=True, free_at=health.slowed_until, interval=_interval(per_second))
    if per_second is None:
        return health, Admission()
    got = lease(health.free_at, per_second, now=now, wanted=wanted, lead=lead)
    left = Admission(len(got.moments), got.moments, free_at=got.free_at, interval=interval_of(per_second))
    return replace(health, free_at=got.free_at), left


def answered(health: Health, tally: Tally, now: datetime) -> Health:
    """Return the provider's health after the answers to a batch."""
    seen = replace(health, breaker=heard(health.breaker, good=tally.good, faults=tally.faults, now=now))
    if tally.shown:
        seen = replace(seen, last_faults=(*_newest(tally, now), *health.last_faults)[:LAST_FAULTS])
    if tally.throttled:
        rest = max(tally.rest or timedelta(), min(SLOW_FOR * 2 ** min(health.slowings, 10), LONGEST_SLOW))
        until = max(health.slowed_until or now, now + rest)
        return replace(seen, slowed_until=until, slowings=health.slowings + 1)
    return replace(seen, slowings=0) if tally.accepted else seen


def _to_probe(health: Health, per_second: int | None, now: datetime, lead: timedelta) -> tuple[Health, Admission]:
    """Let one message probe it, with a permit like any other; until then it stays out of the draw."""
    breaker = probing(health.breaker, now)
    if breaker is None or health.slow(now):
        return health, Admission(0, shut=True, free_at=health.breaker.until)
    if per_second is None:
        return replace(health, breaker=breaker), Admission(1, shut=True, probe=True, free_at=breaker.until)
    got = lease(health.free_at, per_second, now=now, wanted=1, lead=lead)
    if not got.moments:
        return health, Admission(0, shut=True, free_at=got.free_at)
    return replace(health, breaker=breaker, free_at=got.free_at), Admission(1, got.moments, shut=True, probe=True, free_at=breaker.until)


def _interval(per_second: int | None) -> timedelta:
    return interval_of(per_second) if per_second is not None else AGAIN


def _newest(tally: Tally, now: datetime) -> tuple[LastFault, ...]:
    kinds = dict.fromkeys(tally.shown)
    return tuple(LastFault(now, fault, code, tally.shown.count((fault, code))) for fault, code in kinds)
