"""From what wallets publish to what the ledger folds: the day of each event, and the domain's names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from libs.common.contracts import wallet_loans as wire
from libs.common.contracts.values import segment_of
from services.ingest.domain import events as e
from services.ingest.domain.product import DEFAULT, Allocation, ChargeClass, ChargesKnown, FutureRule, Mode, Slot, Tolerance
from services.ingest.domain.product import ProductLine as Line
from services.ingest.domain.select import not_retracted


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """An accepted event of a loan, as logged."""

    source: str
    id: str
    type: str
    time: datetime
    data: wire.LoanEventData


@lru_cache(maxsize=1024)
def zone_of(name: str) -> ZoneInfo:
    """Return a zone; a constant of the machine's tzdata, so caching it adds no state."""
    return ZoneInfo(name)


@lru_cache(maxsize=1024)
def local_day(now: datetime, zone: str) -> date:
    """Return the current day in a zone; called for each loan of a batch."""
    return now.astimezone(zone_of(zone)).date()


@lru_cache(maxsize=4096)
def midnight_of(day: date, zone: str) -> datetime:
    """Return the moment at which a day begins in a zone."""
    return datetime.combine(day, time.min, zone_of(zone)).astimezone(UTC)


_KEYS: dict[type, str] = {
    wire.LoanRescheduled: "version",
    wire.InstalmentDue: "n",
    wire.ChargeAdded: "charge_id",
    wire.ChargeWaived: "waiver_id",
    wire.WaiverReversed: "waiver_id",
    wire.RepaymentReceived: "repayment_id",
    wire.RepaymentPending: "repayment_id",
    wire.RepaymentReversed: "repayment_id",
    wire.RepaymentChargedBack: "chargeback_id",
    wire.CreditRefunded: "refund_id",
    wire.LoanChargedOff: "charge_off_id",
    wire.ChargeOffReversed: "charge_off_id",
    wire.LoanWrittenOff: "write_off_id",
}
"""The field that identifies an event of a kind within its loan, besides the event id; other kinds have no such key."""
_PAYMENT_KINDS = {kind.value: kind for kind in e.PaymentKind}


def zone_among(accepted: Sequence[Accepted]) -> str:
    """Return the zone of the disbursement that counts; UTC while there is none."""
    first = disbursement_of(accepted)
    return "UTC" if first is None else str(first.data.timezone)  # type: ignore[union-attr]  # it is a disbursement


def disbursement_of(accepted: Sequence[Accepted]) -> Accepted | None:
    """Return the disbursement that counts: of those not retracted, the one with the lowest (time, source, id)."""
    found = [one for one in accepted if isinstance(one.data, wire.LoanDisbursed)]
    if any(isinstance(one.data, wire.EventRetracted) for one in accepted):
        kept, _ = not_retracted(to_domain(one, "UTC", DEFAULT) for one in accepted)
        names = {(event.place.source, event.place.id) for event in kept}
        found = [one for one in found if (one.source, one.id) in names]
    return min(found, key=lambda one: (one.time, one.source, one.id), default=None)


def to_domain(accepted: Accepted, zone: str, line: Line) -> e.LoanEvent:
    """Return an event in the form that the fold takes."""
    data = accepted.data
    here = zone_of(zone)
    place = e.Place(_day(accepted, here), accepted.time, accepted.source, accepted.id)
    return _MAKERS[type(data)](place, data, here, line)


def business_key(data: wire.LoanEventData) -> str | None:
    """Return the event's key within its loan, besides the event id; the type keeps keys of different kinds apart."""
    kind = type(data)
    field = _KEYS.get(kind)
    value = None if field is None else getattr(data, field)
    return None if value is None else f"{kind.__name__}:{value}"


def key_in_words(type_: str, key: str) -> str:
    """Return a key of an event of this type in the contract's words: `repayment_id r2`."""
    return f"{_KEYS[wire.LOAN_EVENTS[type_]]} {key.partition(':')[2]}"


def _day(accepted: Accepted, zone: ZoneInfo) -> date:
    """Return the day on which an event counts (contract, section 2); for charges and the like the fold refines it."""
    match accepted.data:
        case wire.RepaymentReceived(paid_at=moment) | wire.RepaymentChargedBack(at=moment) | wire.CreditRefunded(at=moment):
            return moment.astimezone(zone).date()
        case wire.LoanRescheduled(effective_on=day) if day is not None:
            return day
        case wire.LoanChargedOff(on=day) | wire.LoanWrittenOff(on=day) | wire.LoanClosed(on=day) | wire.LoanDisbursed(disbursed_on=day):
            return day
        case _:
            return accepted.time.astimezone(zone).date()


def _row(row: wire.Instalment) -> e.Row:
    return e.Row(row.n, row.due_on, row.principal, row.interest, row.fee, row.penalty, row.down_payment)


def _disbursed(place: e.Place, data: wire.LoanDisbursed, _: ZoneInfo, line: Line) -> e.Disbursed:
    return e.Disbursed(
        place, data.borrower_id, data.product, data.currency, data.disbursed_on, data.timezone, data.jurisdictions, data.grace_days,
        tolerance_of(data.tolerance) if data.tolerance is not None else None,
        allocation_of(data.allocation, line.allocation) if data.allocation is not None else None,
        tuple(_row(row) for row in data.schedule or ()), segment_of(data.attributes or {}),
    )  # fmt: skip


def tolerance_of(tolerance: wire.Tolerance) -> Tolerance:
    """Return a tolerance in whole numbers."""
    return Tolerance(tolerance.amount, int(tolerance.percent * 10_000))


def allocation_of(given: wire.Allocation, default: Allocation) -> Allocation:
    """Return the given allocation, with the product line's values for what it leaves out."""
    future = dict(default.future_instalments)
    future.update({kind: FutureRule(rule) for kind, rule in (given.future_instalments or {}).items()})
    return Allocation(
        mode=Mode(given.mode) if given.mode else default.mode,
        order=tuple(Slot(slot) for slot in given.order) if given.order else default.order,
        future_instalments=tuple(sorted(future.items())),
        charge_class_by=ChargeClass(given.charge_class_by) if given.charge_class_by else default.charge_class_by,
        charges_known=ChargesKnown(given.charges_known) if given.charges_known else default.charges_known,
        chargeback_split=tuple(e.Component(c) for c in given.chargeback_split) if given.chargeback_split else default.chargeback_split,
        chargeback_skips_down_payment=(
            default.chargeback_skips_down_payment if given.chargeback_skips_down_payment is None else given.chargeback_skips_down_payment
        ),
    )


def _rescheduled(place: e.Place, data: wire.LoanRescheduled, _: ZoneInfo, __: Line) -> e.Rescheduled:
    rows = tuple(_row(row) for row in data.schedule)
    return e.Rescheduled(place, data.version, data.reason, rows, e.Effect(data.effect), data.effective_on)


def _instalment(place: e.Place, data: wire.InstalmentDue, _: ZoneInfo, __: Line) -> e.InstalmentDue:
    return e.InstalmentDue(place, e.Row(data.n, data.due_on, data.principal, data.interest, data.fee, data.penalty), data.currency)


def _charge(place: e.Place, data: wire.ChargeAdded, _: ZoneInfo, __: Line) -> e.ChargeAdded:
    return e.ChargeAdded(place, data.charge_id, e.Component(data.kind), data.amount, data.due_on, data.n)


def _waived(place: e.Place, data: wire.ChargeWaived, _: ZoneInfo, __: Line) -> e.Waived:
    component = e.Component(data.component) if data.component else None
    return e.Waived(place, data.waiver_id, data.charge_id, data.n, component, data.amount)


def _repaid(place: e.Place, data: wire.RepaymentReceived, _: ZoneInfo, __: Line) -> e.Repaid:
    given = data.allocations
    allotted = tuple([e.Allotted(a.n, e.Parts(a.principal, a.interest, a.fee, a.penalty)) for a in given]) if given else ()
    return e.Repaid(place, data.repayment_id, data.amount, place.day, _PAYMENT_KINDS[data.kind], allotted)


def _charged_back(place: e.Place, data: wire.RepaymentChargedBack, _: ZoneInfo, __: Line) -> e.ChargedBack:
    return e.ChargedBack(place, data.chargeback_id, data.repayment_id, data.amount, place.day)


def _refunded(place: e.Place, data: wire.CreditRefunded, _: ZoneInfo, __: Line) -> e.CreditRefunded:
    return e.CreditRefunded(place, data.refund_id, data.amount, place.day)


_MAKERS: dict[type, Callable[[e.Place, Any, ZoneInfo, Line], e.LoanEvent]] = {
    wire.LoanDisbursed: _disbursed,
    wire.LoanRescheduled: _rescheduled,
    wire.InstalmentDue: _instalment,
    wire.ChargeAdded: _charge,
    wire.ChargeWaived: _waived,
    wire.WaiverReversed: lambda p, d, _, __: e.WaiverReversed(p, d.waiver_id),
    wire.RepaymentReceived: _repaid,
    wire.RepaymentPending: lambda p, d, _, __: e.RepaymentPending(p, d.repayment_id, d.amount, d.until),
    wire.RepaymentReversed: lambda p, d, _, __: e.RepaymentReversed(p, d.repayment_id),
    wire.RepaymentChargedBack: _charged_back,
    wire.CreditRefunded: _refunded,
    wire.LoanPaused: lambda p, d, _, __: e.Paused(p, d.from_, d.until),
    wire.LoanResumed: lambda p, d, _, __: e.Resumed(p, d.on),
    wire.LoanChargedOff: lambda p, d, _, __: e.ChargedOff(p, d.on, d.charge_off_id),
    wire.ChargeOffReversed: lambda p, d, _, __: e.ChargeOffReversed(p, d.charge_off_id),
    wire.LoanWrittenOff: lambda p, d, _, __: e.WrittenOff(p, d.on, d.write_off_id),
    wire.LoanClosed: lambda p, d, _, __: e.Closed(p, d.on),
    wire.EventRetracted: lambda p, d, _, __: e.Retracted(p, d.source, d.event_id),
}
