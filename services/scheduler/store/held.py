"""A case row locked by this transaction, with everything its plan depends on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from libs.common import ids
from libs.common.value import Value
from services.scheduler.domain.case import Case

ASSIGNMENT = "default"
UNREADABLE = (ValueError, LookupError, TypeError, ArithmeticError, msgspec.MsgspecError)
"""What is raised by reading something stored that is damaged or of a later release; nothing that a database raises is among it."""


class Held(Value, frozen=True):
    """The case, when to plan it again, and what the last plan said."""

    case: Case
    policy: str
    policy_version: int
    unsettled_since: datetime | None = None
    rests_until: datetime | None = None
    newest_fact_at: datetime | None = None
    next_at: datetime | None = None
    contact_at: datetime | None = None
    contact_step: str | None = None
    reason: str | None = None
    reason_until: datetime | None = None
    reason_event: str | None = None
    reason_task: str | None = None
    in_doubt: str | None = None
    moved_at: datetime | None = None
    stored: tuple[Any, ...] | None = None
    """The seldom-changing columns as read; None if there was no row to read."""
    unread: str | None = None
    """Why it could not be read in full; no rule may decide by what was read."""

    @property
    def key(self) -> CaseKey:
        """Return the key of the case."""
        return CaseKey(self.case.tenant, self.case.borrower_id, self.case.case_id, self.case.currency, self.case.loan_id)

    def moment(self, now: datetime) -> datetime:
        """Return now, or the time of its last entry if another replica's clock was ahead: a timeline never goes back."""
        return now if self.moved_at is None else max(now, self.moved_at)

    def woken(self, now: datetime) -> datetime | None:
        """Return when to plan it after a change: at once, but not while it settles or waits for a person's decision."""
        if self.in_doubt is not None:
            return None
        return now if self.rests_until is None else max(now, self.rests_until)


def why_unread(error: Exception) -> str:
    """Return what to say of something stored that could not be read."""
    return f"{type(error).__name__}: {error}"[:200]


class CaseKey(Value, frozen=True, order=True):
    """Identifies a case; locks are taken in the order of these keys."""

    tenant: str
    borrower_id: str
    case_id: str
    currency: str = ""
    loan_id: str = ""


def case_key(tenant: str, borrower_id: str, currency: str, loan_id: str = "") -> CaseKey:
    """Return the fixed key of this borrower's case in this currency, or of one loan's."""
    of = (tenant, borrower_id, ASSIGNMENT, currency, *([loan_id] if loan_id else []))
    return CaseKey(tenant, borrower_id, ids.derived("c", *of), currency, loan_id)
