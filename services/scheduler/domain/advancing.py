"""Brings a case up to date; the ticker, what is shown, and simulations all use this."""

from __future__ import annotations

from datetime import datetime

from libs.common.value import Value
from services.scheduler.domain.case import Case, Change, Errand, closed, follow
from services.scheduler.domain.choosing import Choices, ruled
from services.scheduler.domain.errands import withdrawn
from services.scheduler.domain.planner import Plan, plan
from services.scheduler.domain.policy import Policy


class Followed(Value, frozen=True):
    """A case under the version that applies to it, and what its facts have changed."""

    case: Case
    policy: Policy
    changes: tuple[Change, ...]
    withdrawn: tuple[Errand, ...] = ()
    """Tasks of people that have lost their ground."""

    def planned(self, now: datetime) -> Plan:
        """Return what is due, and what comes after it is done."""
        return plan(self.case, self.policy, now)


def followed(case: Case, pinned: Policy | None, choices: Choices, now: datetime) -> Followed | None:
    """Bring a case to the policy version that applies to it, and up to date with its facts; None if that version cannot be read."""
    case, policy = ruled(case, pinned, choices, now)
    if policy is None:
        return None
    case, over = closed(case, policy, now)
    if over:  # what follows is a new spell, under the policy chosen now
        case, policy = ruled(case, policy, choices, now)
    if policy is None:
        return None
    case, changes = follow(case, policy, now)
    case, gone = withdrawn(case, now)
    return Followed(case, policy, (*over, *changes), gone)
