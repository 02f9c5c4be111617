"""All that is stored about a borrower, as it is read under the borrower's lock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from libs.common.contracts.borrower_profiles import BorrowerProfile
from libs.common.contracts.overdue_facts import OverdueFact


@dataclass(frozen=True, slots=True)
class Status:
    """A stop of the borrower."""

    status: str
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold of a case, of one loan of it, or of one channel."""

    stop: str
    contacts: str
    since: datetime
    until: datetime | None
    loan_id: str | None
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """The profile (None: not heard of yet), the newest fact of every loan, consents granted, stops and holds."""

    profile: BorrowerProfile | None = None
    erased: bool = False
    facts: Mapping[str, OverdueFact] = field(default_factory=lambda: MappingProxyType({}))
    consents: frozenset[tuple[str, str]] = frozenset()
    statuses: tuple[Status, ...] = ()
    holds: tuple[Hold, ...] = ()
