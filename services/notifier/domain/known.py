"""Everything stored about a borrower, as read under the borrower's lock."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType

from libs.common.contracts.borrower_profiles import BorrowerProfile
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.value import Value, field
from libs.compliance.house import House
from services.notifier.domain.preferences import Wishes
from services.notifier.domain.suppressions import Suppression


class Status(Value, frozen=True):
    """A stop of the borrower."""

    status: str
    since: datetime
    until: datetime | None


class Hold(Value, frozen=True):
    """A hold of a case, of one loan of it, or of one channel."""

    stop: str
    contacts: str
    since: datetime
    until: datetime | None
    loan_id: str | None
    channel: str | None = None


class Known(Value, frozen=True):
    """The profile (None: none received yet), the newest fact of each loan, consents granted, stops, holds and suppressions."""

    profile: BorrowerProfile | None = None
    erased: bool = False
    facts: Mapping[str, OverdueFact] = field(default_factory=lambda: MappingProxyType({}))
    consents: frozenset[tuple[str, str]] = frozenset()
    consented_at: Mapping[tuple[str, str], datetime | None] = field(default_factory=lambda: MappingProxyType({}))
    """When the borrower last gave each of them."""
    withdrawn: frozenset[tuple[str, str]] = frozenset()
    """Consents that the borrower has refused or withdrawn."""
    statuses: tuple[Status, ...] = ()
    holds: tuple[Hold, ...] = ()
    suppressions: tuple[Suppression, ...] = ()
    house: House = House()
    wishes: Wishes | None = None

    @property
    def language(self) -> str | None:
        """Return the language that the borrower asked for."""
        return self.wishes.language if self.wishes else None
