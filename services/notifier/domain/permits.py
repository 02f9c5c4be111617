"""Permits: how many messages a provider may be given, and when each may start.

A lease is a block of permits, each with its own time and void `USE_WITHIN` after it. The spacing of `interval_of` keeps the limit in every
second, wherever it begins: of times (1 + w) / n apart at most n fall within 1 + w seconds, and messages that start within one second have
permits within no more than that. Blocks of permits without times could let two blocks through in one second.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from services.notifier.domain.clocks import FAR_AHEAD

SECOND = timedelta(seconds=1)
USE_WITHIN = timedelta(milliseconds=50)
"""A permit is void this long after its time; it lowers the rate below the limit by the same fraction of a second."""
HORIZON = timedelta(milliseconds=500)
"""No lease reaches further ahead: it bounds how long a marked message waits, and how long unused permits hold up others."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The times of the permits, and when the next lease may begin."""

    moments: tuple[datetime, ...]
    free_at: datetime


def interval_of(per_second: int) -> timedelta:
    """Return the interval between permits, rounded up to the resolution that a database stores."""
    return -(-(SECOND + USE_WITHIN) // timedelta.resolution // per_second) * timedelta.resolution


def lease(free_at: datetime | None, per_second: int, *, now: datetime, wanted: int, lead: timedelta = timedelta()) -> Lease:
    """Return the permits available now, at most `wanted`, the first no sooner than `lead` from now, since the claim takes a while."""
    interval = interval_of(per_second)
    if free_at is not None and free_at > now + lead + FAR_AHEAD:
        free_at = None  # no lease ends this far ahead of its claim
    first = max(free_at or now, now + lead)
    room = (now + lead + HORIZON - first) // interval + 1
    number = max(0, min(wanted, room))
    if number == 0:
        return Lease((), free_at or now)
    return Lease(tuple(first + interval * place for place in range(number)), first + interval * number)
