"""Cases moving through a simulation, and which of them each debt is in: what the store does when facts and policies change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from libs.common.value import replace
from services.scheduler.domain.as_written import with_debt
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Case, Contact, Debt, Stage, State
from services.scheduler.domain.choosing import Choices
from services.scheduler.domain.planner import Plan
from services.scheduler.domain.policy import Policy, Send
from services.scheduler.domain.subjects import Begun, Given, Rule, Subject


@dataclass(slots=True)
class Wanted:
    """A contact under way: what it sends, about which debts, and the channels already used."""

    send: Send
    loans: frozenset[str]
    spent: frozenset[str] = frozenset()


@dataclass(slots=True)
class Track:
    """A case during a simulation."""

    begun: Begun
    case: Case
    policy: Policy | None
    next_at: datetime | None = None
    rests_until: datetime | None = None
    plan: Plan | None = None
    wanted: dict[str, Wanted] = field(default_factory=dict)
    word: str | None = None
    """Why the last contact that did not go out did not."""


def begun(subject: Subject, rule: Rule) -> list[Track]:
    """Return the cases of a borrower at the start under these rules, each debt in the case that holds it."""
    tracks = [Track(one, one.case, rule.version(one.policy)) for one in subject.cases]
    for i, track in enumerate([*tracks] if not subject.told else ()):
        for debt in track.case.debts if track.begun.in_doubt is None else ():
            housed(tracks, i, debt, rule.choices)
    return tracks


def housed(tracks: list[Track], i: int, debt: Debt, choices: Choices) -> int:
    """Return which case a debt belongs to from now on: its current one as long as that holds it, else the one its policy asks for."""
    here = tracks[i].case
    wished = choices.loan_of_case(debt, here.borrower_id)
    if wished == here.loan_id or here.holds(debt):
        return i
    tracks[i].case = replace(here, debts=tuple(one for one in here.debts if one.loan_id != debt.loan_id))
    found = (n for n, track in enumerate(tracks) if (track.case.currency, track.case.loan_id) == (here.currency, wished))
    if (j := next(found, None)) is None:
        j = len(tracks)
        new = _unopened(here, wished)
        tracks.append(Track(Begun(new, (BUILT_IN.name, BUILT_IN.version)), new, None))
    tracks[j].case = with_debt(tracks[j].case, debt)
    return j


def regrouped(subject: Subject, choices: Choices) -> Subject:
    """Return a past borrower with each debt in the case these choices ask for, and what was sent about it in any case."""
    if not subject.told:
        return subject
    last = {one.debt.loan_id: one for one in subject.told}
    wished = {loan: choices.loan_of_case(one.debt, subject.borrower_id) for loan, one in last.items()}
    own = {one.case.loan_id: one for one in subject.cases if one.case.loan_id}
    groups: dict[tuple[int, str], list[str]] = {}
    for loan, one in last.items():
        groups.setdefault((one.case, wished[loan]), []).append(loan)
    places = {group: n for n, group in enumerate(groups)}
    cases = [_with_history(subject.cases[i], loan, [own[one] for one in loans if one in own]) for (i, loan), loans in groups.items()]
    told = tuple(dataclasses.replace(one, case=places[one.case, wished[one.debt.loan_id]]) for one in subject.told)
    return dataclasses.replace(subject, cases=tuple(cases), told=told)


def _with_history(whole: Begun, loan_id: str, own: list[Begun]) -> Begun:
    """Return the borrower's case, or a loan's, with the contacts and tasks of both."""
    case = whole.case if not loan_id else _unopened(whole.case, loan_id)
    contacts = _once(contact for one in (whole, *own) for contact in one.case.contacts)
    given: tuple[Given, ...] = tuple(one for case_before in (whole, *own) for one in case_before.given)
    return dataclasses.replace(whole, case=replace(case, contacts=contacts, stops=whole.case.stops), given=given)


def _once(contacts: Iterable[Contact]) -> tuple[Contact, ...]:
    return tuple({contact.task_id: contact for contact in contacts}.values())


def _unopened(of: Case, loan_id: str) -> Case:
    """Return a new case of the same borrower, in which nothing has happened yet."""
    case_id = f"{of.borrower_id}/{of.currency}/{loan_id}"
    return Case(
        of.tenant, of.borrower_id, case_id, of.currency, 0, State.CLOSED, Stage.CLEAR, opened_at=None, clear_since=None, stops=of.stops,
        loan_id=loan_id, segment=of.segment,
    )  # fmt: skip
