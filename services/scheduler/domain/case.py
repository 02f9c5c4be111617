"""A case: one borrower's debts in one currency, what was said about them, and what becomes of it when facts change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from enum import StrEnum

from libs.compliance import StopKind
from services.scheduler.domain.days import Span, begins, reaching
from services.scheduler.domain.policy import Clock, Policy, Step
from services.scheduler.domain.trials import Trial

CHANNEL_STOPS = frozenset({"opt_out"})
"""Stops that close a channel, which the gate judges; every other one lets neither dunning nor reminders pass."""
WITHOUT_GROUND = frozenset({"paid", "overdue", "nothing_owed", "cancelled"}) | {stop.value for stop in StopKind} - CHANNEL_STOPS
"""Reasons of a suppression that a later fact or the end of a stop may take away: the contact surely did not go out, and may have to."""
HARMLESS = WITHOUT_GROUND | {"shadow"}
"""Reasons of a suppression after which nobody needs to act: its ground is gone, or it was to be decided and not sent."""


class State(StrEnum):
    """Where a case is in its spell."""

    OPEN = "open"
    CURED = "cured"
    CLOSED = "closed"


class Stage(StrEnum):
    """What a case is about."""

    PRE_DUE = "pre_due"
    OVERDUE = "overdue"
    CLEAR = "clear"


class ContactState(StrEnum):
    """What is known of a contact."""

    REQUESTED = "requested"
    DEFERRED = "deferred"
    DONE = "done"
    UNKNOWN = "unknown"
    UNRESOLVED = "unresolved"
    FAILED = "failed"
    EXPIRED = "expired"
    SUPPRESSED = "suppressed"
    CANCELLED = "cancelled"


PENDING = frozenset({ContactState.REQUESTED, ContactState.DEFERRED})
DOUBTFUL = frozenset({ContactState.UNKNOWN, ContactState.UNRESOLVED})
"""It may have gone out: never said again in the spell, and no proof that anybody was reached."""
PROFILE_UNKNOWN = "profile_unknown"
"""Why a contact is put off while no event has told anything of the borrower."""


@dataclass(frozen=True, slots=True)
class Debt:
    """The newest fact of a debt, as far as a policy reads it."""

    loan_id: str
    epoch: int
    version: int
    timezone: str
    jurisdictions: tuple[str, ...]
    active: bool
    overdue: int
    past_due_from: date | None
    grace_days: int = 0
    pauses: tuple[Span, ...] = ()
    next_due_on: date | None = None
    next_due: int = 0
    doubted: bool = False
    resting_until: datetime | None = None
    product: str = ""

    @property
    def owed(self) -> bool:
        """Say whether it is late: overdue beyond tolerance, and neither closed nor written off."""
        return self.active and self.overdue > 0 and self.past_due_from is not None

    def askable(self, now: datetime) -> bool:
        """Say whether it may be spoken of: not in doubt, no payment under way."""
        return not self.doubted and (self.resting_until is None or self.resting_until <= now)

    def begins(self, step: Step) -> datetime | None:
        """Return when a step's day begins; None while a pause without an end stands before that."""
        if self.past_due_from is None:
            return None
        if step.clock is Clock.PAST_DUE:
            return begins(self.past_due_from + timedelta(days=step.day), self.timezone)
        on = reaching(self.pauses, self.past_due_from, self.grace_days + step.day)
        return None if on is None else begins(on, self.timezone)

    def reminder_span(self, step: Step) -> tuple[datetime, datetime] | None:
        """Return from when to when this reminder makes sense; None where nothing comes due."""
        if self.next_due_on is None or self.next_due <= 0 or not self.active or self.owed:
            return None
        from_on = date.fromordinal(self.next_due_on.toordinal() + step.day)
        return begins(from_on, self.timezone), begins(self.next_due_on, self.timezone)


@dataclass(frozen=True, slots=True)
class Contact:
    """A contact that was asked for. `about` is the due date of a reminder."""

    task_id: str
    spell: int
    step: str
    about: date | None
    occurrence: int
    state: ContactState
    requested_at: datetime
    expires_at: datetime
    until: datetime | None = None
    reason: str | None = None

    @property
    def needs_person(self) -> bool:
        """Say whether no channel is left although the money is still owed."""
        return self.state is ContactState.FAILED or (self.state is ContactState.SUPPRESSED and self.reason not in HARMLESS)

    @property
    def unsaid(self) -> bool:
        """Say whether it surely did not go out, for a reason that may pass; what was only called off may have gone out before."""
        return self.state is ContactState.EXPIRED or (self.state is ContactState.SUPPRESSED and self.reason in WITHOUT_GROUND)

    @property
    def lacks_profile(self) -> bool:
        """Say whether it waits, or waited to its end, for a borrower of whom nothing is known."""
        return self.state in {ContactState.DEFERRED, ContactState.EXPIRED} and self.reason == PROFILE_UNKNOWN


@dataclass(frozen=True, slots=True)
class Stop:
    """Something about the borrower that stops contacts."""

    status_id: str
    kind: str
    from_at: datetime
    until: datetime | None

    def stands(self, now: datetime) -> bool:
        """Say whether it stops contacts at this moment."""
        return self.kind not in CHANNEL_STOPS and self.from_at <= now and (self.until is None or now < self.until)


@dataclass(frozen=True, slots=True)
class Errand:
    """A task that was given to a person."""

    task_id: str
    key: str
    occurrence: int
    done_at: datetime | None


@dataclass(frozen=True, slots=True)
class Case:
    """A case with all that its plan depends on; contacts and errands are those of this spell, reminders those of any."""

    tenant: str
    borrower_id: str
    case_id: str
    currency: str
    spell: int
    state: State
    stage: Stage
    opened_at: datetime | None
    clear_since: datetime | None
    debts: tuple[Debt, ...] = ()
    contacts: tuple[Contact, ...] = ()
    stops: tuple[Stop, ...] = ()
    errands: tuple[Errand, ...] = ()
    passed: frozenset[str] = frozenset()
    """Messages of the policy version that the case had left behind when it came to this version."""
    flagged: frozenset[str] = frozenset()
    """Steps that have marked the case in this spell."""
    trial: Trial | None = None
    """The experiment that this spell is part of."""

    @property
    def owed(self) -> tuple[Debt, ...]:
        """Return the debts that are late."""
        return tuple(debt for debt in self.debts if debt.owed)

    def stop(self, now: datetime) -> Stop | None:
        """Return the stop that stands and ends last."""
        standing = [stop for stop in self.stops if stop.stands(now)]
        return max(standing, key=lambda s: (s.until is None, s.until or now, s.status_id), default=None)

    @property
    def last(self) -> Contact | None:
        """Return the last contact of this spell."""
        return max((c for c in self.contacts if c.spell == self.spell), key=lambda contact: contact.requested_at, default=None)

    @property
    def faceless(self) -> Contact | None:
        """Return the last contact of this spell, where it cannot go out because nothing is known of the borrower."""
        return self.last if self.last is not None and self.last.lacks_profile else None

    @property
    def doubtful(self) -> Contact | None:
        """Return the last contact of this spell about what is late, where nobody can say whether it went out."""
        return self.last if self.last is not None and self.last.about is None and self.last.state in DOUBTFUL else None

    def said(self, step: str, about: date | None) -> tuple[Contact, ...]:
        """Return the contacts of a step, the last one last."""
        found = (c for c in self.contacts if c.step == step and c.about == about and (about is not None or c.spell == self.spell))
        return tuple(sorted(found, key=lambda contact: contact.occurrence))


@dataclass(frozen=True, slots=True)
class Opened:
    """A spell has begun."""


@dataclass(frozen=True, slots=True)
class Reopened:
    """Overdue again before the spell was over."""


@dataclass(frozen=True, slots=True)
class Cured:
    """Nothing is overdue any more."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Clear for the whole cool-down: the spell is over."""

    spell: int


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A contact that was asked for must not go out."""

    contact: Contact
    reason: str


Change = Opened | Reopened | Cured | Closed | Cancelled


def reminded_of(case: Case, policy: Policy, now: datetime) -> frozenset[date]:
    """Return the due dates of which a reminder makes sense now."""
    spans = ((debt, debt.reminder_span(step)) for step in policy.reminders for debt in case.debts)
    return frozenset(debt.next_due_on for debt, span in spans if debt.next_due_on and span and span[0] <= now < span[1])


def follow(case: Case, policy: Policy, now: datetime) -> tuple[Case, tuple[Change, ...]]:
    """Bring a case to where its facts and stops are now, and say what changed."""
    changes: list[Change] = []
    if case.state is State.CURED and case.clear_since is not None and now >= case.clear_since + policy.cool_down:
        changes.append(Closed(case.spell))
        case = replace(case, state=State.CLOSED, stage=Stage.CLEAR, clear_since=None)
    case = _late(case, changes, now) if case.owed else _clear(case, changes, policy, now=now)
    cancelled = tuple(_cancelled(case, policy, now))
    return _without(case, cancelled), (*changes, *cancelled)


def _late(case: Case, changes: list[Change], now: datetime) -> Case:
    if case.state is State.OPEN and case.stage is Stage.OVERDUE:
        return case
    if case.state is State.CURED:
        changes.append(Reopened())
        return replace(case, state=State.OPEN, stage=Stage.OVERDUE, clear_since=None)
    changes.append(Opened())
    spell = case.spell + (case.state is State.CLOSED)
    return replace(case, state=State.OPEN, stage=Stage.OVERDUE, spell=spell, opened_at=now, clear_since=None)


def _clear(case: Case, changes: list[Change], policy: Policy, *, now: datetime) -> Case:
    if case.state is State.OPEN and case.stage is Stage.OVERDUE:
        changes.append(Cured())
        return replace(case, state=State.CURED, stage=Stage.CLEAR, clear_since=now)
    upcoming = bool(reminded_of(case, policy, now))
    if case.state is State.CLOSED and upcoming:
        return replace(case, state=State.OPEN, stage=Stage.PRE_DUE, spell=case.spell + 1, opened_at=None)
    if case.state is State.OPEN and not upcoming:
        return replace(case, state=State.CLOSED, stage=Stage.CLEAR)
    return case


def _cancelled(case: Case, policy: Policy, now: datetime) -> list[Cancelled]:
    """Return the contacts under way that have lost their ground."""
    pending = [contact for contact in case.contacts if contact.state in PENDING]
    if not pending:
        return []
    if (stop := case.stop(now)) is not None:
        return [Cancelled(contact, stop.kind) for contact in pending]
    late, upcoming = bool(case.owed), reminded_of(case, policy, now)
    return [Cancelled(c, "nothing_owed") for c in pending if (not late if c.about is None else late or c.about not in upcoming)]


def _without(case: Case, cancelled: tuple[Cancelled, ...]) -> Case:
    gone = {change.contact.task_id for change in cancelled}
    kept = (replace(c, state=ContactState.CANCELLED) if c.task_id in gone else c for c in case.contacts)
    return replace(case, contacts=tuple(kept)) if gone else case
