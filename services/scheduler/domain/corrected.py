"""Which contacts were made on facts that have since been corrected, and which of them would not have been made at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.scheduler.domain.case import ContactState

MADE = frozenset({ContactState.DONE, ContactState.UNKNOWN, ContactState.UNRESOLVED})
"""States of contacts that went out, or may have."""
KNOWN_BY = timedelta(seconds=2)
"""From this long after a fact was published, every new message uses its amounts."""


@dataclass(frozen=True, slots=True)
class Days:
    """Corrected days, `until` excluded (None: through the fact's own day and beyond), and whether anything was overdue on them."""

    from_on: date
    until: date | None
    owed: bool

    def hold(self, day: date) -> bool:
        """Return whether a day is one of them."""
        return self.from_on <= day and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True)
class Correction:
    """What one fact corrects in the debt's earlier facts."""

    loan_id: str
    epoch: int
    version: int
    timezone: str
    said_at: datetime
    caused_by: str | None
    days: tuple[Days, ...]

    @property
    def order(self) -> tuple[int, int]:
        """Return the key in which a debt's newer facts are greater."""
        return self.epoch, self.version


@dataclass(frozen=True, slots=True)
class DebtSeen:
    """A debt, and the fact on which the contact was requested."""

    loan_id: str
    epoch: int
    version: int


@dataclass(frozen=True, slots=True)
class ContactMade:
    """A contact that was made, and what was found about it; `about` is the due date of a reminder."""

    task_id: str
    step: str
    about: date | None
    made_at: datetime
    debts: tuple[DebtSeen, ...]
    corrected: bool = False
    groundless: bool = False


@dataclass(frozen=True, slots=True)
class Corrected:
    """A new finding about a contact: corrected for the first time, or found to have had no ground, or both."""

    contact: ContactMade
    by: Correction
    groundless: bool


def corrected(contacts: Iterable[ContactMade], corrections: Sequence[Correction]) -> tuple[Corrected, ...]:
    """Return the findings about these contacts that are not recorded yet."""
    found = []
    for contact in contacts:
        speaking = [_speaking(contact, debt, corrections) for debt in contact.debts]
        said = [correction for about_debt in speaking for correction, _ in about_debt]
        if not said:
            continue
        groundless = contact.about is None and all(about_debt and not about_debt[-1][1].owed for about_debt in speaking)
        if not contact.corrected or (groundless and not contact.groundless):
            first = min(said, key=lambda one: (one.order, one.loan_id))
            found.append(Corrected(contact, first, groundless))
    return tuple(found)


def _speaking(contact: ContactMade, debt: DebtSeen, corrections: Sequence[Correction]) -> list[tuple[Correction, Days]]:
    """Return the corrections, made after the contact, of this debt on that day, newest last: the last one is what is known now."""
    found = []
    for one in corrections:
        if one.loan_id != debt.loan_id or one.order <= (debt.epoch, debt.version) or contact.made_at >= one.said_at + KNOWN_BY:
            continue
        day = contact.made_at.astimezone(ZoneInfo(one.timezone)).date()
        found += [(one, days) for days in one.days if days.hold(day)]
    return sorted(found, key=lambda said: said[0].order)
