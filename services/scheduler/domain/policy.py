"""What a policy is: immutable steps on given days, which send messages, give work to people, or act in other ways."""

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
"""Work in this queue is for lawyers: it is announced as `case.legal_requested`."""
DOSSIER = "dossier"
"""The case's own dossier as a document, sealed while complete."""


class Clock(StrEnum):
    """Which days a step counts: excluding grace and pauses, or plain days since the due date."""

    DELINQUENT = "day"
    PAST_DUE = "day_past_due"


class OnUnknown(StrEnum):
    """What to do when nobody can tell whether a message went out."""

    HOLD = "hold"
    NEXT_CHANNEL = "next_channel"


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message; channels in order of preference."""

    template: str
    channels: tuple[str, ...]
    purpose: str = "dunning"
    fallback_after: timedelta | None = None
    on_unknown: OnUnknown = OnUnknown.HOLD


USUAL_PRIORITY = 50


@dataclass(frozen=True, slots=True)
class Work:
    """Give a task to a person; once completed, it is given again after a while as long as money is owed (None: never)."""

    queue: str
    kind: str
    within: timedelta
    again_after: timedelta | None
    priority: int = USUAL_PRIORITY
    """0 to 100: higher comes first among a queue's open tasks."""
    script: str | None = None
    """What the person should say or do."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Flag the case and announce it; once in a spell."""

    name: str


@dataclass(frozen=True, slots=True)
class Emit:
    """Tell others to act, once in a spell; `event` is the event type without `case.`."""

    event: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """Hand the case over to somebody else: our own contacts pause until it is taken back."""

    to: str


Action = Send | Work | Flag | Emit | HandOver | Terms


class Entry(StrEnum):
    """With which message a case starts when it enters late."""

    LATEST = "latest"
    FIRST = "first"


@dataclass(frozen=True, slots=True)
class After:
    """This many whole days after a message of that step was accepted or delivered."""

    step: str
    days: int


@dataclass(frozen=True, slots=True)
class ApprovalRule:
    """Which queue is asked to approve, by when, and whether the approver must differ from whoever attached the evidence."""

    queue: str = "review"
    within: timedelta = timedelta(days=2)
    another_person: bool = True


@dataclass(frozen=True, slots=True)
class Needs:
    """What people must supply before a step is done."""

    approval: ApprovalRule | None = None
    documents: tuple[str, ...] = ()


NOTHING_NEEDED = Needs()


class Condition(Protocol):
    """A condition for a step; it can be evaluated for every case."""

    @property
    def source(self) -> str:
        """Return the condition as written."""

    def holds(self, case: Case) -> bool:
        """Return whether it holds for this case now."""


@dataclass(frozen=True, slots=True)
class Step:
    """What happens on a day; negative days count back from the next due date. `between` are local hours, None the whole day."""

    id: str
    day: int
    action: Action
    between: str | None = None
    clock: Clock = Clock.DELINQUENT
    flag: str | None = None
    """Raised along with work or a message."""
    when: Condition | None = None
    after: After | None = None
    needs: Needs = NOTHING_NEEDED
    offer: Terms | None = None
    """Made along with work, a flag or a message."""

    @property
    def escalates(self) -> bool:
        """Return whether it is graver than a message or a call: such steps wait while an offer is open."""
        legal = isinstance(self.action, Work) and self.action.queue == LEGAL_QUEUE
        return legal or self.needs != NOTHING_NEEDED or isinstance(self.action, (Emit, HandOver))

    @property
    def is_unconditional(self) -> bool:
        """Return whether it happens for every case, by time alone."""
        return self.when is None and self.after is None and self.needs == NOTHING_NEEDED

    def holds(self, case: Case) -> bool:
        """Return whether its condition is met."""
        return self.when is None or self.when.holds(case)


class Consolidate(StrEnum):
    """What a case holds: all debts of a borrower in one currency, or one loan."""

    BORROWER = "borrower"
    LOAN = "loan"


@dataclass(frozen=True, slots=True)
class AppliesTo:
    """Which debts a policy is meant for; empty fields match everything."""

    products: frozenset[str] = frozenset()
    jurisdictions: frozenset[str] = frozenset()
    segments: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Settled:
    """A condition that has been evaluated."""

    source: str
    answer: bool

    def holds(self, _: Case) -> bool:
        """Return the answer."""
        return self.answer


ENDING_AFTER = 7
ENDING = Work("review", "ladder_ended", within=timedelta(days=2), again_after=timedelta(days=14))
"""Added, this many days after the last message, to a ladder that does not surely give a person work: nobody is forgotten."""
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
        """Return the policy with its conditions evaluated for this case, each once."""
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
        """Return the policy for each set of answers seen so far: thousands of cases give the same few sets."""
        return {}

    @cached_property
    def reminders(self) -> tuple[Step, ...]:
        """Return the steps before the due date, by day."""
        return tuple(sorted((s for s in self.steps if s.day < 0 and isinstance(s.action, Send)), key=lambda step: step.day))

    @cached_property
    def messages(self) -> tuple[Step, ...]:
        """Return the messages about what is overdue, by day."""
        return tuple(sorted((s for s in self.steps if s.day >= 0 and isinstance(s.action, Send)), key=lambda step: step.day))

    @cached_property
    def errands(self) -> tuple[Step, ...]:
        """Return the steps that give work to a person; at least one of them depends on nothing but its day."""
        found = tuple(step for step in self.steps if isinstance(step.action, Work))
        if any(step.is_unconditional for step in found):
            return found
        return (*found, Step(ENDING_ID, max((step.day for step in self.messages), default=0) + ENDING_AFTER, ENDING))

    @cached_property
    def flags(self) -> tuple[Step, ...]:
        """Return the steps that flag the case."""
        return tuple(step for step in self.steps if step.flag is not None or isinstance(step.action, Flag))

    @cached_property
    def acts(self) -> tuple[Step, ...]:
        """Return the steps that notify others, hand the case over, or make an offer no message carries."""
        return tuple(
            step for step in self.steps
            if isinstance(step.action, (Emit, HandOver, Terms)) or (step.offer is not None and not isinstance(step.action, Send))
        )  # fmt: skip

    @cached_property
    def never_skipped(self) -> frozenset[str]:
        """Return the messages that are caught up on whatever comes later: notices, and those other steps wait for."""
        notices = {step.id for step in self.messages if isinstance(step.action, Send) and step.action.purpose == "notice"}
        return frozenset(notices | {step.after.step for step in self.steps if step.after is not None})

    @cached_property
    def limits(self) -> tuple[Terms, ...]:
        """Return what may be offered under this policy without a second person."""
        return tuple(t for step in self.steps for t in (step.offer, step.action) if isinstance(t, Terms))
