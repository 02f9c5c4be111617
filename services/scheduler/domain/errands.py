"""Work for people: which tasks a case gives, now or later, and under which keys."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from libs.common.value import replace
from services.scheduler.domain.builtin import (
    COMPLAINT_WORK,
    CORRECTED_WORK,
    DOUBT_WORK,
    ENDING_PATIENCE,
    FAILED_WORK,
    HANDED_PATIENCE,
    HANDED_WORK,
    PROFILE_PATIENCE,
    PROFILE_WORK,
    REPLY_WORK,
    STOP_WORK,
    UNKNOWN_WORK,
)
from services.scheduler.domain.case import Case, Contact, ContactState, Errand, State
from services.scheduler.domain.escalating import asked_for, may_tell_others, offer_key
from services.scheduler.domain.matters import MATTERS
from services.scheduler.domain.policy import LEGAL_QUEUE, Policy, Work
from services.scheduler.domain.standing import is_clear, ready
from services.scheduler.domain.stops import OF_STOP, Stop

NO_PROFILE = "no_profile"
HANDED_OVER = "handed_over"
_WHATEVER_IS_OWED = frozenset({HANDED_OVER, *(work.kind for work in (COMPLAINT_WORK, CORRECTED_WORK, DOUBT_WORK, REPLY_WORK))})
_OF_THE_SAME = (OF_STOP, offer_key(""))
"""Keys, and beginnings of keys, of tasks that are about something else than late money."""


def every_errand(case: Case, policy: Policy, now: datetime) -> Iterator[tuple[str, Work, datetime | None]]:
    """Yield every task to be given, now or later: its key, the work, and when (None: unknown)."""
    for stop in _unended(case, now):
        yield from _unless_given(case, key_of_stop(stop), *_stop_work(stop, now))
    if case.stop(now) is not None:
        return
    if case.state is State.OPEN and (contact := case.without_profile) is not None:
        yield from _unless_given(case, NO_PROFILE, PROFILE_WORK, contact.requested_at + PROFILE_PATIENCE)
    if case.handed_at is not None:
        yield from _unless_given(case, HANDED_OVER, HANDED_WORK, case.handed_at + HANDED_PATIENCE)
    elif case.unstopped(now):
        yield from _errands_about_overdue(case, policy, now)


def _unended(case: Case, now: datetime) -> Iterator[Stop]:
    """Yield the stops that stand until a person ends them: matters to be answered always, others only while money is overdue."""
    if not case.stops:
        return
    found = [stop for stop in case.stops if stop.hold is not None and stop.hold.matter is not None and stop.hold.case_id == case.case_id]
    last = [case.stop(now), *(case.stop_of(debt, now) for debt in case.owed)] if case.owed else []
    found += [stop for stop in last if stop is not None]
    yield from {key_of_stop(stop): stop for stop in found if stop.until is None}.values()


def _stop_work(stop: Stop, now: datetime) -> tuple[Work, datetime]:
    """Return the work for a stop without an end, and when: if an event should end it, only once that is long in coming."""
    if stop.hold is None:
        return STOP_WORK, now
    if stop.hold.matter is not None:
        return MATTERS[stop.hold.matter].work, now
    return STOP_WORK, now if stop.hold.ends_with is None else stop.from_at + ENDING_PATIENCE


def key_of_stop(stop: Stop) -> str:
    """Return the key of the work a stop gives."""
    return f"{OF_STOP}{stop.hold.source if stop.hold is not None and stop.hold.source is not None else stop.status_id}"


def _errands_about_overdue(case: Case, policy: Policy, now: datetime) -> Iterator[tuple[str, Work, datetime | None]]:
    for contact in case.contacts:
        unresolved = contact.state is ContactState.UNRESOLVED
        if (contact.needs_person or unresolved) and contact.about is None and contact.spell == case.spell:
            yield from _unless_given(case, key_of_contact(contact), UNKNOWN_WORK if unresolved else FAILED_WORK, now)
    for key, work, moment in asked_for(case, policy):
        yield from _unless_given(case, key, work, moment)
    for step in policy.errands:
        if isinstance(step.action, Work) and is_clear(case, step) and (step.action.queue != LEGAL_QUEUE or may_tell_others(case, now)):
            lead = ready(case, step, case.unstopped(now))
            yield from _unless_given(case, step.id, step.action, lead[0] if lead else None)


def key_of_contact(contact: Contact) -> str:
    """Return the key of the work a contact gives."""
    return f"contact:{contact.step}:{contact.occurrence}"


def _unless_given(case: Case, key: str, work: Work, moment: datetime | None) -> Iterator[tuple[str, Work, datetime | None]]:
    """Yield it for that moment; once given, it comes again only some time after it was completed."""
    given = case.errands and sorted((e for e in case.errands if e.key == key), key=lambda errand: errand.occurrence)
    if not given or given[-1].withdrawn:
        yield key, work, moment
    elif given[-1].done_at is not None and work.again_after is not None:
        yield key, work, given[-1].done_at + work.again_after


def withdrawn(case: Case, now: datetime) -> tuple[Case, tuple[Errand, ...]]:
    """Withdraw the open tasks that were given because money was late, when none is; they are given again when some is in this spell."""
    if case.state is State.OPEN:
        return case, ()
    gone = tuple([e for e in case.errands if e.done_at is None and e.key not in _WHATEVER_IS_OWED and not e.key.startswith(_OF_THE_SAME)])
    if not gone:
        return case, ()
    kept = (replace(errand, done_at=now, withdrawn=True) if errand in gone else errand for errand in case.errands)
    return replace(case, errands=tuple(kept)), gone


def open_errand(case: Case, key: str) -> str | None:
    """Return the open task with this key."""
    return next((e.task_id or e.key for e in case.errands if e.key == key and e.done_at is None), None)
