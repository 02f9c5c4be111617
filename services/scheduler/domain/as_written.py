"""Applies to a simulated case what the store and the ledger would write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from libs.common.value import replace
from services.scheduler.domain.case import Case, Contact, Debt
from services.scheduler.domain.subjects import Given

BEFORE = -1
"""Stands for every spell before the simulated one; no real spell has this number."""


def is_about(debt: Debt, contact: Contact) -> bool:
    """Return whether a contact is still justified by a debt."""
    return debt.owed if contact.about is None else debt.next_due_on == contact.about and not debt.owed


def task_id_of(spell: int, step: str, about: date | None, occurrence: int) -> str:
    """Return the id of a contact within its case."""
    return f"{spell}/{step}/{about}/{occurrence}"


def named(case: Case) -> Case:
    """Give ids to new contacts and tasks, as the store does."""
    contacts = tuple(c if c.task_id else replace(c, task_id=task_id_of(c.spell, c.step, c.about, c.occurrence)) for c in case.contacts)
    errands = tuple(e if e.task_id else replace(e, task_id=f"{e.key}/{e.occurrence}") for e in case.errands)
    return replace(case, contacts=contacts, errands=errands)


def with_debt(case: Case, debt: Debt) -> Case:
    """Return a case with the newest fact of one of its debts; a debt that has ended leaves it."""
    others = [one for one in case.debts if one.loan_id != debt.loan_id]
    return replace(case, debts=tuple(sorted([*others, debt] if debt.active else others, key=lambda one: one.loan_id)))


def of_this_spell(case: Case, given: Sequence[Given]) -> Case:
    """Return a past case with the contacts and tasks of its spell; spells are renumbered, so times decide what belongs to it."""
    since = case.opened_at
    said = (replace(c, spell=case.spell if since is not None and c.requested_at >= since else BEFORE) for c in case.contacts)
    errands = (one.errand for one in given if since is not None and one.at >= since)
    return replace(case, contacts=tuple(said), errands=tuple(errands))


def come_due(debt: Debt) -> Debt:
    """Return a debt whose next instalment was not paid in time."""
    since = debt.past_due_from or debt.next_due_on
    return replace(debt, overdue=debt.overdue + debt.next_due, past_due_from=since, next_due=0, next_due_on=None)


def settled(debt: Debt) -> Debt:
    """Return a debt with everything overdue paid."""
    return replace(debt, overdue=0, past_due_from=None)
