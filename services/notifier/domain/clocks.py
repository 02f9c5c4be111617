"""Handling of clocks that were set back, and of times given by others."""

from datetime import datetime, timedelta

YEARS = range(1970, 2200)
FAR_AHEAD = timedelta(minutes=1)
"""A stored time further ahead than this dates from before a clock was set back."""


def on_calendar(said: datetime | None) -> datetime | None:
    """Return a time that somebody else gave; None for one outside the range our calendar can express."""
    return said if said is not None and said.year in YEARS else None
