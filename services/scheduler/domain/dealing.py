"""What people settle in a case: approved and rejected steps, documents, and offers to the borrower."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

USUALLY_VALID = timedelta(days=14)
"""So long an offer beyond every limit stands where nobody has said how long."""
BOOKING = timedelta(days=3)
"""How long contacts pause after an offer is accepted: the lender's books need time to reschedule."""


class OfferState(StrEnum):
    """What became of an offer; an open one lapses when it expires."""

    PROPOSED = "proposed"
    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Terms:
    """A plan or a partial waiver: the most months, the most percent waived (None: nothing of that), and how long it may stay open."""

    kind: str
    valid_for: timedelta
    max_months: int | None = None
    waive_interest_percent: int | None = None
    waive_fees_percent: int | None = None

    def holds(self, other: Terms) -> bool:
        """Return whether another offer asks for no more than this one."""
        return self.valid_for >= other.valid_for and self.allows(other)

    def allows(self, other: Terms) -> bool:
        """Return whether another offer asks for no more than this one, however long it stays open."""
        return self.kind == other.kind and all(
            (theirs or 0) <= (ours or 0)
            for ours, theirs in (
                (self.max_months, other.max_months),
                (self.waive_interest_percent, other.waive_interest_percent),
                (self.waive_fees_percent, other.waive_fees_percent),
            )
        )


def untimed(terms: Terms, limits: Iterable[Terms]) -> Terms:
    """Return terms of which nobody has said how long they stand: as long as the limits let them."""
    longest = max((limit.valid_for for limit in limits if limit.allows(terms)), default=USUALLY_VALID)
    return replace(terms, valid_for=longest)


@dataclass(frozen=True, slots=True)
class Approval:
    """A person's decision on a step, for one spell."""

    step: str
    approved: bool
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A document somebody attached in a spell, under the name by which a policy asks for it."""

    document: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer made in a spell; `decided_at` is when it was accepted, declined or rejected."""

    offer_id: str
    state: OfferState
    expires_at: datetime
    decided_at: datetime | None = None

    @property
    def blocks_until(self) -> datetime | None:
        """Return until when nothing graver than a message happens because of it."""
        return self.expires_at if self.state in {OfferState.OPEN, OfferState.PROPOSED} else self.rests_until

    @property
    def rests_until(self) -> datetime | None:
        """Return until when every contact pauses because it was accepted."""
        return self.decided_at + BOOKING if self.state is OfferState.ACCEPTED and self.decided_at is not None else None

    def stands(self, now: datetime) -> bool:
        """Return whether the borrower can still take it, or has taken it and the books are still being updated."""
        return (until := self.blocks_until) is not None and now < until
