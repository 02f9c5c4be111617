"""The day on which each event counts, and its keys within the loan (contract, section 2)."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts import wallet_loans as wire
from libs.common.contracts.wallet_loans import LOAN_EVENTS, LoanEventData
from services.ingest.domain import events as e
from services.ingest.domain import product
from services.ingest.reading import Accepted, allocation_of, business_key, to_domain, tolerance_of, zone_among

SHANGHAI, NEW_YORK, APIA = "Asia/Shanghai", "America/New_York", "Pacific/Apia"
TIME = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
"""In Shanghai it is already the 21st."""
ROW = {"n": 1, "due_on": "2026-12-01", "principal": 9000}


def accepted(type_: str, *, time: datetime = TIME, event_id: str = "e1", source: str = "wallet", **data: Any) -> Accepted:
    name = f"wallet.{type_}.v1"
    value: LoanEventData = msgspec.convert({"loan_id": "L1", **{field.rstrip("_"): one for field, one in data.items()}}, LOAN_EVENTS[name])
    return Accepted(source, event_id, name, time, value)


def disbursed(zone: str = SHANGHAI, *, time: datetime = TIME, event_id: str = "e1", source: str = "wallet") -> Accepted:
    return accepted(
        "loan.disbursed", time=time, event_id=event_id, source=source, borrower_id="B1", product="cash-loan", currency="CNY",
        disbursed_on="2026-09-01", timezone=zone, jurisdictions=["CN"], schedule=[ROW],
    )  # fmt: skip


def day_of(one: Accepted, zone: str = SHANGHAI) -> date:
    return to_domain(one, zone, product.DEFAULT).place.day


DAYS: dict[str, tuple[Accepted, date]] = {
    "a disbursement on its day": (disbursed(), date(2026, 9, 1)),
    "a repayment on the local day it was paid": (
        accepted("repayment.received", repayment_id="r", amount=1, paid_at="2026-10-01T17:00:00Z"),
        date(2026, 10, 2),
    ),
    "a chargeback on the local day it was made": (
        accepted("repayment.charged_back", chargeback_id="c", repayment_id="r", amount=1, at="2026-10-01T15:59:59Z"),
        date(2026, 10, 1),
    ),
    "a refund on the local day it was made": (
        accepted("credit.refunded", refund_id="f", amount=1, at="2026-10-01T16:00:00Z"),
        date(2026, 10, 2),
    ),
    "a reschedule on the day it says": (
        accepted("loan.rescheduled", version=2, schedule=[ROW], effect="from_date", effective_on="2026-12-24"),
        date(2026, 12, 24),
    ),
    "a reschedule that says none on the local day of its time": (
        accepted("loan.rescheduled", version=2, schedule=[ROW], effect="from_start"),
        date(2026, 11, 21),
    ),
    "a charge-off on its day": (accepted("loan.charged_off", on="2027-03-31"), date(2027, 3, 31)),
    "a write-off on its day": (accepted("loan.written_off", on="2027-04-01"), date(2027, 4, 1)),
    "a closing on its day": (accepted("loan.closed", on="2027-04-02"), date(2027, 4, 2)),
    "a charge with the local day of its time, which the fold compares": (
        accepted("charge.added", charge_id="c", kind="fee", amount=1, due_on="2026-11-01"),
        date(2026, 11, 21),
    ),
    "a waiver on the local day of its time": (accepted("charge.waived", waiver_id="w", charge_id="c"), date(2026, 11, 21)),
    "a reversal on the local day of its time": (accepted("repayment.reversed", repayment_id="r"), date(2026, 11, 21)),
    "a pause on the local day of its time": (accepted("loan.paused", from_="2026-12-01"), date(2026, 11, 21)),
    "a retraction on the local day of its time": (
        Accepted("wallet", "e1", "wallet.event.retracted.v1", TIME, wire.EventRetracted(loan_id="L1", event_id="x")),
        date(2026, 11, 21),
    ),
}


@pytest.mark.parametrize(("one", "day"), DAYS.values(), ids=DAYS.keys())
def test_an_event_counts_on_its_day(one: Accepted, day: date) -> None:
    assert day_of(one) == day


def test_every_type_of_the_contract_is_understood() -> None:
    shown = {one.type for one, _ in DAYS.values()}
    rest: dict[str, dict[str, Any]] = {
        "wallet.instalment.due.v1": {"n": 1, "due_on": "2026-12-01", "principal": 1},
        "wallet.charge.waiver_reversed.v1": {"waiver_id": "w"},
        "wallet.repayment.pending.v1": {"repayment_id": "r", "amount": 1, "until": "2026-12-01T00:00:00Z"},
        "wallet.loan.resumed.v1": {"on": "2026-12-01"},
        "wallet.loan.charge_off_reversed.v1": {"charge_off_id": "c"},
    }
    assert shown | rest.keys() == LOAN_EVENTS.keys()
    for name, data in rest.items():
        assert day_of(accepted(name.removeprefix("wallet.").removesuffix(".v1"), **data)) == date(2026, 11, 21)


@pytest.mark.parametrize(
    ("zone", "moment", "day"),
    [
        (NEW_YORK, "2026-11-01T04:30:00Z", date(2026, 11, 1)),
        (NEW_YORK, "2026-11-01T03:59:59Z", date(2026, 10, 31)),
        (NEW_YORK, "2026-11-02T04:30:00Z", date(2026, 11, 1)),
        (APIA, "2026-11-01T11:00:00Z", date(2026, 11, 2)),
        ("Etc/GMT", "2026-11-02T01:30:00+08:00", date(2026, 11, 1)),
        (SHANGHAI, "1970-01-01T00:00:00Z", date(1970, 1, 1)),
        (NEW_YORK, "1970-01-01T00:00:00Z", date(1969, 12, 31)),
        (APIA, "2199-12-31T23:59:59Z", date(2200, 1, 1)),
    ],
)
def test_a_payment_counts_on_the_day_that_the_loans_clock_shows(zone: str, moment: str, day: date) -> None:
    one = accepted("repayment.received", repayment_id="r", amount=1, paid_at=moment)
    assert day_of(one, zone) == day
    event = to_domain(one, zone, product.DEFAULT)
    assert isinstance(event, e.Repaid)
    assert event.paid_on == day


def test_the_zone_is_that_of_the_disbursement_that_counts() -> None:
    later = disbursed("Asia/Tokyo", time=TIME.replace(hour=23, minute=45), event_id="e0")
    other_source = disbursed(NEW_YORK, event_id="e0", source="z-wallet")
    assert zone_among([later, other_source, disbursed(), accepted("loan.closed", on="2027-01-01")]) == SHANGHAI
    assert zone_among([accepted("loan.closed", on="2027-01-01")]) == "UTC"
    assert zone_among([]) == "UTC"


@given(
    st.permutations([disbursed(SHANGHAI, event_id="a"), disbursed(NEW_YORK, event_id="b"), disbursed(APIA, event_id="B", source="Wallet")])
)
def test_the_zone_does_not_depend_on_the_order_and_texts_are_compared_by_code_point(given_order: list[Accepted]) -> None:
    assert zone_among(given_order) == APIA


KEYS: dict[str, tuple[dict[str, Any], str | None]] = {
    "loan.disbursed": (
        {"borrower_id": "B", "product": "p", "currency": "CNY", "disbursed_on": "2026-09-01", "timezone": "UTC", "jurisdictions": []},
        None,
    ),
    "loan.rescheduled": ({"version": 2, "schedule": [ROW], "effect": "from_date"}, "LoanRescheduled:2"),
    "instalment.due": ({"n": 3, "due_on": "2026-12-01", "principal": 1}, "InstalmentDue:3"),
    "charge.added": ({"charge_id": "c", "kind": "fee", "amount": 1, "due_on": "2026-12-01"}, "ChargeAdded:c"),
    "charge.waived": ({"waiver_id": "w", "charge_id": "c"}, "ChargeWaived:w"),
    "charge.waiver_reversed": ({"waiver_id": "w"}, "WaiverReversed:w"),
    "repayment.received": ({"repayment_id": "r", "amount": 1, "paid_at": "2026-12-01T00:00:00Z"}, "RepaymentReceived:r"),
    "repayment.pending": ({"repayment_id": "r", "amount": 1, "until": "2026-12-01T00:00:00Z"}, "RepaymentPending:r"),
    "repayment.reversed": ({"repayment_id": "r"}, "RepaymentReversed:r"),
    "repayment.charged_back": (
        {"chargeback_id": "cb", "repayment_id": "r", "amount": 1, "at": "2026-12-01T00:00:00Z"},
        "RepaymentChargedBack:cb",
    ),
    "credit.refunded": ({"refund_id": "f", "amount": 1, "at": "2026-12-01T00:00:00Z"}, "CreditRefunded:f"),
    "loan.charged_off": ({"on": "2026-12-01", "charge_off_id": "co"}, "LoanChargedOff:co"),
    "loan.charge_off_reversed": ({"charge_off_id": "co"}, "ChargeOffReversed:co"),
    "loan.written_off": ({"on": "2026-12-01", "write_off_id": "wo"}, "LoanWrittenOff:wo"),
    "loan.closed": ({"on": "2026-12-01"}, None),
    "loan.paused": ({"from": "2026-12-01"}, None),
    "loan.resumed": ({"on": "2026-12-01"}, None),
}


@pytest.mark.parametrize(("name", "data", "key"), [(name, *rest) for name, rest in KEYS.items()], ids=KEYS)
def test_a_loan_knows_an_event_by_the_key_of_its_business(name: str, data: dict[str, Any], key: str | None) -> None:
    assert business_key(accepted(name, **data).data) == key


def test_a_charge_off_without_an_id_has_no_key_but_its_event() -> None:
    assert business_key(accepted("loan.charged_off", on="2026-12-01").data) is None
    assert business_key(accepted("loan.written_off", on="2026-12-01").data) is None


def test_keys_of_different_kinds_never_meet() -> None:
    keys = [key for data, key in ((accepted(name, **data).data, key) for name, (data, key) in KEYS.items()) if key is not None]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(("percent", "millionths"), [("2.5", 25_000), ("0.125", 1_250), ("0.0001", 1), ("100", 1_000_000)])
def test_a_tolerance_becomes_whole_millionths_and_nothing_is_rounded(percent: str, millionths: int) -> None:
    given_one = msgspec.convert({"amount": 100, "percent": percent}, wire.Tolerance)
    assert tolerance_of(given_one) == product.Tolerance(100, millionths)


def test_an_allocation_is_silent_where_the_product_line_speaks() -> None:
    default = product.DEFAULT.allocation
    assert allocation_of(wire.Allocation(), default) == default
    changed = allocation_of(
        msgspec.convert({"mode": "vertical", "future_instalments": {"goodwill_credit": "last"}}, wire.Allocation), default
    )
    assert changed.mode is product.Mode.VERTICAL
    assert dict(changed.future_instalments) == {**dict(default.future_instalments), "goodwill_credit": product.FutureRule.LAST}
    assert (changed.order, changed.charges_known) == (default.order, default.charges_known)
    kept = allocation_of(wire.Allocation(chargeback_skips_down_payment=False), default)
    assert kept.chargeback_skips_down_payment is False
