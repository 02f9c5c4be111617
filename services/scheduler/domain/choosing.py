"""Which policy version applies to a case: chosen when a spell begins, then kept or changed as the next version's activation asks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from libs.common.value import replace
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import PENDING, Case, Debt, Stage, State
from services.scheduler.domain.policy import AppliesTo, Consolidate, Policy
from services.scheduler.domain.standing import leading
from services.scheduler.domain.stops import OF_STOP
from services.scheduler.domain.trials import Arm, Trial


class InFlight(StrEnum):
    """What becomes of running spells when a version is activated."""

    PIN = "pin"
    NEXT_STEP = "next_step"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which debts a policy applies to; empty fields match everything."""

    policy: str
    fits: AppliesTo


@dataclass(frozen=True, slots=True)
class Active:
    """The active version of a policy, and what it asks of running spells."""

    policy: Policy
    in_flight: InFlight
    challenger: Policy | None = None
    """Its experiment's challenger; None if it has none, or none any more."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What a tenant has chosen: assignments in order, and the active version of each policy by name."""

    assignments: tuple[Assignment, ...] = ()
    active: Mapping[str, Active] = field(default_factory=dict)

    def of(self, debts: tuple[Debt, ...], borrower_id: str) -> Policy:
        """Return the policy under which this borrower's spell would begin with these debts."""
        return self.dealt(debts, borrower_id)[0]

    @property
    def by_segment(self) -> bool:
        """Return whether anything depends on segments."""
        fits = (*(one.fits for one in self.assignments), *(one.policy.applies_to for one in self.active.values()))
        return any(one.segments for one in fits)

    def loan_of_case(self, debt: Debt, borrower_id: str) -> str:
        """Return the loan whose case this debt would be in: its own, or empty if its policy consolidates a borrower's debts."""
        return debt.loan_id if self.of((debt,), borrower_id).consolidate is Consolidate.LOAN else ""

    def dealt(self, debts: tuple[Debt, ...], borrower_id: str) -> tuple[Policy, Trial | None]:
        """Return the policy of the first assignment that fits one of these debts, or its challenger; the built-in one if none fits."""
        found = self.first(debts)
        return (BUILT_IN, None) if found is None else _dealt(found, borrower_id)

    def first(self, debts: tuple[Debt, ...]) -> Active | None:
        """Return the active version of the first assignment that fits one of these debts; None if none fits."""
        for assignment in self.assignments:
            active = self.active.get(assignment.policy)
            if active is None:
                continue
            for debt in debts:
                if _fits(debt, assignment.fits) and _fits(debt, active.policy.applies_to):
                    return active
        return None


def ruled(case: Case, policy: Policy | None, choices: Choices, now: datetime) -> tuple[Case, Policy | None]:
    """Return the case under the version that applies from now on; `policy` is the one it was pinned to."""
    if _begins(case):
        concerned = case.owed or tuple(debt for debt in case.debts if debt.active and debt.next_due > 0)
        chosen, trial = choices.dealt(concerned, case.borrower_id) if concerned or policy is None else (policy, case.trial)
        begun = _anew(case) if case.state is State.CLOSED else case
        return replace(begun, passed=frozenset(), flagged=frozenset(), acted=frozenset(), trial=trial, chosen_in=case.segment), chosen
    if policy is None or (case.trial is not None and case.trial.arm is Arm.CHALLENGER):
        return case, policy
    latest = _latest(case, policy, choices)
    if latest is None or (latest.policy.name, latest.policy.version) == (policy.name, policy.version):
        return case, policy
    if latest.in_flight is InFlight.PIN or _under_way(case, now):
        return case, policy
    passed = _left_behind(case, policy, latest.policy) if latest.in_flight is InFlight.NEXT_STEP else frozenset[str]()
    if passed is None:
        return case, policy
    chosen_in = case.chosen_in if latest.policy.name == policy.name else case.segment
    return replace(case, passed=passed, chosen_in=chosen_in), latest.policy


def _latest(case: Case, policy: Policy, choices: Choices) -> Active | None:
    """Return the version that may take over a running spell: of its own policy, or of the policy for its borrower's new segment.

    If the spell has done nothing yet, the segment merely arrived after the debt.
    """
    if case.segment != case.chosen_in and case.owed:
        chosen = choices.first(case.owed)
        if chosen is not None and chosen.policy.name != policy.name:
            if _untouched(case):
                return dataclasses.replace(chosen, in_flight=InFlight.RESTART)
            if chosen.in_flight is not InFlight.PIN:
                return chosen
    return choices.active.get(policy.name)


def _dealt(active: Active, borrower_id: str) -> tuple[Policy, Trial | None]:
    """Return a borrower's arm; without a challenger there is nothing to compare."""
    champion, experiment = active.policy, active.policy.experiment
    if experiment is None or active.challenger is None:
        return champion, None
    arm = experiment.arm_of(borrower_id)
    return active.challenger if arm is Arm.CHALLENGER else champion, Trial(champion.name, champion.version, arm)


def _begins(case: Case) -> bool:
    """Return whether no spell is running: a reminder's case is free until money is overdue."""
    return case.state is State.CLOSED or (case.state is State.OPEN and case.stage is Stage.PRE_DUE and bool(case.owed))


def _anew(case: Case) -> Case:
    """Return a case without what people did in its last spell; tasks about stops outlast it, as stops do."""
    kept = tuple(errand for errand in case.errands if errand.key.startswith(OF_STOP))
    return replace(case, errands=kept, approvals=(), exhibits=(), offers=())


def _untouched(case: Case) -> bool:
    """Return whether this spell has done nothing yet."""
    return not (
        any(not errand.key.startswith(OF_STOP) for errand in case.errands)
        or case.flagged
        or case.acted
        or any(contact.spell == case.spell for contact in case.contacts)
    )


def _under_way(case: Case, now: datetime) -> bool:
    return any(contact.state in PENDING and contact.expires_at > now for contact in case.contacts)


def _left_behind(case: Case, before: Policy, after: Policy) -> frozenset[str] | None:
    """Return the new version's messages whose days come no later than that of the last message sent in this spell.

    Messages that are never skipped are not among them.
    None while this cannot be determined: nothing is overdue just now, or the clocks of all debts are paused.
    """
    said = {contact.step for contact in case.contacts if contact.spell == case.spell and contact.about is None} | case.passed
    known = [step for step in before.messages if step.id in said]
    leads = [lead[0] for step in known if (lead := leading(case.owed, step)) is not None]
    if not leads:
        return None if known or not case.owed else frozenset()
    reached = [(step.id, leading(case.owed, step)) for step in after.messages if step.id not in after.never_skipped]
    return frozenset(name for name, lead in reached if lead is not None and lead[0] <= max(leads))


def _fits(debt: Debt, wanted: AppliesTo) -> bool:
    if wanted.segments and wanted.segments.isdisjoint(debt.segments):
        return False
    if wanted.products and debt.product not in wanted.products:
        return False
    return not wanted.jurisdictions or any(_within(place, wanted.jurisdictions) for place in debt.jurisdictions)


def _within(place: str, wanted: frozenset[str]) -> bool:
    """Return whether a place, or the jurisdiction it is a region of, is wanted."""
    return place in wanted or any(place.startswith(f"{one}-") for one in wanted)
