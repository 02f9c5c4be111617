"""Warnings about what a document may say but hardly means, each with its position."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from libs.common.slips import near
from libs.compliance import Channel, Circumstances, Deny, Packs, Preferences, Proposed, Purpose, decide
from libs.compliance.house import House
from services.scheduler.domain.days import window
from services.scheduler.domain.lawful import AS_NOTHING_IS_SET
from services.scheduler.domain.policy import ENDING_AFTER, ENDING_ID, Clock, Policy, Send, Step
from services.scheduler.policies.conditions import CelCondition, ConditionError
from services.scheduler.policies.forms import PolicyForm, StepForm
from services.scheduler.policies.places import Fault, Path
from services.scheduler.policies.reading import Document, policy_of

LONGEST_GAP = 45
"""Days without any step."""
LATEST_FIRST = 7
DUE_SOON_DAYS = 7
"""The product-line default: how many days ahead ingest announces that a debt is coming due."""
LOOKED_AHEAD = timedelta(days=15)
"""Two weeks contain every weekday's hours twice, so that a single holiday hides nothing."""
_NOWHERE = "UTC"


@dataclass(frozen=True, slots=True)
class Law:
    """Where a policy is to be used, the rules there, and the tenant's own settings for them."""

    packs: Packs
    jurisdictions: tuple[str, ...]
    now: datetime
    house: House = AS_NOTHING_IS_SET


def warnings(document: Document, law: Law) -> tuple[Fault, ...]:
    """Return what deserves a second look in a well-formed document."""
    if document.form is None:
        return ()
    policy = _policy(document.form)
    found: list[tuple[Path, str, str]] = [*_order(document.form), *_legal(document.form), *_places(law)]
    if policy is not None:
        found += [*_never(policy), *_gaps(policy), *_hours(policy, law)]
    faults = [document.read.fault(path, code, detail) for path, code, detail in found]
    return tuple(sorted(faults, key=lambda fault: (fault.place.line, fault.place.column, fault.error)))


def _policy(form: PolicyForm) -> Policy | None:
    """Return the policy that would run; None if faults prevent one."""
    try:
        return policy_of(form, 0)
    except (ValueError, ConditionError):
        return None


def _order(form: PolicyForm) -> Iterator[tuple[Path, str, str]]:
    """Yield steps that can never be sent, and reminders that are due before any fact announces them."""
    shadows: dict[tuple[Clock, int], str] = {}
    waited_for = {step.after.step for step in form.steps if step.after is not None}
    for n, step in reversed([*enumerate(form.steps)]):
        made_up_for = step.id in waited_for or (step.send is not None and step.send.purpose == "notice")
        if step.send is not None and _day(step) in shadows and not made_up_for:
            why = f"{shadows[_day(step)]} is on the same day, and only the last message of a day is sent"
            yield ("steps", n), "unreachable", why
        if step.send is not None and not (step.when or step.after or step.requires):
            shadows.setdefault(_day(step), step.id)
        if step.at.day is not None and step.at.day < -DUE_SOON_DAYS:
            why = f"a product line announces a debt {DUE_SOON_DAYS} days before it is due, unless its due_soon_days is greater"
            yield ("steps", n, "at", "day"), "beyond_due_soon_days", why


def _never(policy: Policy) -> Iterator[tuple[Path, str, str]]:
    for n, step in enumerate(policy.steps):
        if isinstance(step.when, CelCondition) and step.when.is_never:
            yield ("steps", n, "when"), "unreachable", "this condition is never true"


def _day(step: StepForm) -> tuple[Clock, int]:
    if step.at.day_past_due is not None:
        return Clock.PAST_DUE, step.at.day_past_due
    return Clock.DELINQUENT, step.at.day or 0


def _gaps(policy: Policy) -> Iterator[tuple[Path, str, str]]:
    place = {step.id: n for n, step in enumerate(policy.steps)}
    late = sorted((step for step in policy.steps if step.day >= 0), key=lambda step: step.day)
    if not policy.messages:
        yield ("steps",), "gap", "nothing is sent to an overdue borrower"
    elif policy.messages[0].day > LATEST_FIRST:
        yield ("steps", place[policy.messages[0].id], "at"), "gap", f"nothing is sent before day {policy.messages[0].day}"
    for before, after in pairwise(late):
        if after.day - before.day > LONGEST_GAP:
            yield ("steps", place[after.id], "at"), "gap", f"nothing happens for {after.day - before.day} days before this step"
    if any(step.id == ENDING_ID for step in policy.errands):
        why = f"no step gives work to a person in every case: a review task is given {ENDING_AFTER} days after the last message"
        yield ("steps",), "no_ending", why


def _legal(form: PolicyForm) -> Iterator[tuple[Path, str, str]]:
    """Yield steps taken against a borrower without prior notice."""
    notices = [_day(step)[1] for step in form.steps if step.send is not None and step.send.purpose == "notice"]
    for n, step in enumerate(form.steps):
        legal = step.emit is not None or step.hand_over is not None or (step.task is not None and step.task.queue == "legal")
        if legal and not any(day < _day(step)[1] for day in notices):
            yield ("steps", n), "no_notice", "no notice comes before this step"


def _hours(policy: Policy, law: Law) -> Iterator[tuple[Path, str, str]]:
    """Yield messages that can never go out; steps with the same window, channels and purpose are checked once."""
    known: dict[tuple[str, str | None, tuple[str, ...], str], bool] = {}
    for n, step in enumerate(policy.steps):
        if not isinstance(step.action, Send):
            continue
        for where in law.jurisdictions:
            key = (where, step.between, step.action.channels, step.action.purpose)
            if key not in known:
                known[key] = law.packs.locate(where) is None or any(_let_out(step, channel, where, law) for channel in step.action.channels)
            if not known[key]:
                who = f"the rules of {where}" if law.house.hours is None else f"the rules of {where} within the tenant's own hours"
                why = f"{who} never let it out on any of its channels within its window"
                yield ("steps", n, "at", "between") if step.between else ("steps", n), "never_let_out", why


def _places(law: Law) -> Iterator[tuple[Path, str, str]]:
    for where in law.jurisdictions:
        if law.packs.locate(where) is None:
            yield (
                (),
                "unknown_jurisdiction",
                f"there are no rules for {where[:64]}, so nothing is sent there: {near(where[:64], sorted(law.packs))}",
            )


def _let_out(step: Step, channel: str, where: str, law: Law) -> bool:
    """Ask the gate at every window of the next days, from the earliest moment it names."""
    located = law.packs.locate(where)
    zones = located.pack.zones if located and located.pack.zones else (_NOWHERE,)
    return any(_let_out_in(zone, step, channel, where, law) for zone in zones)


def _let_out_in(zone: str, step: Step, channel: str, where: str, law: Law) -> bool:
    purpose = step.action.purpose if isinstance(step.action, Send) else "dunning"
    house = law.house
    circumstances = Circumstances((where,), (zone,), house.profile, house.role, None, Preferences(), house.hours, (), (), {})
    at = law.now
    while at < law.now + LOOKED_AHEAD:
        opens, closes = window(zone, step.between, at)
        at = max(opens, at)
        answer = decide(Proposed(at, Channel(channel), Purpose(purpose)), circumstances, law.packs)
        if not isinstance(answer, Deny):
            return True
        if answer.earliest is None:
            return False
        at = closes if answer.earliest <= at else answer.earliest
    return False
