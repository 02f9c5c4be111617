"""At most one dunning message a day across all of a borrower's cases: our default, not a rule of any pack."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

ONCE_A_DAY = "one-dunning-message-a-day"
_CITE = "product default: one dunning message a day over all cases of a borrower"
_CITE_MANY = "product default: as many dunning messages a day over all cases of a borrower as the tenant has set"


def free_at(earlier: Collection[datetime], limit: int, zones: Sequence[str], now: datetime) -> datetime | None:
    """Return when one more may go out by the calendar of every zone, if today's limit is reached; None: now."""
    ends = []
    for zone in map(ZoneInfo, zones):
        today = now.astimezone(zone).date()
        if sum(at.astimezone(zone).date() == today for at in earlier) >= limit:
            ends.append(datetime.combine(today + timedelta(days=1), time.min, zone).astimezone(now.tzinfo))
    return max(ends, default=None)


def cite_of(limit: int) -> str:
    """Return the citation for this limit."""
    return _CITE if limit == 1 else _CITE_MANY
