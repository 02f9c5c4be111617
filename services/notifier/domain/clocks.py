"""What is made of a clock that was set back, and of moments that others have told."""

from datetime import datetime, timedelta

YEARS = range(1970, 2200)
FAR_AHEAD = timedelta(minutes=1)
"""A moment that was written down and lies further ahead is of before a clock was set back."""


def on_calendar(said: datetime | None) -> datetime | None:
    """Return a moment that somebody else has told, None for one that no calendar of ours has."""
    return said if said is not None and said.year in YEARS else None
