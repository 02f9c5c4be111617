"""From which day on new events change what was said of a loan before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

from libs.common.contracts import wallet_loans as wire
from services.ingest import folding
from services.ingest.reading import Accepted, day_of, zone_of
from services.ingest.store.events import LogRow

_EARLIEST = date.min


def corrects_from(new: Sequence[Accepted], logged: Sequence[LogRow], zone: str, today: date) -> date | None:
    """Return the first day before today whose state these events change, None where they change none.

    What undoes another event changes the days from that one's on: it is looked for among the events of the log.
    """
    first = min((day for one in new for day in _days(one, logged, zone)), default=today)
    return first if _EARLIEST < first < today else None


def _days(one: Accepted, logged: Sequence[LogRow], zone: str) -> Iterator[date]:
    """Yield from when an event and, where it undoes another, that one change the loan."""
    chain, undoing = {(one.source, one.id)}, one
    if (day := _begins(one, zone)) is not None:
        yield day
    while (row := _undone(undoing, logged)) is not None and (row.source, row.event_id) not in chain:
        chain.add((row.source, row.event_id))
        undoing = folding.accepted_of(row)
        if (day := _begins(undoing, zone)) is not None:
            yield day


def _begins(one: Accepted, zone: str) -> date | None:
    """Return the first day whose state an event changes by itself; None for one that leaves what is owed as it is."""
    match one.data:
        case wire.RepaymentPending():
            return None
        case wire.LoanPaused(from_=day) | wire.LoanResumed(on=day):
            return day
        case wire.ChargeAdded(due_on=day) | wire.InstalmentDue(due_on=day):
            return min(day, day_of(one, zone_of(zone)))
        case _:
            return day_of(one, zone_of(zone))


def _undone(one: Accepted, logged: Sequence[LogRow]) -> LogRow | None:
    """Return the event that this one undoes, where the log has it."""
    match one.data:
        case wire.RepaymentReversed(repayment_id=of):
            key = f"RepaymentReceived:{of}"
        case wire.WaiverReversed(waiver_id=of):
            key = f"ChargeWaived:{of}"
        case wire.ChargeOffReversed(charge_off_id=of):
            key = f"LoanChargedOff:{of}"
        case wire.EventRetracted(event_id=of, source=source):
            said_by = source or one.source
            return next((row for row in logged if (row.source, row.event_id) == (said_by, of)), None)
        case _:
            return None
    return next((row for row in logged if row.business_key == key), None)
