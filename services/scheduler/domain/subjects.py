"""The input of a simulation: a borrower as recorded, the policies that apply, and the period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from libs.common.value import replace
from libs.compliance import Packs, Prior
from libs.compliance.house import House
from services.scheduler.domain.behaviour import Behaviour
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Case, Debt, Errand
from services.scheduler.domain.choosing import Choices
from services.scheduler.domain.lawful import AS_NOTHING_IS_SET, Reach
from services.scheduler.domain.policy import Policy


@dataclass(frozen=True, slots=True)
class Rule:
    """Which policies apply: the tenant's choices, and every version a case may be pinned to."""

    choices: Choices
    versions: Mapping[tuple[str, int], Policy] = field(default_factory=dict)
    takes_over: str | None = None
    """A policy that also takes over running spells on debts assigned to it, as if they had come in late."""

    def version(self, pinned: tuple[str, int]) -> Policy | None:
        """Return a version; None if it cannot be read."""
        return BUILT_IN if pinned == (BUILT_IN.name, BUILT_IN.version) else self.versions.get(pinned)

    def at_first(self, case: Case, pinned: tuple[str, int]) -> tuple[Case, Policy | None]:
        """Return a case and the version under which it continues."""
        if not case.owed or self.takes_over is None:
            return case, self.version(pinned)
        chosen, trial = self.choices.dealt(case.owed, case.borrower_id)
        if (chosen.name if trial is None else trial.policy) == self.takes_over:
            return replace(case, passed=frozenset(), trial=trial), chosen
        return case, self.version(pinned)


@dataclass(frozen=True, slots=True)
class Given:
    """A task given to a person in the past."""

    at: datetime
    errand: Errand


@dataclass(frozen=True, slots=True)
class Begun:
    """A case at the start; `given` are the tasks of its past, in any spell."""

    case: Case
    policy: tuple[str, int]
    looks_at: datetime | None = None
    in_doubt: str | None = None
    given: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A past fact: the case it belongs to, and when it was known."""

    at: datetime
    case: int
    debt: Debt


@dataclass(frozen=True, slots=True)
class Subject:
    """A borrower with all cases, what the gate is told, and past facts in the order in which they were known."""

    tenant: str
    borrower_id: str
    cases: tuple[Begun, ...]
    reach: Reach = field(default_factory=Reach)
    prior: tuple[Prior, ...] = ()
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """The period, the gate's rules, and how borrowers behave; None when the past says so."""

    from_at: datetime
    to: datetime
    packs: Packs
    behaviour: Behaviour | None
    settle: timedelta = timedelta(seconds=2)
    house: House = AS_NOTHING_IS_SET


@dataclass(frozen=True, slots=True)
class Look:
    """Plan the case, unless its next moment has changed since; a `woken` one is always planned."""

    case: int
    woken: bool = False


@dataclass(frozen=True, slots=True)
class Try:
    """Put a contact to the gate."""

    case: int
    task_id: str


@dataclass(frozen=True, slots=True)
class Hear:
    """A fact becomes known."""

    case: int
    debt: Debt


@dataclass(frozen=True, slots=True)
class Pay:
    """Everything overdue is paid, or what is due on a day, if the borrower is still in this spell."""

    case: int
    because: str
    spell: int
    step: str | None = None
    about: date | None = None


@dataclass(frozen=True, slots=True)
class ComeDue:
    """An instalment fell due and was not paid."""

    case: int
    loan_id: str
    on: date


@dataclass(frozen=True, slots=True)
class Complete:
    """A person has done a task."""

    case: int
    task_id: str


Action = Look | Try | Hear | Pay | ComeDue | Complete
ORDER: Mapping[type[Action], int] = {Hear: 0, Pay: 1, ComeDue: 2, Complete: 3, Look: 4, Try: 5}
"""At the same moment, what becomes known comes before what is decided on it."""
