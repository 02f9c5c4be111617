"""Stops: what about a borrower or a debt lets contacts rest, and what ends those that people have set."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from libs.common.value import Value

CHANNEL_STOPS = frozenset({"opt_out"})
"""Stops that close a channel, which the gate judges; every other one lets neither dunning nor reminders pass."""


OF_STOP = "stop:"
"""How the keys of tasks begin that a stop makes; like the stop they outlast a spell."""


class Ending(StrEnum):
    """Events that can end a hold."""

    CURED = "debt.cured"
    CLOSED = "debt.closed"
    REPLIED = "contact.replied"


class Hold(Value, frozen=True):
    """What a stop that people or a promise have set has beside a borrower's status: whose case set it, and what ends it."""

    case_id: str
    ends_with: Ending | None = None
    source: str | None = None
    """The promise or matter that it belongs to, and ends with."""
    matter: str | None = None
    """The kind of that matter, which a person must answer."""
    paused: tuple[str, ...] = ()
    """Loans whose overdue clock rests with it."""


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
    """What it leaves, where whoever set it has said so."""

    def stands(self, now: datetime) -> bool:
        """Say whether it stops contacts of every channel at this moment."""
        return self.channel is None and self.kind not in CHANNEL_STOPS and self.from_at <= now and not self.over(now)

    def over(self, now: datetime) -> bool:
        """Say whether its time has passed."""
        return self.until is not None and self.until <= now


def last_to_end(stops: Iterable[Stop], now: datetime) -> Stop | None:
    """Return the stop that ends last; one without an end ends after all others."""
    return max(stops, key=lambda s: (s.until is None, s.until or now, s.status_id), default=None)
