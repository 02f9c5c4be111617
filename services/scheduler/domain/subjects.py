"""What a simulation begins with: a borrower as the book has him, the policies that rule, and the time that passes."""

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
    """Which policies rule: the tenant's choices, and every version that a case may be pinned to."""

    choices: Choices
    versions: Mapping[tuple[str, int], Policy] = field(default_factory=dict)
    takes_over: str | None = None
    """A policy that also takes the spells that run on debts which fall to it, as if they had come in late."""

    def version(self, pinned: tuple[str, int]) -> Policy | None:
        """Return a version, or None where it cannot be read."""
        return BUILT_IN if pinned == (BUILT_IN.name, BUILT_IN.version) else self.versions.get(pinned)

    def at_first(self, case: Case, pinned: tuple[str, int]) -> tuple[Case, Policy | None]:
        """Return a case and the version under which it goes on."""
        if not case.owed or self.takes_over is None:
            return case, self.version(pinned)
        chosen, trial = self.choices.dealt(case.owed, case.borrower_id)
        if (chosen.name if trial is None else trial.policy) == self.takes_over:
            return replace(case, passed=frozenset(), trial=trial), chosen
        return case, self.version(pinned)


@dataclass(frozen=True, slots=True)
class Given:
    """A task that was given to a person in the past."""

    at: datetime
    errand: Errand


@dataclass(frozen=True, slots=True)
class Begun:
    """A case as it is found; `given` are the tasks of its past, in whatever spell."""

    case: Case
    policy: tuple[str, int]
    looks_at: datetime | None = None
    in_doubt: str | None = None
    given: tuple[Given, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """A fact of the past: of which case, and when it was known."""

    at: datetime
    case: int
    debt: Debt


@dataclass(frozen=True, slots=True)
class Subject:
    """A borrower with all cases, what the gate is told, and facts of the past in the order in which they were known."""

    tenant: str
    borrower_id: str
    cases: tuple[Begun, ...]
    reach: Reach = field(default_factory=Reach)
    prior: tuple[Prior, ...] = ()
    told: tuple[Told, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """The time that passes, the rules of the gate, and how borrowers behave; None where the past says it."""

    from_at: datetime
    to: datetime
    packs: Packs
    behaviour: Behaviour | None
    settle: timedelta = timedelta(seconds=2)
    house: House = AS_NOTHING_IS_SET


@dataclass(frozen=True, slots=True)
class Look:
    """Plan the case, unless it has another moment by now; a `woken` one is planned in any event."""

    case: int
    woken: bool = False


@dataclass(frozen=True, slots=True)
class Try:
    """Put a contact to the gate."""

    case: int
    task_id: str


@dataclass(frozen=True, slots=True)
class Hear:
    """A fact is known."""

    case: int
    debt: Debt


@dataclass(frozen=True, slots=True)
class Pay:
    """Everything late is paid, or what comes due on a day; by a borrower still in this spell."""

    case: int
    because: str
    spell: int
    step: str | None = None
    about: date | None = None


@dataclass(frozen=True, slots=True)
class ComeDue:
    """An instalment has come due and was not paid."""

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
"""At one moment what is known comes before what is decided on it."""
