"""The ledger against the vectors from Apache Fineract's feature files, and against our own (see tests/data/README.md)."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.ingest.domain.events import (
    ChargeAdded,
    ChargedBack,
    ChargedOff,
    ChargeOffReversed,
    Component,
    CreditRefunded,
    Disbursed,
    Effect,
    LoanEvent,
    Paused,
    PaymentKind,
    Place,
    Repaid,
    RepaymentReversed,
    Rescheduled,
    Resumed,
    Row,
    Waived,
    WaiverReversed,
    WrittenOff,
)
from services.ingest.domain.fold import trace
from services.ingest.domain.product import (
    AgeBy,
    Allocation,
    Bound,
    Buckets,
    ChargeClass,
    ChargesKnown,
    FutureRule,
    Mode,
    ProductLine,
    Slot,
)
from services.ingest.domain.state import public_state

DATA = Path(__file__).parents[2] / "data"
VECTORS: list[dict[str, Any]] = [
    vector for name in ("fineract.json", "ledger.json") for vector in json.loads((DATA / name).read_text())["vectors"]
]


Fact = tuple[str, object, object]


def product_of(vector: dict[str, Any]) -> ProductLine:
    rules = vector["allocation"]
    allocation = Allocation(
        mode=Mode(rules["mode"]),
        order=tuple(map(Slot, rules["order"])),
        future_instalments=tuple((kind, FutureRule(rule)) for kind, rule in rules["future_instalments"].items()),
        charge_class_by=ChargeClass(rules["charge_class_by"]),
        charges_known=ChargesKnown(rules["charges_known"]),
        chargeback_split=tuple(map(Component, rules["chargeback_split"])),
        chargeback_skips_down_payment=rules["chargeback_skips_down_payment"],
    )
    bounds = tuple(Bound(bucket["range"], bucket["max_days"]) for bucket in vector["buckets"])
    return ProductLine(
        grace_days=vector["grace_days"],
        buckets=Buckets(AgeBy.DELINQUENT_DAYS, "NO_DELINQUENCY", bounds),
        allocation=allocation,
    )


def rows_of(event: dict[str, Any]) -> tuple[Row, ...]:
    return tuple(Row(**{**row, "due_on": date.fromisoformat(row["due_on"])}) for row in event["instalments"])


def schedule_event(event: dict[str, Any], number: int, *, at: Any, value_date: date, vector: dict[str, Any]) -> LoanEvent:
    if number == 1:
        starts_on = date.fromisoformat(event["starts_on"])
        return Disbursed(at(starts_on), "b", "p", vector["currency"], starts_on, vector["timezone"], ("EU",), schedule=rows_of(event))
    effect = {"from_the_start": Effect.FROM_START, "from_its_date": Effect.FROM_DATE}[event["effect"]]
    return Rescheduled(at(value_date), number, event.get("reason"), rows_of(event), effect, value_date)


def money_event(event: dict[str, Any], *, at: Any, value_date: date) -> LoanEvent:
    match event["type"]:
        case "repayment":
            return Repaid(at(value_date), event["ref"], event["amount"], value_date, PaymentKind(event["kind"]))
        case "chargeback":
            return ChargedBack(at(value_date), event["ref"], event["of"], event["amount"], value_date)
        case "credit_balance_refund":
            return CreditRefunded(at(value_date), event["ref"], event["amount"], value_date)
        case "charge_off":
            return ChargedOff(at(value_date), value_date, event["ref"])
        case "write_off":
            return WrittenOff(at(value_date), value_date, event["ref"])
    raise AssertionError(event["type"])


def undoing(kind: str, event: dict[str, Any], place: Place) -> LoanEvent:
    match kind:
        case "repayment":
            return RepaymentReversed(place, event["of"])
        case "waiver":
            return WaiverReversed(place, event["of"])
    return ChargeOffReversed(place, event["of"])


def clock_event(event: dict[str, Any], place: Place) -> LoanEvent:
    if event["type"] == "resume":
        return Resumed(place, date.fromisoformat(event["on"]))
    return Paused(place, date.fromisoformat(event["start"]), date.fromisoformat(event["end"]))


def loan_events(vector: dict[str, Any], count: int) -> Iterator[LoanEvent]:
    events = vector["events"][:count]
    kinds = {event["ref"]: event["type"] for event in events if "ref" in event}
    schedules = 0
    for number, event in enumerate(events):
        recorded = date.fromisoformat(event["at"])
        moment = datetime.combine(recorded, time(6), UTC) + timedelta(seconds=number)
        value_date = date.fromisoformat(event.get("value_date", event["at"]))

        def at(day: date, moment: datetime = moment, number: int = number) -> Place:
            return Place(day, moment, "conformance", f"e{number}")

        match event["type"]:
            case "disbursed":
                continue
            case "schedule":
                schedules += 1
                yield schedule_event(event, schedules, at=at, value_date=value_date, vector=vector)
            case "charge":
                due_on = date.fromisoformat(event["due_on"])
                yield ChargeAdded(at(recorded), event["ref"], Component(event["kind"]), event["amount"], due_on)
            case "waiver":
                yield Waived(at(recorded), event["ref"], event["of"])
            case "reversal":
                yield undoing(kinds[event["of"]], event, at(recorded))
            case "pause" | "resume":
                yield clock_event(event, at(recorded))
            case _:
                yield money_event(event, at=at, value_date=value_date)


def stated(expected: dict[str, Any], state: dict[str, Any], ranged: dict[str, Any] | None) -> Iterator[Fact]:
    plain = {
        "past_due_days": "past_due_days",
        "delinquent_days": "delinquent_days",
        "delinquent_date": "delinquent_from",
        "overpaid": "credit",
        "status": "status",
    }
    for fact, name in plain.items():
        if fact in expected:
            yield fact, expected[fact], state[name]
    for fact, name in (("delinquent_amount", "overdue"), ("overdue_amount", "overdue"), ("outstanding", "outstanding")):
        if fact in expected:
            yield fact, expected[fact], state[name]["total"]
    if ranged is not None:
        yield from stated_range(expected, ranged)
    if "instalments" in expected:
        yield from stated_rows(expected["instalments"], state["schedule"])
    for name, key, wants in (("movements", "id", expected.get("payments", [])), ("charges", "charge_id", expected.get("charges", []))):
        have = {row[key]: row for row in state[name]}
        for want in wants:
            row = have.get(want["ref"])
            yield f"{name} {want['ref']}", want, row and {k: row[key if k == "ref" else k] for k in want}


def stated_range(expected: dict[str, Any], ranged: dict[str, Any]) -> Iterator[Fact]:
    if "range" in expected:
        yield "range", expected["range"], ranged["bucket"]
    if "range_delinquent_date" in expected:
        yield "range_delinquent_date", expected["range_delinquent_date"], ranged["delinquent_from"]
    if "instalment_ranges" in expected:
        got = [{"range": one["bucket"], "amount": one["amount"]} for one in ranged["aged"]]
        yield "instalment_ranges", expected["instalment_ranges"], got


def stated_rows(wants: Sequence[dict[str, Any]], schedule: Sequence[dict[str, Any]]) -> Iterator[Fact]:
    rows = {row["n"]: row for row in schedule}
    yield "number of instalments", len(wants), len(rows)
    for want in wants:
        row = rows.get(want["n"])
        if row is None:
            yield f"instalment {want['n']}", want, None
            continue
        got = {**row, "waived": row["waived"]["total"], "outstanding": row["outstanding"]["total"], "paid_on": row["met_on"]}
        yield f"instalment {want['n']}", want, {name: got[name] for name in want}


def differences(vector: dict[str, Any], seed: int | None = None) -> list[tuple[str, Fact]]:
    product, chance = product_of(vector), random.Random(seed)

    def state(count: int, day: str) -> dict[str, Any]:
        events = list(loan_events(vector, count))
        if seed is not None:
            events = [event for event in events for _ in range(chance.randint(1, 3))]
            chance.shuffle(events)
        return public_state(trace(events, product, date.fromisoformat(day)), date.fromisoformat(day))

    wrong = []
    for expected in vector["expect"]:
        ranged = None
        if "range_as_of" in expected:
            known = sum(event["at"] <= expected["range_as_of"] for event in vector["events"][: expected["after_events"]])
            ranged = state(known, expected["range_as_of"])
        facts = stated(expected, state(expected["after_events"], expected["as_of"]), ranged)
        wrong += [(expected["as_of"], fact) for fact in facts if fact[1] != fact[2]]
    return wrong


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_the_ledger_says_what_the_vector_states(vector: dict[str, Any]) -> None:
    assert differences(vector) == []


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["id"] for vector in VECTORS])
def test_the_ledger_says_the_same_of_shuffled_and_repeated_events(vector: dict[str, Any]) -> None:
    assert differences(vector, seed=7) == []
