"""The overdue clock belongs to ingest: holds that pause it publish loan events for it, as the wallet itself would."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import msgspec

from libs.common import ids
from libs.common.bus.ports import Message, partition_of
from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC, of_tenant
from libs.common.contracts.wallet_loans import EventRetracted, LoanPaused
from services.scheduler.domain.case import Case, Debt
from services.scheduler.domain.stops import Stop

SOURCE = "dunwell/scheduler"
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Release:
    """The end of a hold: why, and which person ended it, if any."""

    stop: Stop
    why: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class InZone:
    """A loan whose clock is paused, and its time zone."""

    loan_id: str
    timezone: str


@dataclass(frozen=True, slots=True)
class Telling:
    """What messages to ingest need: the number of partitions, the tenant whose topics are unprefixed, and the time."""

    partitions: int
    first_tenant: str
    at: datetime


def clocks_paused(case: Case, stop: Stop, on: Telling) -> list[Message]:
    """Pause the clocks of this hold's loans, from its first local day up to (not including) the day it ends."""
    return [
        _message(case, loan, "paused", stop.status_id, LoanPaused(loan_id=loan.loan_id, from_=days[0], until=days[1]), on=on)
        for loan in _of(case, stop)
        if (days := _days(stop, loan)) is not None
    ]


def clocks_resumed(case: Case, release: Release, on: Telling) -> list[Message]:
    """Resume the clocks if a hold ended early; one that reached its planned end needs nothing, since the pause already stated it.

    The pause is repeated with today as its end and the first one retracted: a resume would end every pause of the loan on that day,
    including other holds' and the wallet's own.
    """
    stop = release.stop
    if (until := _foreseen(stop)) is not None and until <= on.at:
        return []
    said: list[Message] = []
    for loan in _of(case, stop):
        if (days := _days(stop, loan)) is None:
            continue
        if days[0] < (today := day_of(on.at, loan)):
            until_now = LoanPaused(loan_id=loan.loan_id, from_=days[0], until=today)
            said.append(_message(case, loan, "paused", f"{stop.status_id}/ended", until_now, on=on))
        taken_back = EventRetracted(loan_id=loan.loan_id, source=SOURCE, event_id=event_id(case.tenant, "paused", stop.status_id, loan))
        said.append(_message(case, loan, "retracted", stop.status_id, taken_back, on=on))
    return said


def day_of(moment: datetime, loan: Debt | InZone) -> date:
    """Return the loan's local date of a moment."""
    return moment.astimezone(ZoneInfo(loan.timezone)).date()


def event_id(tenant: str, what: str, hold_id: str, loan: InZone) -> str:
    """Return the stable id of this event."""
    return ids.derived("p", tenant, what, hold_id, loan.loan_id)


def _days(stop: Stop, loan: InZone) -> tuple[date, date | None] | None:
    """Return the days on which a hold pauses a clock, the last excluded; None if it begins and ends on the same day."""
    until = _foreseen(stop)
    begins, ends = day_of(stop.from_at, loan), None if until is None else day_of(until, loan)
    return (begins, ends) if ends is None or begins < ends else None


def _foreseen(stop: Stop) -> datetime | None:
    """Return the planned end of a hold when it was set: one that an event ends had none."""
    return None if stop.hold is not None and stop.hold.ends_with is not None else stop.until


def _of(case: Case, stop: Stop) -> list[InZone]:
    """Return the loans whose clocks pause with a hold, even if paid by now; one no longer in the case takes another one's zone."""
    zones = {debt.loan_id: debt.timezone for debt in case.debts}
    elsewhere = next(iter(zones.values()), "UTC")
    return [InZone(loan_id, zones.get(loan_id, elsewhere)) for loan_id in (stop.hold.paused if stop.hold else ())]


def _message(case: Case, loan: InZone, what: str, hold_id: str, data: LoanPaused | EventRetracted, *, on: Telling) -> Message:
    kind = "wallet.event.retracted.v1" if isinstance(data, EventRetracted) else f"wallet.loan.{what}.v1"
    headers = (
        ("ce_specversion", b"1.0"), ("ce_id", event_id(case.tenant, what, hold_id, loan).encode()), ("ce_source", SOURCE.encode()),
        ("ce_type", kind.encode()), ("ce_time", on.at.isoformat().encode()), ("ce_subject", loan.loan_id.encode()),
        ("content-type", b"application/json"),
    )  # fmt: skip
    topic = of_tenant(LOAN_EVENTS_TOPIC, case.tenant, first=on.first_tenant)
    partition = partition_of(case.tenant, loan.loan_id, on.partitions)
    return Message(topic, partition, loan.loan_id.encode(), _encode(data), headers)
