"""Which events count, and in which order: decided before any money is allocated."""

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple

from services.ingest.domain.book import Pending, Stamp
from services.ingest.domain.events import (
    ChargeAdded,
    ChargedBack,
    ChargedOff,
    ChargeOffReversed,
    CreditRefunded,
    Disbursed,
    Effect,
    InstalmentDue,
    LoanEvent,
    Paused,
    Placed,
    Repaid,
    RepaymentPending,
    RepaymentReversed,
    Rescheduled,
    Resumed,
    Retracted,
    Waived,
    WaiverReversed,
    WrittenOff,
    charge_day,
)
from services.ingest.domain.product import ChargesKnown

Key = tuple[date, datetime, str, str, int]
Identity = tuple[str, str]
"""Source and id of an event."""
AWAITED_CHARGE_OFF = "charge_off\0"
"""What a reversal without an id awaits: a charge-off that arrives later but was recorded before it."""


class Step(NamedTuple):
    """An event with the key of its place; the last part of the key puts a waiver after its charge."""

    key: Key
    event: Placed


@dataclass(slots=True)
class Sorted:
    """The events of a loan by kind; `ignored` and `awaited` come from events that point at something absent."""

    disbursed: list[Disbursed] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    pending: dict[str, datetime] = field(default_factory=dict)
    repaid: dict[str, Repaid] = field(default_factory=dict)
    charges: dict[str, ChargeAdded] = field(default_factory=dict)
    reversed_payments: set[str] = field(default_factory=set)
    undone: set[tuple[str, str]] = field(default_factory=set)
    undoing: list[tuple[str, str, str]] = field(default_factory=list)
    nameless: list[ChargeOffReversed] = field(default_factory=list)
    ignored: list[tuple[Stamp, str]] = field(default_factory=list)
    awaited: set[str] = field(default_factory=set)


def stamp_of(event: LoanEvent) -> tuple[datetime, str, str]:
    """Return the place of an event without its day: the order in which the publisher's books recorded events."""
    place = event.place
    return place.time, place.source, place.id


def not_retracted(events: Iterable[LoanEvent]) -> tuple[list[LoanEvent], list[Retracted]]:
    """Leave out repeats, retracted events and retractions; return retractions without a target separately.

    A retracted event counts as never sent. A retraction that is itself retracted does nothing, whichever was recorded first.
    """
    known = {(event.place.source, event.place.id): event for event in events}
    retractions = {own: event for own, event in known.items() if type(event) is Retracted}
    if not retractions:
        return list(known.values()), []
    undone, idle = _undone(retractions, known)
    return [event for own, event in known.items() if own not in undone and own not in retractions], idle


def _target(event: Retracted) -> Identity:
    return event.source or event.place.source, event.event_id


def _undone(retractions: Mapping[Identity, Retracted], known: Container[Identity]) -> tuple[set[Identity], list[Retracted]]:
    """Return what is retracted, and the retractions that find nothing to retract: of several of one event, the last recorded one counts.

    Retractions that nothing retracts come first, each followed by its target once everything that retracts the target has been judged.
    The rest retract each other in a ring, in which the last recorded one counts.
    """
    aims = {own: _target(event) for own, event in retractions.items() if _target(event) != own}
    against = Counter(aims.values())
    undone: set[Identity] = set()
    idle, judged = list[Retracted](), set[Identity]()
    for start in sorted(aims, key=lambda own: (not against[own], stamp_of(retractions[own])), reverse=True):
        own = start
        while own in aims and own not in judged and (own == start or not against[own]):
            judged.add(own)
            if own not in undone:
                idle += [retractions[own]] if aims[own] not in known or aims[own] in undone else []
                undone.add(aims[own])
            against[aims[own]] -= 1
            own = aims[own]
    return undone, idle


def classified(events: Iterable[LoanEvent]) -> Sorted:
    """Sort the events by what they do."""
    found = Sorted()
    for event in events:
        match event:
            case Repaid():
                found.repaid[event.repayment_id] = event
                found.placed.append(event)
            case Disbursed():
                found.disbursed.append(event)
            case ChargeAdded():
                found.charges[event.charge_id] = event
                found.placed.append(event)
            case RepaymentPending():
                until = found.pending.get(event.repayment_id, event.until)
                found.pending[event.repayment_id] = max(until, event.until)
            case RepaymentReversed() | WaiverReversed() | ChargeOffReversed():
                _undo(found, event)
            case Retracted():
                pass
            case _:
                found.placed.append(event)
    for event in found.nameless:
        _undo_nameless(found, event)
    return found


def _undo_nameless(found: Sorted, event: ChargeOffReversed) -> None:
    """Undo every charge-off recorded before in the publisher's books."""
    before = [one for one in found.placed if type(one) is ChargedOff and stamp_of(one) < stamp_of(event)]
    for name in [identity(one)[1] for one in before] or [""]:
        found.undone.add(("charge_off", name))
        found.undoing.append(("charge_off", name, event.place.id))


def _undo(found: Sorted, event: RepaymentReversed | WaiverReversed | ChargeOffReversed) -> None:
    match event:
        case RepaymentReversed():
            what, name = "repayment", event.repayment_id
            found.reversed_payments.add(name)
        case WaiverReversed():
            what, name = "waiver", event.waiver_id
        case ChargeOffReversed():
            if event.charge_off_id is None:
                found.nameless.append(event)
                return
            what, name = "charge_off", event.charge_off_id
    found.undone.add((what, name))
    found.undoing.append((what, name, event.place.id))


def identity(event: Placed) -> tuple[str, str]:
    """Return the key under which the loan knows this: a second event with it is a repeat."""
    match event:
        case Repaid():
            return "repayment", event.repayment_id
        case ChargeAdded():
            return "charge", event.charge_id
        case Waived():
            return "waiver", event.waiver_id
        case ChargedBack():
            return "chargeback", event.chargeback_id
        case CreditRefunded():
            return "refund", event.refund_id
        case ChargedOff():
            return "charge_off", event.charge_off_id or event.place.id
        case WrittenOff():
            return "write_off", event.write_off_id or event.place.id
        case _:
            return "event", f"{event.place.source}\0{event.place.id}"


def key_of(event: Placed, known: ChargesKnown, *, target: Key | None = None, due_on: date | None = None) -> Key:
    """Return the place at which an event is applied.

    Instalments and pauses count from their own date if that is earlier than the day they were recorded; a waiver from the due date of
    what it waives, but never before that is there.
    """
    place = event.place
    day = place.day
    if type(event) is ChargeAdded:
        day = charge_day(known, event.due_on, day)
    elif type(event) is InstalmentDue:
        day = min(event.row.due_on, day)
    elif type(event) is Paused:
        day = min(event.from_on, day)
    elif type(event) is Resumed:
        day = min(event.on, day)
    elif due_on is not None:
        day = min(due_on, day)
    key = day, place.time, place.source, place.id, 0
    return key if target is None or key > target else (*target[:4], 1)


def placed_steps(found: Sorted, known: ChargesKnown) -> list[Step]:
    """Return the events that have an effect, in order."""
    steps = []
    for event in found.placed:
        target, due_on = None, None
        if type(event) is Waived and event.charge_id is not None:
            charge = found.charges.get(event.charge_id)
            if charge is not None:
                target, due_on = key_of(charge, known), charge.due_on
        steps.append(Step(key_of(event, known, target=target, due_on=due_on), event))
    steps.sort(key=lambda step: step.key)
    return steps


def base_of(found: Sorted) -> Disbursed | None:
    """Return the disbursement that makes the loan: the one recorded first, whatever its day."""
    return min(found.disbursed, key=stamp_of, default=None)


def schedule_from_start(steps: Iterable[Step], as_of: date) -> tuple[Rescheduled, Key] | None:
    """Return the highest version among the schedules effective from the start."""
    chosen = None
    for key, event in steps:
        if key[0] > as_of:
            break
        if type(event) is Rescheduled and event.effect is Effect.FROM_START and (chosen is None or event.version > chosen[0].version):
            chosen = event, key
    return chosen


def pending_of(found: Sorted) -> tuple[Pending, ...]:
    """Return the pending payments that have no result yet."""
    still = (name for name in found.pending if name not in found.repaid and name not in found.reversed_payments)
    return tuple(Pending(name, found.pending[name]) for name in sorted(still))


def absent_target(found: Sorted, event: Placed, as_of: date) -> tuple[str, str] | None:
    """Return the missing thing that an event points at, and the key under which it is awaited."""
    if isinstance(event, ChargedBack):
        payment = found.repaid.get(event.repayment_id)
        if event.repayment_id in found.reversed_payments:
            return f"payment {event.repayment_id} is reversed", f"repayment\0{event.repayment_id}"
        if payment is None or payment.place.day > as_of:
            return f"no payment {event.repayment_id}", f"repayment\0{event.repayment_id}"
    if isinstance(event, Waived) and event.charge_id is not None and event.charge_id not in found.charges:
        return f"no charge {event.charge_id}", f"charge\0{event.charge_id}"
    return None


def idle_undoings(found: Sorted) -> list[tuple[str, str, str]]:
    """Return the reversals without a target: what they name, and their own event ids."""
    if not found.undoing:
        return []
    there = {identity(event) for event in found.placed}
    return [(what, name, event_id) for what, name, event_id in found.undoing if (what, name) not in there]
