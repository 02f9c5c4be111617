"""What is due for a case, what comes next, and why: one pure function of facts, past contacts, stops, policy and now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime

from libs.common.value import Value, replace
from services.scheduler.domain.case import Case, Contact, ContactState, Debt, Errand, Stage, State
from services.scheduler.domain.days import begins, day_after, window
from services.scheduler.domain.errands import HANDED_OVER, NO_PROFILE, every_errand, key_of_contact, key_of_stop, open_errand
from services.scheduler.domain.escalating import (
    ActDue,
    EmitDue,
    HandOverDue,
    OfferDue,
    acts,
    awaited,
    having_done,
    without_another_offer,
)
from services.scheduler.domain.policy import Flag, Policy, Step, Work
from services.scheduler.domain.standing import is_clear, ladder, ready
from services.scheduler.domain.stops import Stop


class ContactDue(Value, frozen=True):
    """Request this contact now; it must go out before the window closes."""

    step: Step
    about: date | None
    occurrence: int
    debts: tuple[Debt, ...]
    expires_at: datetime


class ErrandDue(Value, frozen=True):
    """Give this task to a person now."""

    key: str
    occurrence: int
    work: Work


class FlagDue(Value, frozen=True):
    """Flag the case now."""

    step: str
    name: str


Due = ContactDue | ErrandDue | FlagDue | ActDue
CONTACT_UNKNOWN = "contact_unknown"
_NEVER = datetime.max.replace(tzinfo=UTC)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Reason(Value, frozen=True):
    """Why nothing is sent now, and what ends that: a moment, an event on the bus, or a person's task."""

    kind: str
    until: datetime | None = None
    event: str | None = None
    errand: str | None = None

    @property
    def ends(self) -> bool:
        """Return whether anything ends it."""
        return any((self.until, self.event, self.errand))


class Upcoming(Value, frozen=True):
    """The next planned contact, the debts it is about, and when its window closes."""

    at: datetime
    step: str
    debts: tuple[Debt, ...] = ()
    closes: datetime = _NEVER


class Plan(Value, frozen=True):
    """What to do now, when to plan again, and why."""

    due: tuple[Due, ...]
    next_at: datetime | None
    reason: Reason
    upcoming: Upcoming | None


class _Slot(Value, frozen=True):
    """The next window in which to send something."""

    step: Step
    about: date | None
    occurrence: int
    debts: tuple[Debt, ...]
    opens: datetime
    closes: datetime


class _Beside(Value, frozen=True):
    """What is to be done besides messages, now or later, each with its moment."""

    flags: list[tuple[Step, datetime]]
    errands: list[tuple[str, Work, datetime | None]]
    acts: list[tuple[ActDue, datetime]]

    def due(self, case: Case, now: datetime) -> list[Due]:
        """Return the part that is due."""
        return [*_flags_due(self.flags, now), *_errands_due(case, self.errands, now), *(due for due, moment in self.acts if moment <= now)]

    @property
    def moments(self) -> Iterator[datetime]:
        """Yield the moments."""
        yield from (moment for _, moment in self.flags)
        yield from (moment for _, _, moment in self.errands if moment is not None)
        yield from (moment for _, moment in self.acts)


def plan(case: Case, policy: Policy, now: datetime) -> Plan:
    """Return what is due, and what comes after it is done."""
    standing = policy.settled(case)
    beside = _beside(case, standing, now)
    due = beside.due(case, now)
    before = having(case, due, now) if due else case
    slot = _next_slot(before, standing, now)
    if slot is not None and slot.opens <= now:
        due += _carried(before, slot.step, now)
        due.append(ContactDue(slot.step, slot.about, slot.occurrence, slot.debts, slot.closes))
    after = case
    if due:
        after, answered = having(case, due, now), standing
        standing = policy.settled(after)
        slot = _next_slot(after, standing, now)
        if not (_only_says(due) and standing is answered and case.without_profile is None):
            beside = _beside(after, standing, now)
    upcoming = None if slot is None else Upcoming(max(slot.opens, now), slot.step.id, slot.debts, slot.closes)
    moments = [moment for moment in _moments(after, standing, upcoming=upcoming, beside=beside) if moment > now]
    return Plan(tuple(due), min(moments, default=None), _reason(after, standing, now, upcoming=upcoming), upcoming)


def _beside(case: Case, policy: Policy, now: datetime) -> _Beside:
    return _Beside(list(_flags(case, policy, now)), list(every_errand(case, policy, now)), list(acts(case, policy, now)))


def _only_says(due: list[Due]) -> bool:
    """Return whether a message is all that is done.

    Everything else then stays as it was: what follows a message waits until a provider accepts it, and only conditions and
    `without_profile` depend on its request.
    """
    return len(due) == 1 and isinstance(due[0], ContactDue)


def reminder_at(debt: Debt, policy: Policy, now: datetime) -> datetime | None:
    """Return when the next reminder about this debt is due, if nothing changes; None if there is none to come."""
    opening = []
    for step in policy.reminders:
        if (span := debt.reminder_span(step)) is None or now >= span[1]:
            continue
        opens, _ = window(debt.timezone, step.between, max(now, span[0]))
        if opens < span[1]:
            opening.append(max(opens, now))
    return min(opening, default=None)


def having(case: Case, due: list[Due], now: datetime) -> Case:
    """Return the case after these are done."""
    contacts, errands, flagged = list(case.contacts), list(case.errands), set(case.flagged)
    for one in due:
        match one:
            case ContactDue(step, about, occurrence, _, expires_at):
                contacts.append(Contact("", case.spell, step.id, about, occurrence, ContactState.REQUESTED, now, expires_at))
            case ErrandDue(key, occurrence, _):
                errands.append(Errand("", key, occurrence, None))
            case FlagDue(step_id, _):
                flagged.add(step_id)
            case EmitDue() | HandOverDue() | OfferDue():
                case = having_done(case, one, now)
    return replace(case, contacts=tuple(contacts), errands=tuple(errands), flagged=frozenset(flagged))


def _next_slot(case: Case, policy: Policy, now: datetime) -> _Slot | None:
    if case.stop(now) is not None or case.handed_to is not None:
        return None
    if not case.owed:
        return _reminder_slot(case, policy, now)
    debts = tuple(debt for debt in case.owed if case.askable(debt, now))
    return _message_slot(case, policy, debts, now=now) if debts else None


def _message_slot(case: Case, policy: Policy, debts: tuple[Debt, ...], *, now: datetime) -> _Slot | None:
    """Return the window of the latest message whose day has come, unless it was sent; else of the next one.

    A message whose condition is not met, or that lacks what people must supply, is treated as absent; but once a message was sent, no
    earlier one is, except those that are never skipped: they come first, in order.
    """
    rungs = ladder(case, policy, debts)
    reached = [n for n, rung in enumerate(rungs) if rung.lead and rung.lead[0] <= now and (rung.holds or case.said(rung.step.id, None))]
    begin = reached[-1] if reached else 0
    standing = [rung for n, rung in enumerate(rungs) if rung.holds and (n >= begin or rung.must)]
    for place, rung in enumerate(standing):
        step, lead = rung.step, rung.lead
        if lead is None:
            return None
        if step.id in case.passed or (occurrence := _open_occurrence(case, step, None)) is None:
            continue
        opens, closes = window(lead[1].timezone, step.between, max(now, lead[0], _rested(case, lead[1].timezone)))
        following = standing[place + 1].lead if place + 1 < len(standing) else None
        if not rung.must and following is not None and following[0] <= max(opens, now):
            continue
        return _Slot(step, None, occurrence, debts, opens, closes)
    return None


def _reminder_slot(case: Case, policy: Policy, now: datetime) -> _Slot | None:
    """Return the window of the next reminder.

    The debt wakes the case for the first reminder of a due date; from then on, or while the case is pre-due, the case schedules them.
    """
    slots = [
        slot for debt in case.debts if case.askable(debt, now) and (slot := _reminder_of(case, policy, debt, now=now)) is not None
    ]  # fmt: skip
    return min(slots, key=lambda slot: (slot.opens, slot.about or date.max), default=None)


def _reminder_of(case: Case, policy: Policy, debt: Debt, *, now: datetime) -> _Slot | None:
    spans = [
        (step, span) for step in policy.reminders
        if (step.holds(case) or case.said(step.id, debt.next_due_on)) and (span := debt.reminder_span(step)) and now < span[1]
    ]  # fmt: skip
    begun = sum(span[0] <= now for _, span in spans)
    coming = spans[max(begun - 1, 0) :] if begun or case.stage is Stage.PRE_DUE else []
    for place, (step, span) in enumerate(coming):
        if (occurrence := _open_occurrence(case, step, debt.next_due_on)) is None:
            continue
        last = case.said(step.id, debt.next_due_on)
        rested = day_after(last[-1].requested_at, debt.timezone) if last else now
        opens, closes = window(debt.timezone, step.between, max(now, rested, span[0]))
        following = coming[place + 1][1] if place + 1 < len(coming) else None
        if opens < span[1] and (following is None or max(opens, now) < following[0]):
            together = tuple(d for d in case.debts if d.next_due_on == debt.next_due_on and d.reminder_span(step) and case.askable(d, now))
            return _Slot(step, debt.next_due_on, occurrence, together, opens, closes)
    return None


def _open_occurrence(case: Case, step: Step, about: date | None) -> int | None:
    """Return which occurrence of a step is still to be sent; None if it was sent, may have been, or is under way."""
    said = case.said(step.id, about)
    if not said:
        return 1
    return said[-1].occurrence + 1 if said[-1].unsaid else None


def _rested(case: Case, zone: str) -> datetime:
    """Return when the next message may go: at most one a day, and none while an accepted offer is being booked."""
    asked = [c.requested_at for c in case.contacts if c.about is None and c.spell == case.spell]
    return max(day_after(max(asked), zone) if asked else _LONG_AGO, case.rests_until or _LONG_AGO)


def _carried(case: Case, step: Step, now: datetime) -> Iterator[OfferDue]:
    """Yield the offer a message carries, unless another one is open."""
    if step.offer is not None and step.id not in case.acted and without_another_offer(case, now, now) == now:
        yield OfferDue(step, step.offer)


def _flags_due(flags: list[tuple[Step, datetime]], now: datetime) -> Iterator[FlagDue]:
    for step, moment in flags:
        if moment <= now:
            yield FlagDue(step.id, step.action.name if isinstance(step.action, Flag) else step.flag or step.id)


def _flags(case: Case, policy: Policy, now: datetime) -> Iterator[tuple[Step, datetime]]:
    """Yield the steps that are still to flag the case, and when; like work for people, none while all that is overdue is stopped."""
    if case.stop(now) is not None or case.handed_to is not None:
        return
    for step in policy.flags:
        if step.id not in case.flagged and is_clear(case, step) and (lead := ready(case, step, case.unstopped(now))) is not None:
            yield step, lead[0]


def _errands_due(case: Case, errands: list[tuple[str, Work, datetime | None]], now: datetime) -> Iterator[ErrandDue]:
    for key, work, moment in errands:
        if moment is not None and moment <= now:
            occurrence = max((e.occurrence for e in case.errands if e.key == key), default=0) + 1
            yield ErrandDue(key, occurrence, work)


def _moments(case: Case, policy: Policy, *, upcoming: Upcoming | None, beside: _Beside) -> Iterator[datetime]:
    """Yield the moments at which the plan may change through time alone."""
    if upcoming is not None:
        yield upcoming.at
    if case.clear_since is not None and case.state is State.CURED:
        yield case.clear_since + policy.cool_down
    if case.stage is Stage.PRE_DUE:
        yield from (begins(debt.next_due_on, debt.timezone) for debt in case.debts if debt.next_due_on is not None)
    for stop in case.stops:
        yield stop.from_at
        if stop.until is not None:
            yield stop.until
    yield from (debt.resting_until for debt in case.debts if debt.resting_until is not None)
    yield from beside.moments


def _reason(case: Case, policy: Policy, now: datetime, *, upcoming: Upcoming | None) -> Reason:
    if case.state is State.OPEN and case.stop(now) is None and (contact := case.without_profile) is not None:
        return Reason(NO_PROFILE, until=upcoming.at if upcoming else contact.expires_at, errand=open_errand(case, NO_PROFILE))
    if case.owed and case.stop(now) is None and (doubt := _doubt(case, case.doubtful)) is not None:
        return doubt
    if case.owed and case.handed_to is not None and case.stop(now) is None:
        return Reason(HANDED_OVER, event="case.taken_back", errand=open_errand(case, HANDED_OVER))
    if case.owed and case.rests_until is not None and now < case.rests_until and case.stop(now) is None:
        return Reason("offer_accepted", until=case.rests_until)
    if upcoming is not None:
        return Reason("scheduled", until=upcoming.at)
    if not case.owed:
        if case.state is State.CURED and case.clear_since is not None:
            return Reason("clear", until=case.clear_since + policy.cool_down)
        return Reason("nothing_owed", event="debt.overdue")
    return _rests(case, policy, now) or _awaits(case, policy, now)


def _doubt(case: Case, contact: Contact | None) -> Reason | None:
    """Return what a case waits for if its last contact may have gone out: the deadline, then a person, once."""
    if contact is None:
        return None
    if contact.state is ContactState.UNKNOWN and contact.until is not None:
        return Reason(CONTACT_UNKNOWN, until=contact.until)
    errand = open_errand(case, key_of_contact(contact))
    return Reason(CONTACT_UNKNOWN, errand=errand) if errand is not None else None


def _rests(case: Case, policy: Policy, now: datetime) -> Reason | None:
    """Return what prevents mentioning any of the debts."""
    if (stop := case.stop(now)) is not None:
        return _stopped(case, policy, stop, now=now)
    if any(case.askable(debt, now) for debt in case.owed):
        return None
    if (stop := _first_to_end(case, now)) is not None:
        return _stopped(case, policy, stop, now=now)
    if any(debt.doubted for debt in case.owed):
        return Reason("in_doubt", event="debt.changed")
    return Reason("pending_payment", until=min(debt.resting_until for debt in case.owed if debt.resting_until is not None))


def _first_to_end(case: Case, now: datetime) -> Stop | None:
    """Return the single-debt stop that ends first."""
    stops = (stop for debt in case.owed if (stop := case.stop_of(debt, now)) is not None)
    return min(stops, key=lambda stop: stop.until or _NEVER, default=None)


def _stopped(case: Case, policy: Policy, stop: Stop, *, now: datetime) -> Reason:
    """Return what a stop waits for: its end, the event that ends it, or the person with a task about it."""
    if stop.hold is not None and stop.hold.ends_with is not None:
        return Reason(stop.kind, until=stop.until, event=stop.hold.ends_with.value, errand=open_errand(case, key_of_stop(stop)))
    again = min((moment for _, _, moment in every_errand(case, policy, now) if moment is not None), default=None)
    return Reason(stop.kind, until=stop.until or again, errand=open_errand(case, key_of_stop(stop)))


def _awaits(case: Case, policy: Policy, now: datetime) -> Reason:
    """Return what a case waits for when there is nothing left to send."""
    if (want := awaited(case)) is not None:
        return Reason(want[0], errand=want[1])
    open_errand = next((errand for errand in case.errands if errand.done_at is None), None)
    if open_errand is not None:
        return Reason("task_open", errand=open_errand.task_id or open_errand.key)
    coming = [moment for _, _, moment in every_errand(case, policy, now) if moment is not None]
    if coming:
        return Reason("ladder_ended", until=min(coming))
    if (stop := _first_to_end(case, now)) is not None:  # the clocks of the other debts are paused
        return _stopped(case, policy, stop, now=now)
    return Reason("paused", event="debt.changed")
