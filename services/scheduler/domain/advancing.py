"""A case brought to where it is now: the one way, of the ticker, of what is shown, and of a simulation."""

from __future__ import annotations

from datetime import datetime

from libs.common.value import Value
from services.scheduler.domain.case import Case, Change, Errand, closed, follow
from services.scheduler.domain.choosing import Choices, ruled
from services.scheduler.domain.errands import withdrawn
from services.scheduler.domain.planner import Plan, plan
from services.scheduler.domain.policy import Policy


class Followed(Value, frozen=True):
    """A case under the version that rules it, and what its facts have changed."""

    case: Case
    policy: Policy
    changes: tuple[Change, ...]
    withdrawn: tuple[Errand, ...] = ()
    """Tasks of people that have lost their ground."""

    def planned(self, now: datetime) -> Plan:
        """Return what is due, and what comes once that is done."""
        return plan(self.case, self.policy, now)


def followed(case: Case, pinned: Policy | None, choices: Choices, now: datetime) -> Followed | None:
    """Bring a case to the policy version that rules it, and to where its facts are; None where that version cannot be read."""
    case, policy = ruled(case, pinned, choices, now)
    if policy is None:
        return None
    case, over = closed(case, policy, now)
    if over:  # what follows is another spell, under the policy that is chosen now
        case, policy = ruled(case, policy, choices, now)
    if policy is None:
        return None
    case, changes = follow(case, policy, now)
    case, gone = withdrawn(case, now)
    return Followed(case, policy, (*over, *changes), gone)
