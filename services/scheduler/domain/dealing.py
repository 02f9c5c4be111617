"""What people settle in a case: steps that were approved or rejected, documents, and offers to the borrower."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

USUALLY_VALID = timedelta(days=14)
"""So long an offer beyond every limit stands where nobody has said how long."""
BOOKING = timedelta(days=3)
"""So long contacts rest after an offer was accepted: the lender's books need time to reschedule."""


class OfferState(StrEnum):
    """What became of an offer; one that is open lapses at its end."""

    PROPOSED = "proposed"
    OPEN = "open"
    ACCEPTED = "accepted"
    DECLINED = "declined"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Terms:
    """A plan or a partial waiver, for so long: at most so many months, at most so many percent waived; None: nothing of that."""

    kind: str
    valid_for: timedelta
    max_months: int | None = None
    waive_interest_percent: int | None = None
    waive_fees_percent: int | None = None

    def holds(self, other: Terms) -> bool:
        """Say whether another offer asks for no more than this one."""
        return self.valid_for >= other.valid_for and self.allows(other)

    def allows(self, other: Terms) -> bool:
        """Say whether another offer asks for no more than this one, however long it stands."""
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
    """A document of a spell that somebody has attached: the name under which a policy asks for it."""

    document: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer of a spell; `decided_at` is when it was accepted, declined or rejected."""

    offer_id: str
    state: OfferState
    expires_at: datetime
    decided_at: datetime | None = None

    @property
    def blocks_until(self) -> datetime | None:
        """Return until when nothing graver than a message is done because of it."""
        return self.expires_at if self.state in {OfferState.OPEN, OfferState.PROPOSED} else self.rests_until

    @property
    def rests_until(self) -> datetime | None:
        """Return until when every contact rests because it was accepted."""
        return self.decided_at + BOOKING if self.state is OfferState.ACCEPTED and self.decided_at is not None else None

    def stands(self, now: datetime) -> bool:
        """Say whether the borrower can still take it, or it was taken and the books have their time."""
        return (until := self.blocks_until) is not None and now < until
