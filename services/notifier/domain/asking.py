"""Asking a provider what became of a message whose outcome is unknown: when to ask, and what the answer means."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.notifier.domain.receipts import Receipt
from services.notifier.domain.results import NotSent

PAUSES = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""How long after an attempt its provider is asked, once each."""
UNREPORTED = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""How long after accepting a message a provider is asked about it if it has not reported, once each."""
AROUND = timedelta(minutes=2)
"""How far a provider's clock may differ from ours."""
NEVER_TAKEN = "never_taken"
"""Why a contact whose outcome was unknown surely did not go out: its provider does not have it."""


@dataclass(frozen=True, slots=True)
class Question:
    """A message as its provider may know it."""

    message_id: str
    to: str = field(repr=False)
    began_at: datetime
    ended_at: datetime
    """When it was given up: it cannot have been accepted later."""
    number: int = 1
    """How many times its provider has been asked, including this time."""

    @property
    def since(self) -> datetime:
        """Return the earliest time at which its provider may say it was accepted."""
        return self.began_at - AROUND

    @property
    def until(self) -> datetime:
        """Return the latest such time."""
        return self.ended_at + AROUND


@dataclass(frozen=True, slots=True)
class Search:
    """What a provider has that may be the message: under our id, or only under one of its own."""

    found: tuple[Receipt, ...] = ()
    whole: bool = False
    """Whether it has shown everything that could be the message."""


def meaning(
    search: Search, question: Question, of_others: Collection[str], *, alone: bool = True, absence_counts: bool
) -> Receipt | NotSent | None:  # fmt: skip
    """Return what a search says about the message, or None if nothing; `of_others` are ids known to belong to other messages.

    A result without our id counts only if it is the only candidate, and no other message of ours could be it (`alone`).
    """
    ours = [one for one in search.found if one.message_id == question.message_id]
    if ours:
        return max(ours, key=lambda one: -1 if one.standing is None else one.standing)
    unclaimed = [one for one in search.found if one.message_id is None and one.provider_ref not in of_others]
    if len(unclaimed) == 1 and search.whole:
        return unclaimed[0] if alone else None
    return NotSent(NEVER_TAKEN) if not unclaimed and search.whole and absence_counts else None
