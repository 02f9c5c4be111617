"""What a case, its next contact and a policy look like over HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping

from services.scheduler.domain.case import PENDING, Case, follow
from services.scheduler.domain.choosing import ruled
from services.scheduler.domain.escalating import asking_key
from services.scheduler.domain.planner import ContactDue, Plan, plan
from services.scheduler.domain.policy import Policy, Step
from services.scheduler.domain.standing import missing, ready, rejected, told_at, wanting
from services.scheduler.rulebook import Rules
from services.scheduler.store.held import Held


def case_shown(row: RowMapping) -> dict[str, Any]:
    """Return a case as a list of cases has it."""
    return {
        "case_id": row.case_id, "borrower_id": row.borrower_id, "currency": row.currency, "assignment": row.assignment,
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
            "in_doubt": debt.doubted, "resting_until": debt.resting_until,
        }
        for debt in case.debts
    ]  # fmt: skip


def promises_shown(case: Case) -> list[dict[str, Any]]:
    """Return what was promised in this spell, and what has come of it."""
    return [
        {"promise_id": one.promise_id, "amount": one.amount, "due_on": one.due_on, "state": one.state, "paid": one.paid}
        for one in case.promises
    ]


def stops_shown(case: Case) -> list[dict[str, Any]]:
    """Return what lets contacts rest, now or later."""
    return [
        {"stop": one.kind, "loan_id": one.loan_id, "channel": one.channel, "from": one.from_at, "until": one.until} for one in case.stops
    ]


def steps_shown(case: Case, policy: Policy, now: datetime) -> list[dict[str, Any]]:
    """Return the steps about what is late, in the order of the policy: what became of each, or what it waits for."""
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
    """Return `done`, `rejected`, `condition` (not met now), `waits` (for people), or `coming` and `due` by its day."""
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


def next_contact(held: Held, rules: Rules, now: datetime) -> Mapping[str, Any]:
    """Return the next moment of a contact, or why there is none and what ends that."""
    at = held.moment(now)
    if held.in_doubt is not None:
        return _answer(None, None, "in_doubt", ends_with=held.reason_task)
    try:
        case, policy = ruled(held.case, rules.pinned(held), rules.choices_of(held.case.tenant), at)
        if policy is None:
            return _answer(None, None, "in_doubt")
        case, _ = follow(case, policy, at)
        planned = plan(case, policy, at)
    except Exception:  # noqa: BLE001  # the ticker will park it; whatever the rule raised, the answer is that it is in doubt
        return _answer(None, None, "in_doubt")
    under_way = [contact for contact in case.contacts if contact.state in PENDING and contact.expires_at > at]
    if under_way and (waiting := case.faceless) is not None:
        return _answer(None, waiting.step, planned.reason.kind, until=waiting.expires_at, ends_with=planned.reason.errand)
    if under_way:
        last = max(under_way, key=lambda contact: contact.requested_at)
        return _answer(max(last.until or at, at), last.step, last.state.value, until=last.expires_at)
    return _planned(planned, held, at)


def _planned(planned: Plan, held: Held, now: datetime) -> Mapping[str, Any]:
    due = next((due for due in planned.due if isinstance(due, ContactDue)), None)
    if due is not None:
        at = held.woken(now) or now
        return _answer(at, due.step.id, "settling" if at > now else "due", until=at)
    if planned.upcoming is not None:
        return _answer(planned.upcoming.at, planned.upcoming.step, planned.reason.kind, until=planned.reason.until)
    reason = planned.reason
    return _answer(None, None, reason.kind, until=reason.until, ends_with=reason.errand or reason.event)


def _answer(
    at: datetime | None, step: str | None, reason: str, *, until: datetime | None = None, ends_with: str | None = None
) -> Mapping[str, Any]:
    return {"at": at, "step": step, "reason": reason, "until": until, "ends_with": ends_with}
