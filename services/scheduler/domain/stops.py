"""Stops: what pauses contacts for a borrower or a debt, and what ends the stops set by people."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from libs.common.value import Value

CHANNEL_STOPS = frozenset({"opt_out"})
"""Stops that close a channel, which the gate enforces; every other one blocks both dunning and reminders."""


OF_STOP = "stop:"
"""Prefix of the keys of tasks about a stop; like the stop, they outlast a spell."""


class Ending(StrEnum):
    """Events that can end a hold."""

    CURED = "debt.cured"
    CLOSED = "debt.closed"
    REPLIED = "contact.replied"


class Hold(Value, frozen=True):
    """What a stop set by people or by a promise adds to a borrower's status: whose case set it, and what ends it."""

    case_id: str
    ends_with: Ending | None = None
    source: str | None = None
    """The promise or matter it belongs to and ends with."""
    matter: str | None = None
    """The kind of that matter, which a person must answer."""
    paused: tuple[str, ...] = ()
    """Loans whose overdue clock is paused with it."""


class Stop(Value, frozen=True):
    """Something about the borrower, or about one debt, that stops contacts."""

    status_id: str
    kind: str
    from_at: datetime
    until: datetime | None
    loan_id: str | None = None
    channel: str | None = None
    hold: Hold | None = None
    contacts: str | None = None
    """Which contacts it still allows, if whoever set it said so."""

    def stands(self, now: datetime) -> bool:
        """Return whether it currently stops contacts on every channel."""
        return self.channel is None and self.kind not in CHANNEL_STOPS and self.from_at <= now and not self.over(now)

    def over(self, now: datetime) -> bool:
        """Return whether its time has passed."""
        return self.until is not None and self.until <= now


def last_to_end(stops: Iterable[Stop], now: datetime) -> Stop | None:
    """Return the stop that ends last; one without an end ends after all others."""
    return max(stops, key=lambda s: (s.until is None, s.until or now, s.status_id), default=None)
