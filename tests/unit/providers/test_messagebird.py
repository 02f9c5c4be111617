"""MessageBird: requests as it documents them, reports with tokens signed by another library."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import jsonschema
import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.receipts import Standing
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import messagebird
from services.notifier.providers.wire import Callback
from tests.support import specs
from tests.unit.providers.values import CALLBACK, NOW, a_message, an_account, an_answer, denied, told

KEY = "k" * 64
ACCOUNT = an_account("messagebird", {"access_key": "live_1"}, {"from": "Lender"})
SIGNED = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "signing_key": KEY})
URL = f"{CALLBACK}?" + urlencode({"id": "mb1", "reference": "m-1", "recipient": "12025550123", "status": "delivered"})


@given(body=st.text(min_size=1, max_size=200))
def test_every_request_is_one_of_its_description(body: str) -> None:
    message = a_message(body=body)
    said = specs.check(messagebird.request(message, ACCOUNT, NOW), "messagebird", "/messages")
    assert (said["body"], said["recipients"], said["reference"], said["validity"]) == (body, ["12025550123"], message.id, 10_800)


def test_the_check_refuses_a_member_that_messagebird_does_not_name() -> None:
    call = messagebird.request(a_message(), ACCOUNT, NOW)
    with pytest.raises(jsonschema.ValidationError):
        specs.check(replace(call, body=call.body[:-1] + b',"ref":"x"}'), "messagebird", "/messages")


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (201, {"id": "mb1"}, Accepted("mb1")),
        (201, {}, Unknown("answer_unreadable")),
        (401, {"errors": [{"code": 2, "parameter": "access_key"}]}, Refused("2", "config", permanent=False)),
        (422, {"errors": [{"code": 9, "parameter": "recipients"}]}, Refused("9", "invalid_address")),
        (422, {"errors": [{"code": 777}, {"code": 25}]}, Refused("25", "config", permanent=False)),
        (422, {"errors": "no"}, Refused("http_422", "provider", permanent=False)),
        (429, b"", Refused("http_429", "throttled", permanent=False)),
        (500, {"errors": [{"code": 99}]}, Unknown("99")),
        (503, b"", Unknown("http_503")),
    ],
)
def test_answers_are_read_by_the_table(status: int, body: object, result: object) -> None:
    assert messagebird.read(an_answer(status, body)) == result


def claims(url: str = URL, body: bytes = b"", **changes: Any) -> dict[str, Any]:
    at = int(NOW.timestamp())
    said = {"iss": "MessageBird", "nbf": at, "exp": at + 60, "jti": "1", "url_hash": hashlib.sha256(url.encode()).hexdigest()}
    if body:
        said["payload_hash"] = hashlib.sha256(body).hexdigest()
    return {**said, **changes}


def a_report(token: str, url: str = URL, body: bytes = b"") -> Callback:
    return Callback("POST" if body else "GET", url, {"messagebird-signature-jwt": token}, body)


@pytest.mark.parametrize("method", ["HS256", "HS384", "HS512"])
def test_a_report_under_a_token_of_the_key_is_a_receipt(method: str) -> None:
    (receipt,) = told(messagebird.ADAPTER, a_report(jwt.encode(claims(), KEY, algorithm=method)), SIGNED)
    assert (receipt.standing, receipt.message_id, receipt.provider_ref, receipt.address) == (
        Standing.DELIVERED, "m-1", "mb1", "12025550123",
    )  # fmt: skip


def test_a_body_is_under_the_token_too() -> None:
    token = jwt.encode(claims(body=b"x"), KEY)
    assert denied(messagebird.ADAPTER, a_report(token, body=b"x"), SIGNED) is None
    assert denied(messagebird.ADAPTER, a_report(token, body=b"y"), SIGNED) == "signature"
    assert denied(messagebird.ADAPTER, a_report(jwt.encode(claims(), KEY), body=b"x"), SIGNED) == "signature"


@pytest.mark.parametrize(
    "token",
    [
        "", "a.b.c", "ü.ü.ü",
        jwt.encode(claims(), "other" * 8),
        jwt.encode(claims(), "", algorithm="none"),
        jwt.encode(claims(iss="Somebody"), KEY),
        jwt.encode(claims(exp=int((NOW - timedelta(minutes=2)).timestamp())), KEY),
        jwt.encode(claims(nbf=int((NOW + timedelta(minutes=2)).timestamp())), KEY),
        jwt.encode(claims(url=URL + "&x=1"), KEY),
        jwt.encode({name: said for name, said in claims().items() if name != "exp"}, KEY),
        jwt.encode({name: said for name, said in claims().items() if name != "url_hash"}, KEY),
    ],
)  # fmt: skip
def test_a_report_under_any_other_token_is_denied(token: str) -> None:
    assert denied(messagebird.ADAPTER, a_report(token), SIGNED) == "signature"


@pytest.mark.parametrize(
    ("said", "fault", "code"),
    [
        ({"status": "delivery_failed", "statusErrorCode": "103"}, "opted_out", "103"),
        ({"status": "delivery_failed", "statusErrorCode": "1"}, "invalid_address", "1"),
        ({"status": "delivery_failed"}, "provider", "delivery_failed"),
        ({"status": "expired"}, "provider", "expired"),
        ({"status": "sent"}, "none", None),
    ],
)
def test_codes_of_reports_are_read_by_the_table(said: dict[str, str], fault: str, code: str | None) -> None:
    (receipt,) = told(messagebird.ADAPTER, a_report("", f"{CALLBACK}?{urlencode(said)}"), ACCOUNT)
    assert (receipt.fault, receipt.code) == (fault, code)
