"""Which channels a borrower has consented to: at one moment, for one purpose."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from libs.compliance.circumstances import consents_to
from libs.compliance.vocabulary import Channel

AHEAD = timedelta(minutes=1)
"""How far the clock of another system may be ahead of ours."""


def is_to_come(at: datetime | None, now: datetime) -> bool:
    """Tell whether a consent is dated in the future: until then it permits nothing and overrides no opt-out."""
    return at is not None and at > now + AHEAD


def consented(
    given: Mapping[tuple[str, str], datetime | None], withdrawn: Collection[tuple[str, str]], purpose: str, now: datetime
) -> frozenset[Channel]:
    """Return the channels consented to by now for a purpose; one withdrawn for this very purpose is not among them."""
    purposes = consents_to(purpose)
    standing = (channel for (channel, to), at in given.items() if to in purposes and not is_to_come(at, now))
    return frozenset(Channel(channel) for channel in standing if (channel, purpose) not in withdrawn)
