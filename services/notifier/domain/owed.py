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
"""Purposes that are allowed while an event about the debt is parked."""


def needs_debt(request: ContactRequested) -> bool:
    """Return whether a contact is about debts, and so has no reason if none of them is owed."""
    return request.purpose in NEEDS_DEBT or (request.purpose == "notice" and bool(request.debts))


class Owed(Value, frozen=True):
    """The debts to name now, and those of the request left out: in doubt, or resting for a while."""

    debts: tuple[OverdueFact, ...]
    in_doubt: tuple[OverdueFact, ...] = ()
    resting: tuple[OverdueFact, ...] = ()


def behind(request: ContactRequested, facts: Mapping[str, OverdueFact]) -> bool:
    """Return whether a fact the request was based on has not arrived yet."""
    return any((fact := facts.get(debt.loan_id)) is None or fact.order < _seen(debt) for debt in request.debts)


def still_owed(request: ContactRequested, facts: Mapping[str, OverdueFact], now: datetime) -> Owed:
    """Return what of the request is owed now, by the newest facts."""
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
    """Return whether this debt justifies a contact of this purpose: overdue, or, for a reminder, open and not yet due."""
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
    """Return today's date in the loan's zone."""
    return now.astimezone(ZoneInfo(fact.timezone)).date()


def none_left(request: ContactRequested, facts: Mapping[str, OverdueFact]) -> str:
    """Return why nothing of a request is owed any more."""
    named: Sequence[OverdueFact] = [fact for debt in request.debts if (fact := facts.get(debt.loan_id)) is not None]
    if request.purpose == "reminder" and any(fact.overdue.total > 0 for fact in named):
        return "overdue"
    return "paid"


def _seen(debt: DebtRef) -> tuple[int, int, date]:
    """Return the version of the fact on which a contact was requested."""
    return debt.fact_epoch, debt.fact_version, debt.fact_as_of or date.min


def _cured_since(debt: DebtRef, fact: OverdueFact) -> bool:
    """Return whether a debt has been cured, by an event or by time alone, since a notice about it was requested while it was late.

    A person who requests a notice names no version, and may do so for any debt.
    """
    return debt.fact_version > 0 and fact.overdue.total == 0


def _open(total: int, due_on: date, fact: OverdueFact, now: datetime) -> bool:
    return total > 0 and due_on >= local_date(fact, now)
