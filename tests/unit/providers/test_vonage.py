"""Vonage: a status per part, and signatures that match the values its own libraries publish."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.notifier.domain.receipts import Standing
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.domain.segments import segments
from services.notifier.providers import vonage
from services.notifier.providers.wire import Callback, UnfitError
from tests.support import specs
from tests.unit.providers.values import CALLBACK, NOW, a_form, a_message, an_account, an_answer, denied, told

ACCOUNT = an_account("vonage", {"api_key": "abcd1234", "api_secret": "abcdef0123456789"}, {"from": "Lender"})
SIGNED = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "signature_secret": "secret"})
PATH = "/{format}"


@given(body=st.text(min_size=1, max_size=200), hours=st.integers(1, 400))
@example(body="\u597d" * 71, hours=1)
def test_every_request_is_one_of_its_description(body: str, hours: int) -> None:
    message = a_message(body=body, deadline=NOW + timedelta(hours=hours))
    fields = specs.check(vonage.request(message, ACCOUNT, NOW), "vonage", PATH)
    parts = len(segments(body).parts)
    assert (fields["text"], fields["to"]) == (body, "12025550123")
    assert fields["client-ref"] == (message.id if parts == 1 else f"{message.id}.{parts}")
    assert fields["ttl"] == min(hours * 3600, 604_800) * 1000
    assert len(fields["client-ref"]) <= 40


def test_the_check_refuses_a_field_that_vonage_does_not_name() -> None:
    call = vonage.request(a_message(), ACCOUNT, NOW)
    with pytest.raises(jsonschema.ValidationError):
        specs.check(replace(call, body=call.body + b"&client_ref=x"), "vonage", PATH)


@pytest.mark.parametrize(
    ("body", "kind"), [("Betrag: 12,50 € {ä}", "text"), ("it\u2019s due", "unicode"), ("您好", "unicode"), ("ç", "unicode")]
)
def test_a_text_outside_the_gsm_alphabet_goes_out_as_unicode(body: str, kind: str) -> None:
    assert specs.check(vonage.request(a_message(body=body), ACCOUNT, NOW), "vonage", PATH)["type"] == kind


def test_a_message_that_ends_before_vonage_could_try_is_not_given_to_it() -> None:
    with pytest.raises(UnfitError):
        vonage.request(a_message(deadline=NOW + timedelta(seconds=19)), ACCOUNT, NOW)


def parts(*statuses: str) -> dict[str, Any]:
    return {"messages": [{"status": status, "message-id": f"id{place}"} for place, status in enumerate(statuses)]}


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, parts("0"), Accepted("id0")),
        (200, parts("0", "0"), Accepted("id0+1", parts=("id0", "id1"))),
        (200, {"messages": [{"status": "0", "message-id": "x"}, {"status": "0"}]}, Unknown("answer_unreadable")),
        (200, parts("0", "1"), Unknown("partial")),
        (200, parts("1", "0"), Unknown("partial")),
        (200, parts("1", "5"), Unknown("5")),
        (200, parts("1"), Refused("1", "throttled", permanent=False)),
        (200, parts("4"), Refused("4", "config", permanent=False)),
        (200, parts("6"), Refused("6", "invalid_address")),
        (200, parts("12"), Refused("12", "content")),
        (200, parts("77"), Unknown("77")),
        (200, parts(), Unknown("answer_unreadable")),
        (200, {"messages": [{"status": "0"}]}, Unknown("answer_unreadable")),
        (200, {"messages": [{"status": 0, "message-id": "x"}]}, Unknown("0")),
        (200, b"<html>", Unknown("answer_unreadable")),
        (429, b"", Refused("http_429", "throttled", permanent=False)),
        (500, b"", Unknown("http_500")),
    ],
)
def test_answers_are_read_part_by_part(status: int, body: object, result: object) -> None:
    assert vonage.read(an_answer(status, body)) == result


PUBLISHED = {
    "md5hash": "6af838ef94998832dbfc29020b564830",
    "md5": "c15c21ced558c93a226c305f58f902f2",
    "sha1": "3e19a4e6880fdc2c1426bfd0587c98b9532f0210",
    "sha256": "a321e824b9b816be7c3f28859a31749a098713d39f613c80d455bbaffae1cd24",
    "sha512": "812a18f76680fa0fe1b8bd9ee1625466ceb1bd96242e4d050d2cfd9a7b40166c"
    "63ed26ec9702168781b6edcf1633db8ff95af9341701004eec3fcf9550572ee8",
}
"""What Vonage's own libraries expect for a=1, b=2, timestamp=1461605396 with the key `secret`."""


@pytest.mark.parametrize("method", vonage.METHODS)
def test_signatures_are_those_that_its_libraries_publish(method: str) -> None:
    account = replace(SIGNED, settings={**SIGNED.settings, "signature_method": method})
    fields = {"a": "1", "b": "2", "timestamp": "1461605396"}
    for sig in (PUBLISHED[method], PUBLISHED[method].upper()):
        assert denied(vonage.ADAPTER, a_form(CALLBACK, {**fields, "sig": sig}), account) is None
    for sig in ("", "xxx", PUBLISHED[method][:-1], PUBLISHED["sha1" if method != "sha1" else "md5"]):
        assert denied(vonage.ADAPTER, a_form(CALLBACK, {**fields, "sig": sig}), account) == "signature"
    assert denied(vonage.ADAPTER, a_form(CALLBACK, {**fields, "b": "3", "sig": PUBLISHED[method]}), account) == "signature"


def test_a_method_that_signs_nothing_is_refused_with_the_account() -> None:
    assert vonage.ADAPTER.check is not None
    vonage.ADAPTER.check(replace(SIGNED, settings={**SIGNED.settings, "signature_method": "sha512"}))
    with pytest.raises(UnfitError):
        vonage.ADAPTER.check(replace(SIGNED, settings={**SIGNED.settings, "signature_method": "SHA-512"}))


def test_separators_inside_a_value_are_signed_as_underscores() -> None:
    assert vonage.signature({"a": "x&y=z"}, "s", "sha256") == vonage.signature({"a": "x_y_z"}, "s", "sha256")


FIELDS = {"messageId": "0A", "msisdn": "12025550123", "client-ref": "m-1", "scts": "2611240203", "err-code": "0", "status": "delivered"}


@pytest.mark.parametrize("way", ["json", "form", "query"])
def test_a_receipt_is_read_however_the_account_is_set_to_send_it(way: str) -> None:
    callback = a_form(CALLBACK, FIELDS)
    if way == "json":
        callback = Callback("POST", CALLBACK, {"content-type": "application/json"}, msgspec.json.encode(FIELDS))
    elif way == "query":
        callback = Callback("GET", f"{CALLBACK}?{callback.body.decode()}", {}, b"")
    (receipt,) = told(vonage.ADAPTER, callback, ACCOUNT)
    assert (receipt.standing, receipt.message_id, receipt.provider_ref, receipt.fault) == (Standing.DELIVERED, "m-1", "0A", "none")
    assert receipt.at == datetime(2026, 11, 24, 2, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "code", "fault"),
    [("failed", "9", "invalid_address"), ("rejected", "6", "content"), ("expired", "1", "provider"), ("failed", "88", "provider")],
)
def test_codes_of_receipts_are_read_by_the_table(status: str, code: str, fault: str) -> None:
    (receipt,) = told(vonage.ADAPTER, a_form(CALLBACK, {**FIELDS, "status": status, "err-code": code}), ACCOUNT)
    assert (receipt.standing, receipt.fault, receipt.code) == (Standing.FAILED, fault, code)


@pytest.mark.parametrize(("written", "parts"), [("m-1.3", 3), ("m-1", 1), ("m-1.0", 1), ("m-1.9999", 1), ("m-1.x", 1)])
def test_a_receipt_says_how_many_parts_its_message_has(written: str, parts: int) -> None:
    (receipt,) = told(vonage.ADAPTER, a_form(CALLBACK, {**FIELDS, "client-ref": written}), ACCOUNT)
    assert (receipt.message_id, receipt.parts) == ("m-1", parts)


def test_a_status_that_says_nothing_is_no_receipt() -> None:
    assert told(vonage.ADAPTER, a_form(CALLBACK, {**FIELDS, "status": "unknown"}), ACCOUNT) == []
