"""A case: one borrower's debts in one currency, or one loan; what was sent about them, and how it changes with the facts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum

from libs.common.value import Value, replace
from libs.compliance import StopKind
from services.scheduler.domain.days import Span, begins, reached
from services.scheduler.domain.dealing import Approval, Exhibit, Offer
from services.scheduler.domain.policy import Clock, Policy, Step
from services.scheduler.domain.promises import Account, Promise, PromiseState, judged
from services.scheduler.domain.stops import CHANNEL_STOPS, Ending, Stop, last_to_end
from services.scheduler.domain.trials import Trial

WITHOUT_GROUND = frozenset({"paid", "overdue", "nothing_owed", "cancelled"}) | {stop.value for stop in StopKind} - CHANNEL_STOPS
"""Suppression reasons that may pass with a later fact or the end of a stop: the contact surely did not go out, and may still have to."""
HARMLESS = WITHOUT_GROUND | {"shadow"}
"""Suppression reasons that need nobody to act: the contact lost its ground, or it was only to be decided and not sent."""


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
    """What is known about a contact."""

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
"""It may have gone out: never repeated in the spell, and no proof that anybody was reached."""
PROFILE_UNKNOWN = "profile_unknown"
"""Why a contact is deferred while the borrower has no profile."""


class Debt(Value, frozen=True):
    """The newest fact of a debt, as far as policies use it."""

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
    received: int = 0
    """A running total that grows with payments on the debt and falls when one is reversed."""
    segments: frozenset[str] = frozenset()
    """The one it was disbursed with, and the borrower's current one."""
    as_of: date | None = None
    """The day of the fact."""

    @property
    def owed(self) -> bool:
        """Return whether it is overdue beyond tolerance, and neither closed nor written off."""
        return self.active and self.overdue > 0 and self.past_due_from is not None

    def askable(self, now: datetime) -> bool:
        """Return whether it may be mentioned: not in doubt, no payment under way."""
        return not self.doubted and (self.resting_until is None or self.resting_until <= now)

    def begins(self, step: Step) -> datetime | None:
        """Return when a step's day begins; None while an open-ended pause comes before it."""
        if self.past_due_from is None:
            return None
        if step.clock is Clock.PAST_DUE:
            return reached(self.past_due_from, step.day, self.timezone)
        return reached(self.past_due_from, self.grace_days + step.day, self.timezone, self.pauses)

    def reminder_span(self, step: Step) -> tuple[datetime, datetime] | None:
        """Return from when to when this reminder makes sense; None if nothing is coming due."""
        if self.next_due_on is None or self.next_due <= 0 or not self.active or self.owed:
            return None
        from_on = date.fromordinal(self.next_due_on.toordinal() + step.day)
        return begins(from_on, self.timezone), begins(self.next_due_on, self.timezone)


class Contact(Value, frozen=True):
    """A requested contact; for a reminder, `about` is the due date."""

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
    done_at: datetime | None = None
    """When a provider accepted it or it arrived, if it did."""

    @property
    def needs_person(self) -> bool:
        """Return whether no channel is left although the money is still owed."""
        return self.state is ContactState.FAILED or (self.state is ContactState.SUPPRESSED and self.reason not in HARMLESS)

    @property
    def unsaid(self) -> bool:
        """Return whether it surely did not go out, for a reason that may pass; a cancelled one may have gone out before."""
        return self.state is ContactState.EXPIRED or (self.state is ContactState.SUPPRESSED and self.reason in WITHOUT_GROUND)

    @property
    def lacks_profile(self) -> bool:
        """Return whether it waits, or waited until it expired, for a borrower's profile."""
        return self.state in {ContactState.DEFERRED, ContactState.EXPIRED} and self.reason == PROFILE_UNKNOWN


class Errand(Value, frozen=True):
    """A task given to a person."""

    task_id: str
    key: str
    occurrence: int
    done_at: datetime | None
    withdrawn: bool = False


class Case(Value, frozen=True):
    """A case with all its plan depends on; contacts and errands are this spell's, but reminders and errands about stops are any spell's."""

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
    """Messages of this policy version that the case was already past when it moved to the version."""
    flagged: frozenset[str] = frozenset()
    """Steps that have flagged the case in this spell."""
    promises: tuple[Promise, ...] = ()
    """Those of this spell, and open ones of any spell."""
    nonpayment_reason: str | None = None
    acted: frozenset[str] = frozenset()
    """Steps that, in this spell, have emitted their event, handed the case over, or made their offer."""
    handed_to: str | None = None
    """Who the case is handed over to."""
    handed_at: datetime | None = None
    approvals: tuple[Approval, ...] = ()
    exhibits: tuple[Exhibit, ...] = ()
    offers: tuple[Offer, ...] = ()
    trial: Trial | None = None
    """The experiment that this spell is part of."""
    loan_id: str = ""
    """The loan of a single-loan case; empty for a borrower's case."""
    segment: str = ""
    """The borrower's current segment; empty if none."""
    chosen_in: str = ""
    """The borrower's segment when the policy of this spell was chosen."""

    @property
    def owed(self) -> tuple[Debt, ...]:
        """Return the overdue debts."""
        return tuple([debt for debt in self.debts if debt.owed])

    def holds(self, debt: Debt) -> bool:
        """Return whether a debt stays in this case whatever is activated: a spell is running, or reminders are sent (`store.homes`)."""
        return self.state is State.CURED or (self.state is State.OPEN and (self.stage is Stage.OVERDUE or not debt.owed))

    def stop(self, now: datetime) -> Stop | None:
        """Return the current stop of the whole person that ends last."""
        if not self.stops:
            return None
        return last_to_end((stop for stop in self.stops if stop.loan_id is None and stop.stands(now)), now)

    def stop_of(self, debt: Debt, now: datetime) -> Stop | None:
        """Return the current stop of this debt that ends last."""
        if not self.stops:
            return None
        return last_to_end((stop for stop in self.stops if stop.loan_id == debt.loan_id and stop.stands(now)), now)

    def askable(self, debt: Debt, now: datetime) -> bool:
        """Return whether a debt may be mentioned: not in doubt, no payment under way, no stop of its own."""
        return debt.askable(now) and self.stop_of(debt, now) is None

    def unstopped(self, now: datetime) -> tuple[Debt, ...]:
        """Return the overdue debts without a stop of their own."""
        return tuple([debt for debt in self.owed if self.stop_of(debt, now) is None]) if self.stops else self.owed

    @property
    def last(self) -> Contact | None:
        """Return the last contact of this spell."""
        found = [contact for contact in self.contacts if contact.spell == self.spell]
        return max(found, key=lambda contact: contact.requested_at) if len(found) > 1 else found[0] if found else None

    @property
    def without_profile(self) -> Contact | None:
        """Return the last contact of this spell if it cannot go out because the borrower has no profile."""
        last = self.last
        return last if last is not None and last.lacks_profile else None

    @property
    def doubtful(self) -> Contact | None:
        """Return the last contact of this spell about overdue debts if nobody knows whether it went out."""
        last = self.last
        return last if last is not None and last.about is None and last.state in DOUBTFUL else None

    @property
    def rests_until(self) -> datetime | None:
        """Return until when contacts pause because the borrower has accepted an offer."""
        return max((rest for offer in self.offers if (rest := offer.rests_until) is not None), default=None)

    def said(self, step: str, about: date | None) -> tuple[Contact, ...]:
        """Return the contacts of a step in order of occurrence."""
        found = [c for c in self.contacts if c.step == step and c.about == about and (about is not None or c.spell == self.spell)]
        return tuple(sorted(found, key=lambda contact: contact.occurrence) if len(found) > 1 else found)


class Opened(Value, frozen=True):
    """A spell has begun."""


class Reopened(Value, frozen=True):
    """Overdue again before the spell ended."""


class Cured(Value, frozen=True):
    """Nothing is overdue any more."""


class Closed(Value, frozen=True):
    """Clear for the whole cool-down: the spell has ended."""

    spell: int


class Cancelled(Value, frozen=True):
    """A requested contact must not go out."""

    contact: Contact
    reason: str


class Released(Value, frozen=True):
    """A hold is over."""

    stop: Stop
    reason: str


class Settled(Value, frozen=True):
    """Something was paid towards a promise, or its state has changed; a kept one may break when a payment is reversed."""

    promise: Promise
    before: PromiseState


Change = Opened | Reopened | Cured | Closed | Cancelled | Released | Settled


def reminded_of(case: Case, policy: Policy, now: datetime) -> frozenset[date]:
    """Return the due dates for which a reminder makes sense now."""
    spans = ((debt, debt.reminder_span(step)) for step in policy.reminders for debt in case.debts)
    return frozenset(debt.next_due_on for debt, span in spans if debt.next_due_on and span and span[0] <= now < span[1])


def closed(case: Case, policy: Policy, now: datetime) -> tuple[Case, tuple[Change, ...]]:
    """End a spell whose cool-down is over."""
    if case.state is not State.CURED or case.clear_since is None or now < case.clear_since + policy.cool_down:
        return case, ()
    return replace(case, state=State.CLOSED, stage=Stage.CLEAR, clear_since=None, handed_to=None, handed_at=None), (Closed(case.spell),)


def follow(case: Case, policy: Policy, now: datetime) -> tuple[Case, tuple[Change, ...]]:
    """Bring a case up to date with its facts and stops, and say what changed."""
    case, over = closed(case, policy, now)
    case, changes = _settled(case, now)
    case = _late(case, changes, now) if case.owed else _clear(case, changes, policy, now=now)
    cancelled = tuple(_cancelled(case, policy, now))
    return _without(case, cancelled), (*over, *changes, *cancelled)


def _settled(case: Case, now: datetime) -> tuple[Case, list[Change]]:
    """Judge the promises, and release the holds that are over."""
    if not case.promises and not case.stops:
        return case, []
    accounts = {debt.loan_id: Account(debt.received, debt.owed) for debt in case.debts}
    before = {promise.promise_id: promise for promise in case.promises}
    promises = judged(case.promises, accounts, now)
    changes: list[Change] = [Settled(one, before[one.promise_id].state) for one in promises if one != before[one.promise_id]]
    ended = {one.promise_id: one.state.value for one in promises if not one.open}
    found = [(stop, _why_over(case, stop, ended, now)) for stop in case.stops]
    changes += [Released(stop, why) for stop, why in found if why is not None]
    return replace(case, promises=tuple(promises), stops=tuple(stop for stop, why in found if why is None)), changes


def _why_over(case: Case, stop: Stop, ended: Mapping[str, str], now: datetime) -> str | None:
    """Return why a stop set by this case is over; None if it is not, or if it is another case's."""
    hold = stop.hold
    if hold is None or hold.case_id != case.case_id:
        return None
    if hold.source is not None and hold.source in ended:
        return f"promise_{ended[hold.source]}"
    if stop.over(now):
        return hold.ends_with.value if hold.ends_with else "until"
    concerned = [debt for debt in case.debts if stop.loan_id in (None, debt.loan_id)]
    match hold.ends_with:
        case Ending.CURED if stop.from_at <= now and not any(debt.owed for debt in concerned):
            return Ending.CURED.value
        case Ending.CLOSED if stop.from_at <= now and not any(debt.active for debt in concerned):
            return Ending.CLOSED.value
    return None


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
    """Return the pending contacts that have lost their ground."""
    pending = [contact for contact in case.contacts if contact.state in PENDING]
    if not pending:
        return []
    if (stop := case.stop(now)) is not None:
        return [Cancelled(contact, stop.kind) for contact in pending]
    if case.handed_to is not None:
        return [Cancelled(contact, "handed_over") for contact in pending]
    if case.rests_until is not None and now < case.rests_until:
        return [Cancelled(contact, "offer_accepted") for contact in pending if contact.about is None]
    late, upcoming = bool(case.owed), reminded_of(case, policy, now)
    gone = [Cancelled(c, "nothing_owed") for c in pending if (not late if c.about is None else late or c.about not in upcoming)]
    lost = {change.contact.task_id for change in gone}
    silenced = ((c, _silenced(case, c, now)) for c in pending if c.task_id not in lost)
    return [*gone, *(Cancelled(contact, stop.kind) for contact, stop in silenced if stop is not None)]


def _silenced(case: Case, contact: Contact, now: datetime) -> Stop | None:
    """Return a stop on a debt of this contact if all its debts have one; if only some do, the notifier leaves those out."""
    about = case.owed if contact.about is None else tuple(debt for debt in case.debts if debt.next_due_on == contact.about)
    stops = [case.stop_of(debt, now) for debt in about]
    return stops[0] if stops and all(stops) else None


def _without(case: Case, cancelled: tuple[Cancelled, ...]) -> Case:
    gone = {change.contact.task_id for change in cancelled}
    kept = (replace(c, state=ContactState.CANCELLED) if c.task_id in gone else c for c in case.contacts)
    return replace(case, contacts=tuple(kept)) if gone else case
