"""From bytes to an event of the contract, or to one plain sentence saying why not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.ports import Record
from services.ingest import decoding
from services.ingest.decoding import EVENT_BYTES, Posted, Refusal, WalletEvent, binary, posted, structured
from tests.support.wallet import NOON, Event, event, instalment, loan, repayment

HEADERS = {
    "ce_specversion": "1.0",
    "ce_id": "e1",
    "ce_source": "wallet",
    "ce_type": "wallet.loan.closed.v1",
    "ce_time": "2026-11-20T12:00:00Z",
}
CLOSED = b'{"loan_id": "L1", "on": "2026-11-20"}'


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


def record(value: bytes | None = CLOSED, /, **headers: str | bytes | None) -> Record:
    said = {**HEADERS, **headers}
    pairs = tuple((name, text.encode() if isinstance(text, str) else text) for name, text in said.items() if text is not None)
    return Record("wallet.loan-events", 0, 7, b"L1", value, pairs, NOON)


def taken(result: WalletEvent | Refusal) -> WalletEvent:
    assert isinstance(result, WalletEvent), result
    return result


def refused(result: WalletEvent | Refusal) -> Refusal:
    assert isinstance(result, Refusal), result
    assert_plain(result.detail)
    return result


def assert_plain(sentence: str) -> None:
    assert 10 <= len(sentence) <= 300
    assert sentence.isprintable()
    assert "Traceback" not in sentence


def assert_same_at_the_door(raw: bytes) -> None:
    """Assert that HTTP accepts what the ledger accepts, and refuses everything else with the same words."""
    came, goes = structured(raw), posted(raw)
    if isinstance(came, Refusal):
        assert goes == came
    else:
        assert isinstance(goes, Posted)
        assert (goes.type, goes.about, goes.data) == (came.type, came.about, came.raw)


def broken(**changes: Any) -> Callable[[Event], object]:
    """Return a function that changes attributes of an event; None removes one."""
    return lambda valid: {k: v for k, v in {**valid, **changes}.items() if v is not None}


def with_data(**changes: Any) -> Callable[[Event], object]:
    return lambda valid: {**valid, "data": {k: v for k, v in {**valid["data"], **changes}.items() if v is not None}}


def row(**changes: Any) -> list[Event]:
    return [{**instalment(1, 1), **changes}]


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


MALFORMED: dict[str, Callable[[Event], object]] = {
    "unknown type": broken(type="wallet.loan.exploded.v1"),
    "a later version of a type": broken(type="wallet.loan.disbursed.v2"),
    "no type": broken(type=None),
    "no id": broken(id=None),
    "no source": broken(source=None),
    "no time": broken(time=None),
    "naive time": broken(time="2026-01-01T10:00:00"),
    "not a time": broken(time="yesterday"),
    "a time as a number": broken(time=1_780_000_000),
    "a leap second": broken(time="2026-06-30T23:59:60Z"),
    "a time before the calendar": broken(time="1969-12-31T23:59:59Z"),
    "a time whose offset leads out of the calendar": broken(time="9999-12-31T23:59:59-12:00"),
    "the first moment of all, east of Greenwich": broken(time="0001-01-01T00:00:00+14:00"),
    "another version of CloudEvents": broken(specversion="0.3"),
    "id too long": broken(id="x" * 129),
    "empty id": broken(id=""),
    "an id that ends with a line": broken(id="e1\n"),
    "an id of another script": broken(id="事件"),
    "an id as a number": broken(id=7),
    "empty source": broken(source=""),
    "source too long": broken(source="s" * 257),
    "a source with the character 0, which no database column can hold": broken(source="wal\0let"),
    "id with a space": with_data(loan_id="a b"),
    "loan id too long": with_data(loan_id="x" * 129),
    "no loan id": with_data(loan_id=None),
    "float amount": with_data(schedule=row(principal=10.5)),
    "a whole amount written as a float": with_data(schedule=row(principal=10.0)),
    "an amount as text": with_data(schedule=row(principal="10")),
    "an amount as a truth": with_data(schedule=row(principal=True)),
    "negative amount": with_data(schedule=row(principal=-1)),
    "an amount above the contract's": with_data(schedule=row(principal=10**15 + 1)),
    "amount beyond 64 bits": with_data(schedule=row(principal=2**63)),
    "amount beyond any machine": with_data(schedule=row(principal=10**400)),
    "no such day": with_data(disbursed_on="2026-02-30"),
    "a day beyond the calendar": with_data(schedule=row(due_on="9999-12-31")),
    "a day before the calendar": with_data(disbursed_on="1969-12-31"),
    "a day with a time": with_data(disbursed_on="2026-01-01T00:00:00Z"),
    "no such zone": with_data(timezone="Mars/Olympus"),
    "an offset instead of a zone": with_data(timezone="+08:00"),
    "a zone that is a path": with_data(timezone="../../etc/passwd"),
    "no such currency": with_data(currency="XXQ"),
    "a currency in small letters": with_data(currency="cny"),
    "too many instalments": with_data(schedule=[instalment(n, n) for n in range(1, 602)]),
    "the same instalment twice": with_data(schedule=[instalment(1, 1)] * 2),
    "an instalment number below 1": with_data(schedule=row(n=0)),
    "grace beyond ten years": with_data(grace_days=3651),
    "a tolerance that is no number": with_data(tolerance={"percent": "NaN"}),
    "a tolerance that signals": with_data(tolerance={"percent": "sNaN"}),
    "a tolerance without end": with_data(tolerance={"percent": "Infinity"}),
    "a tolerance that would be rounded": with_data(tolerance={"percent": "0.12345"}),
    "a tolerance above all of it": with_data(tolerance={"percent": 100.5}),
    "an allocation order with a hole": with_data(allocation={"order": ["due_fee"]}),
    "no such future rule": with_data(allocation={"future_instalments": {"default": "whenever"}}),
    "attributes too deep": with_data(attributes={"a": nested(40)}),
    "attributes that are a list": with_data(attributes=[]),
    "data is a list": broken(data=[]),
    "data is text": broken(data="hello"),
    "no data": broken(data=None),
    "not an object": lambda _: "hello",
    "null": lambda _: None,
    "a number": lambda _: 7,
}


@pytest.mark.parametrize("change", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_malformed_is_refused_with_one_plain_sentence(change: Callable[[Event], object]) -> None:
    valid = loan("L1", event_id="e1")
    taken(structured(as_json(valid)))
    refusal = refused(structured(as_json(change(valid))))
    assert refusal.error in ("malformed", "unknown_type", "not_json")


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"  \n", id="blank"),
        pytest.param(b"{not json", id="no JSON"),
        pytest.param(b'{"id": "e1"', id="cut off"),
        pytest.param(as_json(loan("L1")) + b"{}", id="more behind it"),
        pytest.param(b"\xef\xbb\xbf" + as_json(loan("L1")), id="a byte order mark"),
        pytest.param(b"\xff\xfe\x00", id="bytes of no text"),
        pytest.param(json.dumps(loan("L1")).encode("utf-16"), id="UTF-16"),
        pytest.param(as_json(loan("L1", attributes={"a": "x"})).replace(b'"x"', b"NaN"), id="NaN"),
        pytest.param(as_json(loan("L1", attributes={"a": "x"})).replace(b'"x"', b"1e999"), id="a number without end"),
        pytest.param(as_json(loan("L1", attributes={"a": "x"})).replace(b'"x"', b"9" * 5000), id="a number of 5000 digits"),
        pytest.param(as_json(loan("L1", attributes={"a": "x"})).replace(b'"x"', b'"\\ud800"'), id="half a surrogate pair"),
        pytest.param(as_json(loan("L1", attributes={"a": "x"})).replace(b'"x"', b'"\xff"'), id="text that is no UTF-8"),
        pytest.param(b"[" * 100_000, id="100,000 brackets"),
        pytest.param(b'{"a":' * 40_000, id="40,000 braces"),
    ],
)
def test_what_is_no_json_says_so(raw: bytes) -> None:
    assert refused(structured(raw)).error == "not_json"


def test_depth_in_a_field_that_nobody_knows_is_refused_too() -> None:
    raw = as_json({**loan("L1"), "extension": 0}).replace(b'"extension": 0', b'"extension": ' + b"[" * 100_000 + b"]" * 100_000)
    assert refused(structured(raw)).error == "not_json"


def test_an_event_may_have_256_kib_and_not_one_byte_more() -> None:
    def padded(size: int) -> bytes:
        raw = as_json(loan("L1", attributes={"pad": ""}))
        return raw.replace(b'"pad": ""', b'"pad": "' + b"x" * (size - len(raw)) + b'"')

    assert len(padded(EVENT_BYTES)) == EVENT_BYTES == 256 * 1024
    taken(structured(padded(EVENT_BYTES)))
    assert refused(structured(padded(EVENT_BYTES + 1))).error == "too_large"
    assert refused(structured(padded(257 * 1024))).error == "too_large"
    assert refused(binary(record(b" " * (EVENT_BYTES + 1)))).error == "too_large"


def test_600_instalments_of_the_largest_amount_are_taken() -> None:
    taken(structured(as_json(loan("L1", *[instalment(n, n, principal=10**15) for n in range(1, 601)]))))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("borrower.status", {"status_id": "s1", "status": "cease", "from": "0001-01-01T00:00:00Z"}),
        ("borrower.status", {"status_id": "s1", "status": "cease", "from": "2026-01-01T00:00:00Z", "until": "9999-12-31T23:59:59Z"}),
        ("borrower.status", {"status_id": "s1", "status": "cease", "from": "9999-12-31T23:59:59-10:00"}),
        ("borrower.consent", {"channel": "sms", "purpose": "dunning", "granted": True, "at": "0001-01-01T00:00:00Z"}),
        ("contact.recorded", {"contact_id": "c1", "channel": "call", "by": "desk", "at": "9999-12-31T23:59:59Z"}),
        ("contact.recorded", {"contact_id": "c1", "channel": "call", "by": "a\0b", "at": "2026-01-01T00:00:00Z"}),
        ("borrower.updated", {"addresses": [{"channel": "sms", "address": ""}]}),
        ("borrower.updated", {"locale": "zh_CN\n"}),
        ("borrower.updated", {"attributes": {"a": nested(40)}}),
        ("repayment.received", {"loan_id": "L1", "repayment_id": "r1", "amount": 1, "paid_at": "9999-12-31T23:59:59-10:00"}),
        ("repayment.received", {"loan_id": "L1", "repayment_id": "r1", "amount": 1, "paid_at": "2026-01-01T00:00:00"}),
        ("charge.waived", {"loan_id": "L1", "waiver_id": "w1"}),
        ("charge.waived", {"loan_id": "L1", "waiver_id": "w1", "charge_id": "c1", "n": 1, "component": "fee"}),
        ("charge.waived", {"loan_id": "L1", "waiver_id": "w1", "n": 1}),
        ("feed.heartbeat", {"every_s": 0}),
    ],
)
def test_moments_near_the_ends_of_time_and_what_no_column_holds_are_refused(name: str, data: Event) -> None:
    assert refused(structured(as_json(event(name, **{"borrower_id": "B1", **data})))).error == "malformed"


def test_of_a_key_twice_the_last_one_counts_over_http_and_on_the_bus_alike() -> None:
    double = CLOSED.replace(b"{", b'{"loan_id": "L0", ')
    whole = as_json({**event("loan.closed"), "data": 0}).replace(b'"data": 0', b'"data": ' + double)
    assert taken(structured(whole)).about == taken(binary(record(double))).about == "L1"


def test_a_refusal_carries_the_ids_that_can_be_read() -> None:
    bad = loan("L1", borrower_id="B1", event_id="e1", currency="XXQ")
    refusal = refused(structured(as_json(bad)))
    assert (refusal.event_id, refusal.loan_id, refusal.borrower_id) == ("e1", "L1", "B1")
    assert "XXQ" in refusal.detail
    worse = refused(structured(as_json({**bad, "id": "x" * 129})))
    assert (worse.event_id, worse.loan_id) == (None, "L1")


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"ce_time": "2026-11-20T12:00:00"}, "offset"),
        ({"ce_time": "2026-W47-5T12:00+00:00"}, "RFC 3339"),
        ({"ce_time": "9999-12-31T23:59:59-01:00"}, "9999"),
        ({"ce_time": None}, "time"),
        ({"ce_id": "x" * 129}, "id"),
        ({"ce_id": "a b"}, "id"),
        ({"ce_id": None}, "id"),
        ({"ce_source": ""}, "source"),
        ({"ce_source": "s" * 257}, "source"),
        ({"ce_source": "a\0b"}, "source"),
        ({"ce_source": b"\xff"}, "utf-8"),
        ({"ce_type": "wallet.loan.exploded.v1"}, "exploded"),
        ({"ce_type": b"\xff"}, "utf-8"),
        ({"ce_specversion": "0.3"}, "specversion"),
    ],
)
def test_on_the_bus_the_attributes_are_judged_as_over_http(headers: dict[str, str | bytes | None], says: str) -> None:
    refusal = refused(binary(record(CLOSED, **headers)))
    assert says in refusal.detail
    assert refusal.loan_id == "L1"
    assert refusal.event_id == (None if "ce_id" in headers else "e1")


def test_on_the_bus_an_extension_that_cannot_be_read_is_no_reason() -> None:
    taken(binary(record(CLOSED, ce_extension=b"\xff", traceparent=b"\xff")))


@pytest.mark.parametrize("value", [None, b"", b"{", b"[1]", b"null", b"\xff", b"[" * 100_000])
def test_on_the_bus_a_value_that_is_no_data_is_refused(value: bytes | None) -> None:
    refused(binary(record(value)))


def test_a_whole_cloudevent_on_the_bus_is_read_as_one() -> None:
    whole = as_json(loan("L1", event_id="e9"))
    plain = Record("wallet.loan-events", 0, 1, None, whole, (("content-type", b"application/cloudevents+json"),), NOON)
    assert taken(binary(plain)).content == taken(structured(whole)).content
    refused(binary(Record("wallet.loan-events", 0, 1, None, None, (), NOON)))


def test_what_http_puts_on_the_bus_is_read_back_as_the_same_event() -> None:
    for sent in (loan("L1"), repayment("L1", 5), event("feed.heartbeat", every_s=5), event("borrower.erased", borrower_id="B1")):
        came, goes = taken(structured(as_json(sent))), posted(as_json(sent))
        assert isinstance(goes, Posted)
        assert (goes.type, goes.about, goes.data) == (came.type, came.about, came.raw)
        again = taken(binary(Record("t", 0, 1, None, goes.data, goes.headers, NOON)))
        assert (again.id, again.source, again.type, again.time, again.data, again.content) == (
            came.id, came.source, came.type, came.time, came.data, came.content,
        )  # fmt: skip


def test_what_is_stored_is_read_back_as_the_same_data() -> None:
    for sent in (loan("L1", tolerance={"percent": "100.0"}), repayment("L1", 5)):
        came = taken(structured(as_json(sent)))
        assert decoding.stored(came.type, came.content) == came.data


def test_fields_that_nobody_knows_are_taken_and_are_no_content() -> None:
    plain, more = loan("L1", event_id="e1"), loan("L1", event_id="e1", from_the_future={"a": [1, None]})
    more |= {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "subject": 7}
    assert taken(structured(as_json(more))).content == taken(structured(as_json(plain))).content


def test_a_batch_that_is_no_list_is_refused_as_a_whole() -> None:
    for body in (b'{"an": "object"}', b"[1", b"", b"[" * 100_000, b"\xff"):
        refusal = decoding.batch(body)
        assert isinstance(refusal, Refusal)
        assert refusal.error == "not_a_list"
        assert_plain(refusal.detail)
    assert decoding.batch(b"[]") == []


def test_lines_are_counted_without_the_blank_ones() -> None:
    assert decoding.lines(b"\n{}\r\n  \n{}\n\n") == [b"{}\r", b"{}"]


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=12
)


@given(st.binary(max_size=300))
def test_any_bytes_are_an_event_or_a_plain_sentence(raw: bytes) -> None:
    for result in (structured(raw), binary(record(raw)), binary(record(ce_time=raw)), binary(record(ce_source=raw, ce_id=raw))):
        assert isinstance(result, WalletEvent) or 10 <= len(result.detail) <= 300
    assert_same_at_the_door(raw)


@given(values)
def test_any_json_is_an_event_or_a_plain_sentence(value: Any) -> None:
    raw = as_json(value)
    for result in (structured(raw), binary(record(raw))):
        if isinstance(result, Refusal):
            assert_plain(result.detail)
    assert_same_at_the_door(raw)


@given(st.data())
@settings(max_examples=300)
def test_any_value_in_the_place_of_any_field_is_an_event_or_a_plain_sentence(data: st.DataObject) -> None:
    whole = loan("L1", allocation={"mode": "vertical"}, tolerance={"amount": 1, "percent": 2}, attributes={"a": 1})
    paid = repayment("L1", 5, allocations=[{"n": 1, "principal": 5}])
    person = event("borrower.updated", borrower_id="B1", name="x", locale="en", addresses=[{"channel": "sms", "address": "+447700900123"}])
    target = data.draw(st.sampled_from([whole, paid, person]))
    places = [target, target["data"], *(v for v in target["data"].values() if isinstance(v, dict))]
    places += [v[0] for v in target["data"].values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    place = data.draw(st.sampled_from(places))
    odd = st.sampled_from(
        ["NaN", "sNaN", "-0", "1E-400", "\0", "9999-12-31T23:59:59-23:59", "0001-01-01", "P1D", 2**63, -(2**70), 1e308, "\n"]
    )
    place[data.draw(st.sampled_from(sorted(place)))] = data.draw(odd | values)
    result = structured(as_json(target))
    if isinstance(result, Refusal):
        assert_plain(result.detail)
    else:
        assert decoding.stored(result.type, result.content) == result.data
    assert_same_at_the_door(as_json(target))


def content_of(sent: Event) -> tuple[bytes, datetime]:
    came = taken(structured(as_json(sent)))
    return came.content, came.time


@given(st.permutations(sorted(loan("L1")["data"])), st.integers(-14 * 60, 14 * 60))
def test_the_order_of_keys_and_the_spelling_of_moments_are_no_content(order: list[str], minutes: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    one, paid = loan("L1", event_id="e1"), repayment("L1", 5)
    shuffled = {**one, "time": datetime.fromisoformat(one["time"]).astimezone(zone).isoformat(), "data": {k: one["data"][k] for k in order}}
    assert content_of(shuffled) == content_of(one)
    moment = datetime.fromisoformat(paid["data"]["paid_at"])
    respelt = {**paid, "data": {**paid["data"], "paid_at": moment.astimezone(zone).isoformat(timespec="microseconds")}}
    assert content_of(respelt) == content_of(paid)


DEFAULTS = {"interest": 0, "fee": 0, "penalty": 0, "down_payment": False}


def test_defaults_spelled_out_are_no_other_content() -> None:
    one = loan("L1", instalment(1, 5), event_id="e1")
    spelt = loan("L1", instalment(1, 5, **DEFAULTS), event_id="e1", grace_days=None, tolerance=None, allocation=None, attributes={})
    assert content_of(spelt) == content_of(one)
    unplanned = loan("L1", event_id="e1", schedule=[], attributes={})
    assert content_of(loan("L1", event_id="e1", schedule=None, attributes=None)) == content_of(unplanned)
    paid = repayment("L1", 5)
    spelt = {**paid["data"], "kind": "repayment", "allocations": []}
    assert content_of({**paid, "data": spelt}) == content_of({**paid, "data": {**spelt, "allocations": None}}) == content_of(paid)
    once = event("instalment.due", event_id="e2", loan_id="L1", n=1, due_on="2026-12-01", principal=5)
    again = {**once, "data": {**once["data"], "interest": 0, "fee": 0, "penalty": 0, "borrower_id": None, "currency": None}}
    assert content_of(again) == content_of(once)


@pytest.mark.parametrize("percents", [(1, "1", "1.00", 1.0), (0, "0", "-0", 0.0), (2.5, "2.5", "2.50"), (100, "100", "1E+2")])
def test_a_percentage_is_its_number_however_it_is_written(percents: tuple[Any, ...]) -> None:
    assert len({content_of(loan("L1", event_id="e1", tolerance={"percent": p})) for p in percents}) == 1


CHANGES: dict[str, Any] = {
    "borrower_id": "B2",
    "product": "other",
    "currency": "JPY",
    "disbursed_on": "2026-09-12",
    "timezone": "Asia/Tokyo",
    "jurisdictions": ["CN"],
    "grace_days": 0,
    "tolerance": {"amount": 0},
    "allocation": {},
    "schedule": [],
    "attributes": {"a": 1},
}


@pytest.mark.parametrize("field", CHANGES)
def test_any_changed_value_is_other_content(field: str) -> None:
    one = loan("L1", event_id="e1")
    assert content_of({**one, "data": {**one["data"], field: CHANGES[field]}}) != content_of(one)


@given(st.integers(0, 2), st.sampled_from(["n", "due_on", "principal", "interest", "fee", "penalty", "down_payment"]))
def test_any_changed_part_of_an_instalment_is_other_content(at: int, part: str) -> None:
    one = loan("L1", event_id="e1")
    other = json.loads(json.dumps(one))
    odd = {"n": 77, "due_on": "2030-01-01", "down_payment": True}
    other["data"]["schedule"][at][part] = odd.get(part, 424_242)
    assert content_of(other) != content_of(one)


def test_a_microsecond_is_other_content_and_another_offset_is_not() -> None:
    one = repayment("L1", 5)
    later = {**one, "time": "2026-11-20T12:00:00.000001Z"}
    assert content_of(later) != content_of(one)
    assert taken(structured(as_json(later))).time == NOON + timedelta(microseconds=1)
    assert taken(structured(as_json({**one, "time": "2026-11-20T20:00:00+08:00"}))).time == NOON.astimezone(UTC)
