"""Asking a provider what became of a message of which nobody knows: when, and what its answer says."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.notifier.domain.receipts import Receipt
from services.notifier.domain.results import NotSent

PAUSES = (timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6))
"""How long after an attempt its provider is asked, once each."""
UNREPORTED = (timedelta(minutes=10), timedelta(hours=1), timedelta(hours=6), timedelta(hours=24))
"""How long after it was taken a provider is asked about a message on which it has not reported, once each."""
AROUND = timedelta(minutes=2)
"""How far a provider's clock may be from ours."""
NEVER_TAKEN = "never_taken"
"""Why a contact surely did not go out of which nothing was known: its provider has it not."""


@dataclass(frozen=True, slots=True)
class Question:
    """A message as its provider may know it."""

    message_id: str
    to: str = field(repr=False)
    began_at: datetime
    ended_at: datetime
    """When it was given up: it was not taken later."""
    number: int = 1
    """Which time this is that its provider is asked."""

    @property
    def since(self) -> datetime:
        """Return the earliest moment at which its provider may say that it was taken."""
        return self.began_at - AROUND

    @property
    def until(self) -> datetime:
        """Return the latest such moment."""
        return self.ended_at + AROUND


@dataclass(frozen=True, slots=True)
class Search:
    """What a provider has that may be the message: under our id, or under one of its own alone."""

    found: tuple[Receipt, ...] = ()
    whole: bool = False
    """Whether it has shown all that could be it."""


def meaning(
    search: Search, question: Question, of_others: Collection[str], *, alone: bool = True, absence_counts: bool
) -> Receipt | NotSent | None:  # fmt: skip
    """Return what a search says of the message, None where that is nothing; `of_others` are ids of messages that are known to be others.

    What has no id of ours is the message only where nothing else could be it, and it could be nothing else of ours (`alone`).
    """
    ours = [one for one in search.found if one.message_id == question.message_id]
    if ours:
        return max(ours, key=lambda one: -1 if one.standing is None else one.standing)
    unclaimed = [one for one in search.found if one.message_id is None and one.provider_ref not in of_others]
    if len(unclaimed) == 1 and search.whole:
        return unclaimed[0] if alone else None
    return NotSent(NEVER_TAKEN) if not unclaimed and search.whole and absence_counts else None
