"""When to call a webhook again that did not accept a call, and when to give it up; pure."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FIRST_PAUSE = timedelta(seconds=2)
LONGEST_PAUSE = timedelta(hours=1)
LONGEST_ASKED = timedelta(hours=6)
"""A longer `Retry-After` is cut: a typing error must not silence a webhook for a year."""
OFF_AFTER = timedelta(days=3)
"""Well before the waiting messages are no longer kept."""
GONE = 410


def pause_after(tries: int, seed: str, retry_after: timedelta | None) -> timedelta:
    """Return how long to wait after so many tries: exponential with full jitter, at least what the receiver asks for.

    The jitter comes from the seed, so that every worker gets the same.
    """
    longest = min(FIRST_PAUSE * (1 << min(tries, 20)), LONGEST_PAUSE)
    share = int.from_bytes(hashlib.blake2b(f"{seed}/{tries}".encode(), digest_size=4).digest()) / 2**32
    return max(longest * share, min(retry_after or timedelta(), LONGEST_ASKED))


def asked_pause(retry_after: str | None, now: datetime) -> timedelta | None:
    """Return the pause that a `Retry-After` asks for, in seconds or as a date; None where it is neither."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return timedelta(seconds=min(int(retry_after.strip()[:9]), int(LONGEST_ASKED.total_seconds())))
    try:
        at = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    return max((at if at.tzinfo else at.replace(tzinfo=UTC)) - now, timedelta())


def given_up(status: int | None, error: str, failing_since: datetime | None, now: datetime) -> str | None:
    """Return why a webhook is switched off, or None."""
    if status == GONE:
        return "it answered that it is gone (410)"
    if failing_since is not None and now - failing_since >= OFF_AFTER:
        return f"it has accepted nothing since {failing_since.isoformat(timespec='seconds')}: {error}"
    return None
