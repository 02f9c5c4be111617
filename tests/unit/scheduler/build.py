"""Cases for the planner's tests."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from libs.common.value import replace
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Case, Contact, ContactState, Debt, Errand, Stage, State, follow
from services.scheduler.domain.escalating import EmitDue, HandOverDue, OfferDue, having_done
from services.scheduler.domain.planner import ContactDue, ErrandDue, FlagDue, Plan, plan

ZONE = "Asia/Shanghai"
DUE = date(2026, 11, 1)
NO_TIME = timedelta()


def debt(loan_id: str = "L1", *, due_on: date = DUE, zone: str = ZONE, **other: Any) -> Debt:
    given = {"epoch": 1, "version": 1, "jurisdictions": ("ZZ",), "active": True, "overdue": 12050, "past_due_from": due_on}
    return Debt(loan_id=loan_id, timezone=zone, **{**given, **other})


def coming(loan_id: str = "L1", *, next_due_on: date = DUE, zone: str = ZONE, **other: Any) -> Debt:
    return debt(loan_id, zone=zone, overdue=0, past_due_from=None, next_due_on=next_due_on, next_due=500, **other)


def case(*debts: Debt, **other: Any) -> Case:
    """A new case, without a spell."""
    made = Case("default", "B1", "c1", "CNY", 0, State.CLOSED, Stage.CLEAR, None, None, debts=debts)
    return replace(made, **other)


def local(day: int, hour: int, minute: int = 0, *, zone_hours: int = 8) -> datetime:
    """A moment this many days after the due date; in Shanghai by default."""
    return datetime(DUE.year, DUE.month, DUE.day, hour, minute, tzinfo=UTC) + timedelta(days=day, hours=-zone_hours)


def live(one: Case, now: datetime) -> tuple[Case, Plan]:
    """Follow, plan, and do what is due, as the ticker does."""
    one, _ = follow(one, BUILT_IN, now)
    planned = plan(one, BUILT_IN, now)
    return doing(one, planned, now), planned


def doing(one: Case, planned: Plan, now: datetime) -> Case:
    """Do what is due."""
    for due in planned.due:
        match due:
            case ContactDue(step, about, occurrence, _, expires_at):
                task_id = f"{one.spell}/{step.id}/{about}/{occurrence}"
                contact = Contact(task_id, one.spell, step.id, about, occurrence, ContactState.REQUESTED, now, expires_at)
                one = replace(one, contacts=(*one.contacts, contact))
            case ErrandDue(key, occurrence, _):
                one = replace(one, errands=(*one.errands, Errand(f"{key}/{occurrence}", key, occurrence, None)))
            case FlagDue(name, _):
                one = replace(one, flagged=one.flagged | {name})
            case EmitDue() | HandOverDue() | OfferDue():
                one = having_done(one, due, now)
    return one


def asked(planned: Plan) -> list[str]:
    """The steps of the contacts that are due."""
    return [due.step.id for due in planned.due if isinstance(due, ContactDue)]


def with_last(one: Case, state: ContactState, reason: str | None = None) -> Case:
    """The case after its last contact had an outcome."""
    return replace(one, contacts=(*one.contacts[:-1], replace(one.contacts[-1], state=state, reason=reason)))
