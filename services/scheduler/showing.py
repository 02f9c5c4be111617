"""What a case, its next contact and a policy look like over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from sqlalchemy import RowMapping

from libs.compliance import Packs
from services.scheduler.domain.advancing import Followed, followed
from services.scheduler.domain.case import PENDING, Case
from services.scheduler.domain.escalating import asking_key
from services.scheduler.domain.lawful import Answer, Denied, Later, May, Never, NoWay, Wish, dunned, earliest
from services.scheduler.domain.planner import ContactDue, Plan, Upcoming
from services.scheduler.domain.policy import Policy, Send, Step
from services.scheduler.domain.standing import missing, ready, rejected, told_at, wanting
from services.scheduler.house_settings import HouseSettings
from services.scheduler.rulebook import Rules
from services.scheduler.store.held import Held
from services.scheduler.store.reach import Known


def case_shown(row: RowMapping) -> dict[str, Any]:
    """Return a case as lists show it."""
    return {
        "case_id": row.case_id, "borrower_id": row.borrower_id, "currency": row.currency,
        "consolidate": "loan" if row.loan_id else "borrower", "loan_id": row.loan_id or None, "assignment": row.assignment,
        "policy": {"name": row.policy, "version": row.policy_version}, "state": row.state, "stage": row.stage, "spell": row.spell,
        "opened_at": row.opened_at, "clear_since": row.clear_since, "next_at": row.next_at,
        "next_contact": None if row.contact_at is None else {"at": row.contact_at, "step": row.contact_step},
        "reason": row.reason, "reason_until": row.reason_until, "reason_ends_with": row.reason_task or row.reason_event,
        "in_doubt": row.in_doubt, "nonpayment_reason": row.nonpayment_reason,
    }  # fmt: skip


def debts_shown(case: Case) -> list[dict[str, Any]]:
    """Return the debts of a case."""
    return [
        {
            "loan_id": debt.loan_id, "owed": debt.owed, "overdue": debt.overdue, "past_due_days_from": debt.past_due_from,
            "next_due_on": debt.next_due_on, "timezone": debt.timezone, "fact_epoch": debt.epoch, "fact_version": debt.version,
            "in_doubt": debt.doubted, "resting_until": debt.resting_until, "product": debt.product, "segments": sorted(debt.segments),
        }
        for debt in case.debts
    ]  # fmt: skip


def promises_shown(case: Case) -> list[dict[str, Any]]:
    """Return the promises of this spell, and what became of them."""
    return [
        {"promise_id": one.promise_id, "amount": one.amount, "due_on": one.due_on, "state": one.state, "paid": one.paid}
        for one in case.promises
    ]


def stops_shown(case: Case) -> list[dict[str, Any]]:
    """Return what pauses contacts, now or later."""
    return [
        {"stop": one.kind, "loan_id": one.loan_id, "channel": one.channel, "from": one.from_at, "until": one.until} for one in case.stops
    ]


def steps_shown(case: Case, policy: Policy, now: datetime) -> list[dict[str, Any]]:
    """Return the steps about overdue debts in policy order: what became of each, or what it waits for."""
    return [_step_shown(case, step, now) for step in policy.steps if step.day >= 0]


def _step_shown(case: Case, step: Step, now: datetime) -> dict[str, Any]:
    lead, want = ready(case, step, case.owed), wanting(case, step)
    asked = next((e for e in case.errands if want is not None and e.key == asking_key(want, step.id) and e.done_at is None), None)
    decided = next((one for one in case.approvals if one.step == step.id), None)
    return {
        "step": step.id, "ready_at": lead[0] if lead else None, "state": _state_of(case, step, now),
        "after": None if step.after is None else {"step": step.after.step, "days": step.after.days, "at": told_at(case, step.after.step)},
        "wants": want, "missing": missing(case, step), "task_id": asked.task_id if asked else None,
        "decision": None if decided is None else {"approved": decided.approved, "by": decided.by, "at": decided.at},
    }  # fmt: skip


def _state_of(case: Case, step: Step, now: datetime) -> str:
    """Return `done`, `rejected`, `condition` (not met now), `waits` (for people), or by its day `coming` or `due`."""
    given = any(errand.key == step.id for errand in case.errands)
    if given or step.id in case.acted | case.flagged or case.said(step.id, None):
        return "done"
    if rejected(case, step):
        return "rejected"
    if not step.holds(case):
        return "condition"
    if (lead := ready(case, step, case.owed)) is None or lead[0] > now:
        return "coming"
    return "due" if wanting(case, step) is None else "waits"


@dataclass(frozen=True, slots=True)
class Law:
    """What the gate is told about the borrower, the rules, and the tenant's settings for them."""

    known: Known
    packs: Packs
    judged: HouseSettings


def next_contact(held: Held, rules: Rules, law: Law, now: datetime) -> Mapping[str, Any]:
    """Return the next contact's moment and the first lawful one in its window, or why there is none and what ends that."""
    at = held.moment(now)
    if held.in_doubt is not None:
        return _answer(None, None, "in_doubt", ends_with=held.reason_task)
    try:
        found = followed(held.case, rules.pinned(held), rules.choices_of(held.case.tenant), at)
        if found is None:
            return _answer(None, None, "in_doubt")
        return _next(found, held, law, at)
    except Exception:  # noqa: BLE001  # the ticker will park it; whatever the rule raised, the case is in doubt
        return _answer(None, None, "in_doubt")


def _next(found: Followed, held: Held, law: Law, at: datetime) -> Mapping[str, Any]:
    case, planned = found.case, found.planned(at)
    under_way = [contact for contact in case.contacts if contact.state in PENDING and contact.expires_at > at]
    if under_way and (waiting := case.without_profile) is not None:
        return _answer(None, waiting.step, planned.reason.kind, until=waiting.expires_at, ends_with=planned.reason.errand)
    if under_way:
        last = max(under_way, key=lambda contact: contact.requested_at)
        return _answer(max(last.until or at, at), last.step, last.state.value, until=last.expires_at)
    return _planned(planned, held, lambda step, coming: _lawful(found, law, step, coming), at)


Lawful = Callable[[str, Upcoming], Mapping[str, Any] | None]


def _planned(planned: Plan, held: Held, lawful: Lawful, now: datetime) -> Mapping[str, Any]:
    due = next((due for due in planned.due if isinstance(due, ContactDue)), None)
    if due is not None:
        at = held.woken(now) or now
        coming = Upcoming(at, due.step.id, due.debts, due.expires_at)
        return _answer(at, due.step.id, "settling" if at > now else "due", until=at) | {"lawful": lawful(due.step.id, coming)}
    if (upcoming := planned.upcoming) is not None:
        shown = _answer(upcoming.at, upcoming.step, planned.reason.kind, until=planned.reason.until)
        return shown | {"lawful": lawful(upcoming.step, upcoming)}
    reason = planned.reason
    return _answer(None, None, reason.kind, until=reason.until, ends_with=reason.errand or reason.event)


def _lawful(found: Followed, law: Law, step_id: str, coming: Upcoming) -> Mapping[str, Any] | None:
    """Return the first moment in a window at which the gate allows a contact; None if the borrower has no profile."""
    step = next(step for step in found.policy.steps if step.id == step_id)
    if not isinstance(step.action, Send) or not law.known.reach.known:
        return None
    prior, house = law.known.prior, law.judged.house
    wish = Wish(step.action, coming.debts, law.known.reach, found.case.stops, prior, dunned=dunned(prior), house=house)
    opening, first = earliest(wish, law.packs, coming.at, coming.closes)
    at, channel = opening or (None, None)
    return {"at": at, "channel": channel, **_answered(first, coming.closes), "settings_unknown": law.judged.unknown}


def _answered(first: Answer, closes: datetime) -> dict[str, Any]:
    match first:
        case NoWay(reason):
            return {"reason": reason, "until": None, "rules": []}
        case May():
            return {"reason": None, "until": closes, "rules": _rules(first.denied)}
        case Later(until, reason, denied):
            return {"reason": reason, "until": until, "rules": _rules(denied)}
        case Never(reason, denied):
            return {"reason": reason, "until": None, "rules": _rules(denied)}
        case _:
            assert_never(first)


def _rules(denied: Sequence[Denied]) -> list[dict[str, Any]]:
    """Return the rules that deny channels at the planned moment."""
    return [
        {"channel": one.channel, "rule": rule.rule, "nature": rule.nature.value, "cite": rule.cite, "until": rule.until}
        for one in denied
        for rule in one.rules
    ]


def _answer(
    at: datetime | None, step: str | None, reason: str, *, until: datetime | None = None, ends_with: str | None = None
) -> dict[str, Any]:
    return {"at": at, "step": step, "reason": reason, "until": until, "ends_with": ends_with, "lawful": None}
