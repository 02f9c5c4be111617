"""What a policy is: immutable steps on days, some of which say something and some of which give work to a person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from services.scheduler.domain.trials import Experiment

if TYPE_CHECKING:
    from services.scheduler.domain.case import Case


class Clock(StrEnum):
    """Which days a step counts: without grace and pauses, or plain ones since the due date."""

    DELINQUENT = "day"
    PAST_DUE = "day_past_due"


class OnUnknown(StrEnum):
    """What is done when nobody can tell whether a message went out."""

    HOLD = "hold"
    NEXT_CHANNEL = "next_channel"


@dataclass(frozen=True, slots=True)
class Send:
    """Say something: channels in order of preference."""

    template: str
    channels: tuple[str, ...]
    purpose: str = "dunning"
    fallback_after: timedelta | None = None
    on_unknown: OnUnknown = OnUnknown.HOLD


@dataclass(frozen=True, slots=True)
class Work:
    """Give a task to a person; once completed it is given again after a while, as long as money is owed (None: never)."""

    queue: str
    kind: str
    within: timedelta
    again_after: timedelta | None


@dataclass(frozen=True, slots=True)
class Flag:
    """Mark the case, and say so to whoever listens; once in a spell."""

    name: str


Action = Send | Work | Flag


class Condition(Protocol):
    """What must be so for a step; it can be asked of every case."""

    @property
    def source(self) -> str:
        """Return it as it was written."""

    def holds(self, case: Case) -> bool:
        """Say whether it is so for this case now."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happens on a day; a negative day counts to the next due date. `between` are local hours, None the whole day."""

    id: str
    day: int
    action: Action
    between: str | None = None
    clock: Clock = Clock.DELINQUENT
    flag: str | None = None
    """Raised together with work or a message."""
    when: Condition | None = None

    def holds(self, case: Case) -> bool:
        """Say whether its condition is met."""
        return self.when is None or self.when.holds(case)


@dataclass(frozen=True, slots=True)
class AppliesTo:
    """Which debts a policy is meant for; what is empty does not matter."""

    products: frozenset[str] = frozenset()
    jurisdictions: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Settled:
    """A condition whose answer is known."""

    source: str
    answer: bool

    def holds(self, _: Case) -> bool:
        """Return the answer."""
        return self.answer


ENDING_AFTER = 7
ENDING = Work("review", "ladder_ended", within=timedelta(days=2), again_after=timedelta(days=14))
"""A ladder that surely gives no work to a person ends in this one, so many days after its last message: nobody is forgotten."""
ENDING_ID = "~ended"
"""No step of a document can have this id."""


@dataclass(frozen=True)
class Policy:
    """One version of a policy."""

    name: str
    version: int
    steps: tuple[Step, ...]
    cool_down: timedelta
    applies_to: AppliesTo = AppliesTo()
    experiment: Experiment | None = None

    def __post_init__(self) -> None:
        if len({step.id for step in self.steps}) != len(self.steps):
            raise ValueError(f"two steps of {self.name} have the same id")

    def settled(self, case: Case) -> Policy:
        """Return the policy with its conditions asked of this case, each once."""
        if all(step.when is None for step in self.steps):
            return self
        asked = (s if s.when is None else replace(s, when=Settled(s.when.source, s.when.holds(case))) for s in self.steps)
        return replace(self, steps=tuple(asked))

    @cached_property
    def reminders(self) -> tuple[Step, ...]:
        """Return the steps before the due date, by day."""
        return tuple(sorted((s for s in self.steps if s.day < 0 and isinstance(s.action, Send)), key=lambda step: step.day))

    @cached_property
    def messages(self) -> tuple[Step, ...]:
        """Return the steps that say something about what is overdue, by day."""
        return tuple(sorted((s for s in self.steps if s.day >= 0 and isinstance(s.action, Send)), key=lambda step: step.day))

    @cached_property
    def errands(self) -> tuple[Step, ...]:
        """Return the steps that give work to a person; there is always one without a condition."""
        found = tuple(step for step in self.steps if isinstance(step.action, Work))
        if any(step.when is None for step in found):
            return found
        return (*found, Step(ENDING_ID, max((step.day for step in self.messages), default=0) + ENDING_AFTER, ENDING))

    @cached_property
    def flags(self) -> tuple[Step, ...]:
        """Return the steps that mark the case."""
        return tuple(step for step in self.steps if step.flag is not None or isinstance(step.action, Flag))
