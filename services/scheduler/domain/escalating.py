"""Steps beyond messages and work: notify others, hand the case over, make an offer; and what people are asked to supply for a step."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from libs.common.value import Value, replace
from services.scheduler.domain.builtin import BOOKING_WORK, EVIDENCE_WORK
from services.scheduler.domain.case import Case
from services.scheduler.domain.dealing import Offer, OfferState, Terms
from services.scheduler.domain.policy import Emit, HandOver, Policy, Step, Work
from services.scheduler.domain.standing import Want, is_asked_for, is_clear, ready, wanting

ASKED_AGAIN_AFTER = timedelta(days=1)
"""When a task that asks for a decision is given again after it was completed without one."""


class EmitDue(Value, frozen=True):
    """Notify others now."""

    step: Step
    event: str


class HandOverDue(Value, frozen=True):
    """Hand the case over now."""

    step: Step
    to: str


class OfferDue(Value, frozen=True):
    """Make this offer now."""

    step: Step
    terms: Terms


ActDue = EmitDue | HandOverDue | OfferDue
Asked = tuple[str, Work, datetime | None]
"""The key of a task, the work, and when it is to be given."""


def may_tell_others(case: Case, now: datetime) -> bool:
    """Return whether everything overdue may be mentioned: no stop, doubt or pending payment could change what others are told."""
    return case.stop(now) is None and case.handed_to is None and all(case.askable(debt, now) for debt in case.owed)


def acts(case: Case, policy: Policy, now: datetime) -> Iterator[tuple[ActDue, datetime]]:
    """Yield what is still to be done and when, in order."""
    if not may_tell_others(case, now):
        return
    found = []
    for step in policy.acts:
        if step.id in case.acted or not is_clear(case, step) or (lead := ready(case, step, case.owed)) is None:
            continue
        due = _due(step)
        moment = without_another_offer(case, lead[0], now) if isinstance(due, OfferDue) else lead[0]
        if moment is not None:
            found.append((due, moment))
    yield from sorted(found, key=lambda one: one[1])


def _due(step: Step) -> ActDue:
    match step.action:
        case Emit(event):
            return EmitDue(step, event)
        case HandOver(to):
            return HandOverDue(step, to)
        case Terms():
            return OfferDue(step, step.action)
        case _:
            if step.offer is None:
                raise TypeError(f"step {step.id} has no action of its own")
            return OfferDue(step, step.offer)


def without_another_offer(case: Case, moment: datetime, now: datetime) -> datetime | None:
    """Return when an offer can be made: only one is open at a time, and none follows an accepted one."""
    if any(offer.state is OfferState.ACCEPTED for offer in case.offers):
        return None
    return max([moment, *(offer.expires_at for offer in case.offers if offer.stands(now))])


def having_done(case: Case, due: ActDue, now: datetime) -> Case:
    """Return the case after this is done."""
    case = replace(case, acted=case.acted | {due.step.id})
    match due:
        case HandOverDue(_, to):
            return replace(case, handed_to=to, handed_at=now)
        case OfferDue(step, terms):
            return replace(case, offers=(*case.offers, Offer(step.id, OfferState.OPEN, now + terms.valid_for)))
        case EmitDue():
            return case


def asked_for(case: Case, policy: Policy) -> Iterator[Asked]:
    """Yield the tasks in which people supply evidence, then an approval, or follow up an accepted offer that was not booked."""
    for step in policy.steps:
        if step.day < 0 or not is_asked_for(case, step):
            continue
        lead = ready(case, step, case.owed)
        want = wanting(case, step)
        if lead is not None and want is not None:
            yield asking_key(want, step.id), _work(step, want), lead[0]
    for offer in case.offers:
        if (rest := offer.rests_until) is not None:
            yield f"unbooked:{offer.offer_id}", BOOKING_WORK, rest


def asking_key(want: Want, step: str) -> str:
    """Return the key of the task that asks for something a step needs."""
    return f"{want.value}:{step}"


def offer_key(offer_id: str) -> str:
    """Return the key of the task that asks a second person about an offer."""
    return f"offer:{offer_id}"


def _work(step: Step, want: Want) -> Work:
    if want is Want.EVIDENCE or step.needs.approval is None:
        return EVIDENCE_WORK
    rule = step.needs.approval
    return Work(rule.queue, Want.APPROVAL.value, within=rule.within, again_after=ASKED_AGAIN_AFTER)


def awaited(case: Case) -> tuple[str, str] | None:
    """Return what people are currently asked for: the reason, and the task (or its key)."""
    for errand in case.errands:
        kind, _, about = errand.key.partition(":")
        if errand.done_at is None and about and kind in {*Want, "offer"}:
            return f"awaits_{kind}" if kind != "offer" else "awaits_approval", errand.task_id or errand.key
    return None
