"""Permits: how many messages a provider may be given, and when each of them may start.

A lease is a block of permits, each with a moment of its own and void `USE_WITHIN` later. What is spaced by `interval_of` holds the limit in
every second, wherever that begins: of moments that lie (1 + w) / n apart at most n fall into 1 + w seconds, and what starts within a second
has its moments in no more than that. Blocks without moments would let two of them through in one second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.notifier.domain.clocks import FAR_AHEAD

SECOND = timedelta(seconds=1)
USE_WITHIN = timedelta(milliseconds=50)
"""A permit that is not used so long after its moment is void; the rate is lower than the limit by this part of a second."""
HORIZON = timedelta(milliseconds=500)
"""No lease reaches further: so long does a message that is marked wait for its moment, and others for what a lease leaves unused."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The moments of the permits, and from when on the next lease may have some."""

    moments: tuple[datetime, ...]
    free_at: datetime


def interval_of(per_second: int) -> timedelta:
    """Return how far the moments of permits lie apart, rounded up to what a database keeps of a moment."""
    return -(-(SECOND + USE_WITHIN) // timedelta.resolution // per_second) * timedelta.resolution


def lease(free_at: datetime | None, per_second: int, *, now: datetime, wanted: int, lead: timedelta = timedelta()) -> Lease:
    """Return the permits that may be had now: up to so many, the first no sooner than `lead` from now, since the claim takes a while."""
    interval = interval_of(per_second)
    if free_at is not None and free_at > now + lead + FAR_AHEAD:
        free_at = None  # no lease ends so far ahead of its claim
    first = max(free_at or now, now + lead)
    room = (now + lead + HORIZON - first) // interval + 1
    number = max(0, min(wanted, room))
    if number == 0:
        return Lease((), free_at or now)
    return Lease(tuple(first + interval * place for place in range(number)), first + interval * number)
