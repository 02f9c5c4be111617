"""What providers say of a message after they took it over, and what a set of such words comes to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from services.notifier.domain.results import Fault


class Standing(IntEnum):
    """How far a message has come; a later word lifts it and never lowers it."""

    ACCEPTED = 0
    SENT = 1
    FAILED = 2
    DELIVERED = 3
    """Above `FAILED`: what has once arrived has arrived, whatever is said before or after."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One word of a provider about one message."""

    standing: Standing | None
    """None where it is only about the person: a complaint, an unsubscription."""
    message_id: str | None = None
    """Our id, where the provider gives it back."""
    provider_ref: str | None = None
    address: str | None = None
    event_id: str | None = None
    """The provider's id of this word, where it has one."""
    at: datetime | None = None
    code: str | None = None
    fault: Fault = "none"


@dataclass(frozen=True, slots=True)
class Reduced:
    """What all receipts of a message come to."""

    standing: Standing | None = None
    faults: frozenset[tuple[str, Fault]] = frozenset()
    opted_out: bool = False
    """The person wants no more of it; this never goes back."""


def reduced(receipts: Iterable[Receipt], before: Reduced | None = None) -> Reduced:
    """Return what these receipts come to, the same in any order and with any repetition."""
    before = before or Reduced()
    told = tuple(receipts)
    standings = [one.standing for one in told if one.standing is not None]
    if before.standing is not None:
        standings.append(before.standing)
    return Reduced(
        standing=max(standings, default=None),
        faults=before.faults | {(one.code or "", one.fault) for one in told if one.fault != "none"},
        opted_out=before.opted_out or any(one.fault == "opted_out" for one in told),
    )
