"""Which debts of a request a message may still name: the check that keeps a payment from being dunned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from libs.common.contracts.contact_tasks import ContactRequested, DebtRef
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.value import Value
from libs.compliance import STOPS, StopKind

ENDED = frozenset({"closed", "written_off"})
NEEDS_DEBT = frozenset({"reminder", "dunning"})
SAID_IN_DOUBT = frozenset(purpose.value for purpose in STOPS[StopKind.IN_DOUBT].passes)
"""What may be said of a debt while an event about it is parked."""


def needs_debt(request: ContactRequested) -> bool:
    """Tell whether a contact is about debts, so that there is none where nothing of them is owed."""
    return request.purpose in NEEDS_DEBT or (request.purpose == "notice" and bool(request.debts))


class Owed(Value, frozen=True):
    """The debts to name now, and why others of the request are not: in doubt, or resting until a moment."""

    debts: tuple[OverdueFact, ...]
    in_doubt: tuple[OverdueFact, ...] = ()
    resting: tuple[OverdueFact, ...] = ()


def behind(request: ContactRequested, facts: Mapping[str, OverdueFact]) -> bool:
    """Tell whether a fact that the request was made on has not arrived yet."""
    return any((fact := facts.get(debt.loan_id)) is None or fact.order < _seen(debt) for debt in request.debts)


def still_owed(request: ContactRequested, facts: Mapping[str, OverdueFact], now: datetime) -> Owed:
    """Return what of the request is owed at this moment by the newest facts."""
    named = [(debt, fact) for debt in request.debts if (fact := facts.get(debt.loan_id)) is not None]
    cured = [fact for debt, fact in named if request.purpose == "notice" and _cured_since(debt, fact)]
    owed = [fact for _, fact in named if is_owed(fact, request.purpose, now) and fact not in cured]
    if request.purpose in SAID_IN_DOUBT:
        return Owed(tuple(owed))
    sure = [fact for fact in owed if fact.doubt is None]
    doubtful = tuple(fact for fact in owed if fact.doubt is not None)
    if request.purpose not in NEEDS_DEBT:
        return Owed(tuple(sure), doubtful)
    resting = tuple(fact for fact in sure if fact.resting_until is not None and fact.resting_until > now)
    return Owed(tuple(fact for fact in sure if fact not in resting), doubtful, resting)


def is_owed(fact: OverdueFact, purpose: str, now: datetime) -> bool:
    """Tell whether a contact of this purpose has a reason in this debt: overdue, or for a reminder open and not yet due."""
    if fact.status in ENDED:
        return False
    match purpose:
        case "dunning":
            return fact.overdue.total > 0
        case "reminder":
            return fact.overdue.total == 0 and fact.next_due is not None and _open(fact.next_due.total, fact.next_due.due_on, fact, now)
        case _:
            return True


def local_date(fact: OverdueFact, now: datetime) -> date:
    """Return the day it is in the loan's zone."""
    return now.astimezone(ZoneInfo(fact.timezone)).date()


def none_left(request: ContactRequested, facts: Mapping[str, OverdueFact]) -> str:
    """Return the word for a request of which nothing is owed any more."""
    named: Sequence[OverdueFact] = [fact for debt in request.debts if (fact := facts.get(debt.loan_id)) is not None]
    if request.purpose == "reminder" and any(fact.overdue.total > 0 for fact in named):
        return "overdue"
    return "paid"


def _seen(debt: DebtRef) -> tuple[int, int, date]:
    """Return the order of the fact that was seen when a contact was asked for."""
    return debt.fact_epoch, debt.fact_version, debt.fact_as_of or date.min


def _cured_since(debt: DebtRef, fact: OverdueFact) -> bool:
    """Tell whether a debt is late no more about which a notice was asked for, by an event or by time alone: late it was then.

    A person who asks for one names no version, and may do so of any debt.
    """
    return debt.fact_version > 0 and fact.overdue.total == 0


def _open(total: int, due_on: date, fact: OverdueFact, now: datetime) -> bool:
    return total > 0 and due_on >= local_date(fact, now)
