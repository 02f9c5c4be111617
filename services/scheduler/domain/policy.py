"""What a policy is: immutable steps on days, some of which say something and some of which give work to a person."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from services.scheduler.domain.dealing import Terms
from services.scheduler.domain.promises import PROMISE_TERMS, PromiseTerms
from services.scheduler.domain.trials import Experiment

if TYPE_CHECKING:
    from services.scheduler.domain.case import Case

LEGAL_QUEUE = "legal"
"""Work in this queue is the lawyers': others hear of it as `case.legal_requested`."""
DOSSIER = "dossier"
"""The document that is the case's own dossier, sealed while it was complete."""


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


USUAL_PRIORITY = 50


@dataclass(frozen=True, slots=True)
class Work:
    """Give a task to a person; once completed it is given again after a while, as long as money is owed (None: never)."""

    queue: str
    kind: str
    within: timedelta
    again_after: timedelta | None
    priority: int = USUAL_PRIORITY
    """0 to 100: among the open tasks of a queue the higher one comes first."""
    script: str | None = None
    """What the person is to say or do."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Mark the case, and say so to whoever listens; once in a spell."""

    name: str


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell others to act, once in a spell; `event` is the type without `case.`."""

    event: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """Give the case to somebody else: our own contacts rest until it is taken back."""

    to: str


Action = Send | Work | Flag | Emit | HandOver | Terms


class Entry(StrEnum):
    """Where the messages of a case that comes in late begin."""

    LATEST = "latest"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class After:
    """So many whole days after a message of this step was taken over or delivered."""

    step: str
    days: int


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Where a person is asked to approve, by when, and whether it must be another one than who attached the evidence."""

    queue: str = "review"
    within: timedelta = timedelta(days=2)
    another_person: bool = True


@dataclass(frozen=True, slots=True)
class Needs:
    """What people must bring before a step is done."""

    approval: ApprovalRule | None = None
    documents: tuple[str, ...] = ()


NOTHING_NEEDED = Needs()


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
    after: After | None = None
    needs: Needs = NOTHING_NEEDED
    offer: Terms | None = None
    """Made together with work, a flag or a message."""

    @property
    def escalates(self) -> bool:
        """Say whether it is graver than a message or a call: it waits while an offer is open."""
        legal = isinstance(self.action, Work) and self.action.queue == LEGAL_QUEUE
        return legal or self.needs != NOTHING_NEEDED or isinstance(self.action, (Emit, HandOver))

    @property
    def is_unconditional(self) -> bool:
        """Say whether it comes whatever the case, by time alone."""
        return self.when is None and self.after is None and self.needs == NOTHING_NEEDED

    def holds(self, case: Case) -> bool:
        """Say whether its condition is met."""
        return self.when is None or self.when.holds(case)


class Consolidate(StrEnum):
    """What a case holds: all debts of a borrower in one currency, or one loan."""

    BORROWER = "borrower"
    LOAN = "loan"


@dataclass(frozen=True, slots=True)
class AppliesTo:
    """Which debts a policy is meant for; what is empty does not matter."""

    products: frozenset[str] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()


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
    promises: PromiseTerms = PROMISE_TERMS
    entry: Entry = Entry.LATEST
    experiment: Experiment | None = None
    consolidate: Consolidate = Consolidate.BORROWER

    def __post_init__(self) -> None:
        if len({step.id for step in self.steps}) != len(self.steps):
            raise ValueError(f"two steps of {self.name} have the same id")

    def settled(self, case: Case) -> Policy:
        """Return the policy with its conditions asked of this case, each once."""
        answers = tuple(when.holds(case) for when in self._conditions)
        if (found := self._settled.get(answers)) is None:
            found = self._settled[answers] = self._answered(answers) if answers else self
        return found

    def _answered(self, answers: tuple[bool, ...]) -> Policy:
        known = iter(answers)
        asked = (s if s.when is None else replace(s, when=Settled(s.when.source, next(known))) for s in self.steps)
        return replace(self, steps=tuple(asked))

    @cached_property
    def _conditions(self) -> tuple[Condition, ...]:
        return tuple(step.when for step in self.steps if step.when is not None)

    @cached_property
    def _settled(self) -> dict[tuple[bool, ...], Policy]:
        """Return what the policy is under each set of answers that was given so far: cases in their thousands give the same few."""
        return {}

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
        """Return the steps that give work to a person; there is always one that waits for nothing but its day."""
        found = tuple(step for step in self.steps if isinstance(step.action, Work))
        if any(step.is_unconditional for step in found):
            return found
        return (*found, Step(ENDING_ID, max((step.day for step in self.messages), default=0) + ENDING_AFTER, ENDING))

    @cached_property
    def flags(self) -> tuple[Step, ...]:
        """Return the steps that mark the case."""
        return tuple(step for step in self.steps if step.flag is not None or isinstance(step.action, Flag))

    @cached_property
    def acts(self) -> tuple[Step, ...]:
        """Return the steps that tell others, hand the case over, or make an offer that no message carries."""
        return tuple(
            step for step in self.steps
            if isinstance(step.action, (Emit, HandOver, Terms)) or (step.offer is not None and not isinstance(step.action, Send))
        )  # fmt: skip

    @cached_property
    def never_skipped(self) -> frozenset[str]:
        """Return the messages that are made up for, whatever comes later: notices, and those that other steps wait for."""
        notices = {step.id for step in self.messages if isinstance(step.action, Send) and step.action.purpose == "notice"}
        return frozenset(notices | {step.after.step for step in self.steps if step.after is not None})

    @cached_property
    def limits(self) -> tuple[Terms, ...]:
        """Return what may be offered under this policy without asking another person."""
        return tuple(t for step in self.steps for t in (step.offer, step.action) if isinstance(t, Terms))
