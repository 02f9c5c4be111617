"""A provider's breaker: the provider's own faults take it out of the draw; a probe with one message lets it back in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

WINDOW = timedelta(seconds=60)
"""How long calls are counted, from the first that failed."""
LEAST_FAULTS = 5
OPEN_FOR = timedelta(seconds=30)
"""At first as long as a call may last, so that calls already begun have ended; doubled each time the probe fails."""
LONGEST_OPEN = timedelta(minutes=10)
PROBE_FOR = timedelta(seconds=60)
"""A probe without an answer for this long is given up, and another may go."""


class Phase(StrEnum):
    """Whether messages go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Breaker:
    """One breaker, shared by all replicas. While closed it counts from the first fault; otherwise `until` is when the next probe may go."""

    phase: Phase = Phase.CLOSED
    since: datetime | None = None
    until: datetime | None = None
    calls: int = 0
    faults: int = 0
    trips: int = 0
    """How many times in a row it has opened."""


def probing(breaker: Breaker, now: datetime) -> Breaker | None:
    """Return the breaker with a probe under way; None if it is too early for one, or none is needed."""
    if breaker.phase is Phase.CLOSED or (breaker.until is not None and now < breaker.until):
        return None
    return Breaker(Phase.HALF_OPEN, now, now + PROBE_FOR, trips=breaker.trips)


def given_back(breaker: Breaker, now: datetime) -> Breaker:
    """Return a breaker whose probe found no message to carry it: another may go at once."""
    return Breaker(Phase.OPEN, breaker.since, now, trips=breaker.trips) if breaker.phase is Phase.HALF_OPEN else breaker


def heard(breaker: Breaker, *, good: int, faults: int, now: datetime) -> Breaker:
    """Return the breaker after a batch of answers; those that come while it is open are to calls begun earlier, and change nothing."""
    match breaker.phase:
        case Phase.OPEN:
            return breaker
        case Phase.HALF_OPEN:
            return _opened(breaker, now) if faults else Breaker() if good else breaker
        case Phase.CLOSED:
            return _counted(breaker, good, faults, now)


def _counted(breaker: Breaker, good: int, faults: int, now: datetime) -> Breaker:
    if breaker.since is None or now - breaker.since > WINDOW:
        breaker = Breaker(since=now)
    if not breaker.faults + faults:
        return Breaker()
    counted = Breaker(since=breaker.since, calls=breaker.calls + good + faults, faults=breaker.faults + faults)
    tripped = counted.faults >= LEAST_FAULTS and 2 * counted.faults >= counted.calls
    return _opened(counted, now) if tripped else counted


def _opened(breaker: Breaker, now: datetime) -> Breaker:
    lasts = min(OPEN_FOR * 2 ** min(breaker.trips, 10), LONGEST_OPEN)
    return Breaker(Phase.OPEN, now, now + lasts, breaker.calls, breaker.faults, breaker.trips + 1)
