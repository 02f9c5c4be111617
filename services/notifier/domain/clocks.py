"""What is made of a clock that was set back."""

from datetime import timedelta

FAR_AHEAD = timedelta(minutes=1)
"""A moment that was written down and lies further ahead is of before a clock was set back."""
