"""The overdue clock belongs to ingest: holds that pause it say so as events of the loans, as the wallet itself would."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from libs.common import ids
from libs.common.bus.ports import Message, partition_of
from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC, of_tenant
from libs.common.contracts.wallet_loans import EventRetracted, LoanPaused, LoanResumed
from services.scheduler.domain.case import Case, Debt
from services.scheduler.domain.stops import Stop

SOURCE = "dunwell/scheduler"
_INSTANT = timedelta(microseconds=1)
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Release:
    """The end of a hold: why, and who has ended it where a person did."""

    stop: Stop
    why: str
    by: str | None = None


@dataclass(frozen=True, slots=True)
class Telling:
    """Over how many partitions ingest reads, whose topics have the plain names, and when it is said."""

    partitions: int
    first_tenant: str
    at: datetime


def clocks_paused(case: Case, stop: Stop, on: Telling) -> list[Message]:
    """Say that the clocks of the loans of this hold rest, from its first local day to its last."""
    return [
        _message(
            case, debt, "paused", stop.status_id, LoanPaused(loan_id=debt.loan_id, from_=day_of(stop.from_at, debt), until=last), on=on
        )
        for debt in _of(case, stop)
        if (last := last_day(stop.until, debt)) is None or last >= day_of(stop.from_at, debt)
    ]


def clocks_resumed(case: Case, release: Release, on: Telling) -> list[Message]:
    """Say that the clocks run again where a hold has ended before its time; one that came to its end has said so when it was set.

    A resume ends every pause of the loan that holds its day. Where another hold still pauses it, or this one had not begun, the pause
    is taken back instead, and said again up to yesterday.
    """
    stop = release.stop
    if not stop.hold or not stop.hold.paused or stop.over(on.at):
        return []
    others = [one for one in case.stops if one.status_id != stop.status_id and one.hold is not None and not one.over(on.at)]
    said: list[Message] = []
    for debt in _of(case, stop):
        today, begun = day_of(on.at, debt), day_of(stop.from_at, debt)
        if begun <= today and not any(one.hold is not None and debt.loan_id in one.hold.paused for one in others):
            said.append(_message(case, debt, "resumed", stop.status_id, LoanResumed(loan_id=debt.loan_id, on=today), on=on))
            continue
        taken_back = EventRetracted(loan_id=debt.loan_id, source=SOURCE, event_id=event_id(case.tenant, "paused", stop.status_id, debt))
        said.append(_message(case, debt, "retracted", stop.status_id, taken_back, on=on))
        if begun < today:
            until_now = LoanPaused(loan_id=debt.loan_id, from_=begun, until=today - timedelta(days=1))
            said.append(_message(case, debt, "paused", f"{stop.status_id}/ended", until_now, on=on))
    return said


def day_of(moment: datetime, debt: Debt) -> date:
    """Return the loan's local date of a moment."""
    return moment.astimezone(ZoneInfo(debt.timezone)).date()


def last_day(until: datetime | None, debt: Debt) -> date | None:
    """Return the last local day of a time that ends before this moment."""
    return None if until is None else day_of(until - _INSTANT, debt)


def event_id(tenant: str, what: str, hold_id: str, debt: Debt) -> str:
    """Return the id that this event always has."""
    return ids.derived("p", tenant, what, hold_id, debt.loan_id)


def _of(case: Case, stop: Stop) -> list[Debt]:
    paused = stop.hold.paused if stop.hold else ()
    return [debt for debt in case.debts if debt.loan_id in paused]


def _message(case: Case, debt: Debt, what: str, hold_id: str, data: LoanPaused | LoanResumed | EventRetracted, *, on: Telling) -> Message:
    kind = "wallet.event.retracted.v1" if isinstance(data, EventRetracted) else f"wallet.loan.{what}.v1"
    headers = (
        ("ce_specversion", b"1.0"), ("ce_id", event_id(case.tenant, what, hold_id, debt).encode()), ("ce_source", SOURCE.encode()),
        ("ce_type", kind.encode()), ("ce_time", on.at.isoformat().encode()), ("ce_subject", debt.loan_id.encode()),
        ("content-type", b"application/json"),
    )  # fmt: skip
    topic = of_tenant(LOAN_EVENTS_TOPIC, case.tenant, first=on.first_tenant)
    partition = partition_of(case.tenant, debt.loan_id, on.partitions)
    return Message(topic, partition, debt.loan_id.encode(), _encode(data), headers)
