"""When a step can be done, and what stands in its way: its day, the step it follows, what people must supply, an offer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from libs.common.value import Value, replace
from services.scheduler.domain.case import Case, ContactState, Debt
from services.scheduler.domain.days import begins
from services.scheduler.domain.policy import NOTHING_NEEDED, Entry, Policy, Send, Step, Work

Lead = tuple[datetime, Debt]
"""When a step's day has come, and for which debt."""


class Want(StrEnum):
    """What people have not supplied yet; the key of the task asking for it starts with this."""

    EVIDENCE = "evidence"
    APPROVAL = "approval"


def leading(debts: tuple[Debt, ...], step: Step) -> Lead | None:
    """Return the debt that reaches this step's day first, and when; None while all their clocks are paused."""
    begun = [(moment, debt) for debt in debts if (moment := debt.begins(step)) is not None]
    if len(begun) == 1:
        return begun[0]
    return min(begun, key=lambda one: (one[0], one[1].loan_id), default=None)


def ready(case: Case, step: Step, debts: tuple[Debt, ...]) -> Lead | None:
    """Return when time and the step it follows allow a step; None: unknown."""
    return _ready(case, step, leading(debts, step))


def _ready(case: Case, step: Step, lead: Lead | None) -> Lead | None:
    if lead is None or (step.after is None and not case.offers):
        return lead
    moments = [lead[0]]
    if step.after is not None:
        if (told := told_at(case, step.after.step)) is None:
            return None
        moments.append(told + timedelta(days=step.after.days))
    moments += [until for until in _put_off(case, step) if until is not None]
    return max(moments), lead[1]


def _put_off(case: Case, step: Step) -> list[datetime | None]:
    """Return until when offers put a step off; a message keeps its place in the ladder, and pauses separately."""
    if step.escalates:
        return [offer.blocks_until for offer in case.offers]
    return [] if isinstance(step.action, Send) else [case.rests_until]


def told_at(case: Case, step: str) -> datetime | None:
    """Return when a step's message was accepted or arrived in this spell; None if the last one was not."""
    said = case.said(step, None)
    return said[-1].done_at if said and said[-1].state is ContactState.DONE else None


def rejected(case: Case, step: Step) -> bool:
    """Return whether a person has decided against it for this spell."""
    return any(approval.step == step.id and not approval.approved for approval in case.approvals)


def missing(case: Case, step: Step) -> tuple[str, ...]:
    """Return the documents nobody has attached yet."""
    there = {exhibit.document for exhibit in case.exhibits}
    return tuple(document for document in step.needs.documents if document not in there)


def wanting(case: Case, step: Step) -> Want | None:
    """Return what people must supply next; evidence comes first, because the approver must see it."""
    if step.needs is NOTHING_NEEDED:
        return None
    if missing(case, step):
        return Want.EVIDENCE
    approved = any(approval.step == step.id and approval.approved for approval in case.approvals)
    return Want.APPROVAL if step.needs.approval is not None and not approved else None


def is_clear(case: Case, step: Step) -> bool:
    """Return whether its condition is met, nobody has rejected it, and nothing is missing."""
    return step.holds(case) and not (case.approvals and rejected(case, step)) and wanting(case, step) is None


def is_asked_for(case: Case, step: Step) -> bool:
    """Return whether people still have to supply something for it: it is neither done nor rejected."""
    if wanting(case, step) is None or rejected(case, step) or not step.holds(case):
        return False
    match step.action:
        case Send():
            return not case.said(step.id, None)
        case Work():
            return all(errand.key != step.id or errand.withdrawn for errand in case.errands)
        case _:
            return step.id not in case.acted | case.flagged


class Rung(Value, frozen=True):
    """A message of the ladder, as it stands for a case."""

    step: Step
    day: Lead | None
    lead: Lead | None
    """When it can be sent, all things considered; None while unknown."""
    holds: bool
    must: bool
    """Whether it is caught up on whatever comes later."""

    @property
    def place(self) -> float:
        """Return its sort key: by day, unknown days last."""
        return float("inf") if self.lead is None else self.lead[0].timestamp()


def ladder(case: Case, policy: Policy, debts: tuple[Debt, ...]) -> list[Rung]:
    """Return the messages in the order in which their days come."""
    days = [(step, leading(debts, step)) for step in policy.messages]
    rungs = [Rung(step, day, _ready(case, step, day), is_clear(case, step), step.id in policy.never_skipped) for step, day in days]
    return sorted(rungs if policy.entry is Entry.LATEST else _from_the_first(case, rungs), key=lambda rung: rung.place)


def _from_the_first(case: Case, rungs: Sequence[Rung]) -> list[Rung]:
    """Return the messages of a case that starts with the first one: the others keep their distance from it."""
    said = {contact.step: contact.requested_at for contact in reversed(case.contacts) if contact.spell == case.spell and not contact.about}
    if not said and not case.passed:
        order = sorted(rungs, key=lambda rung: rung.place)
        first = next((rung.step.id for rung in order if rung.holds and rung.lead is not None), None)
        return [rung if rung.step.id == first else replace(rung, lead=None) for rung in rungs]
    begun = [(said[rung.step.id], rung.day) for rung in rungs if rung.step.id in said and rung.day is not None]
    late_by = _days_late(*min(begun, key=lambda one: one[0])) if begun else 0
    return [_later(rung, late_by) for rung in rungs]


def _days_late(requested_at: datetime, day: Lead) -> int:
    """Return how many days after its own day the first message was requested."""
    zone = ZoneInfo(day[1].timezone)
    return max(0, (requested_at.astimezone(zone).date() - day[0].astimezone(zone).date()).days)


def _later(rung: Rung, days: int) -> Rung:
    if rung.lead is None or rung.day is None or days == 0:
        return rung
    zone = rung.day[1].timezone
    on = rung.day[0].astimezone(ZoneInfo(zone)).date() + timedelta(days=days)
    return replace(rung, lead=(max(rung.lead[0], begins(on, zone)), rung.lead[1]))
