"""Twilio: requests as it documents them, answers by code, callbacks signed by its own library."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from services.notifier.domain.receipts import Standing
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import twilio
from services.notifier.providers.wire import UnfitError
from tests.support import specs
from tests.unit.providers.values import CALLBACK, NOW, a_form, a_message, an_account, an_answer, denied, told

SID = "AC" + "0" * 32
ACCOUNT = an_account("twilio", {"account_sid": SID, "auth_token": "tok"}, {"from": "+12025550100"})
PATH = "/2010-04-01/Accounts/{AccountSid}/Messages.json"


@given(body=st.text(min_size=1, max_size=400), hours=st.integers(1, 400))
def test_every_request_is_one_of_its_description(body: str, hours: int) -> None:
    message = a_message(body=body, deadline=NOW + timedelta(hours=hours))
    fields = specs.check(twilio.request(message, ACCOUNT, NOW), "twilio", PATH)
    assert fields["Body"] == body
    assert fields["To"] == "+12025550123"
    assert 1 <= fields["ValidityPeriod"] == min(hours * 3600, 36_000)
    assert fields["StatusCallback"] == f"{CALLBACK}?m={message.id}"


def test_the_check_refuses_a_field_that_twilio_does_not_name() -> None:
    call = twilio.request(a_message(), ACCOUNT, NOW)
    with pytest.raises(jsonschema.ValidationError):
        specs.check(replace(call, body=call.body + b"&Bdy=x"), "twilio", PATH)


def test_a_messaging_service_stands_in_its_own_field() -> None:
    service = "MG" + "a" * 32
    fields = specs.check(twilio.request(a_message(), replace(ACCOUNT, settings={"from": service}), NOW), "twilio", PATH)
    assert (fields["MessagingServiceSid"], "From" in fields) == (service, False)


def test_an_api_key_takes_the_place_of_the_token_and_the_account_stays_in_the_path() -> None:
    credentials = {**ACCOUNT.credentials, "api_key": "SK1", "api_secret": "s"}
    call = twilio.request(a_message(), replace(ACCOUNT, credentials=credentials), NOW)
    assert call.headers["authorization"] == f"Basic {base64.b64encode(b'SK1:s').decode()}"
    assert SID in call.url


@pytest.mark.parametrize(("to", "deadline"), [("12025550123", None), ("+0123456789", None), ("+1202555", NOW), ("me@example.com", None)])
def test_what_cannot_be_sent_is_said_before_anyone_is_called(to: str, deadline: datetime | None) -> None:
    with pytest.raises(UnfitError):
        twilio.request(a_message(to=to, deadline=deadline), ACCOUNT, NOW)


def test_a_created_message_is_accepted_under_its_sid() -> None:
    assert twilio.read(an_answer(201, {"sid": "SM1", "status": "queued"})) == Accepted("SM1")


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (400, {"code": 21211}, Refused("21211", "invalid_address")),
        (400, {"code": 21610}, Refused("21610", "opted_out")),
        (400, {"code": 21617}, Refused("21617", "content")),
        (401, {"code": 20003}, Refused("20003", "config", permanent=False)),
        (429, {"code": 20429}, Refused("20429", "throttled", permanent=False, retry_after=timedelta(seconds=7))),
        (429, b"busy", Refused("http_429", "throttled", permanent=False, retry_after=timedelta(seconds=7))),
        (500, {"code": 20500}, Unknown("20500")),
        (502, b"<html>", Unknown("http_502")),
        (503, {"code": 20503}, Unknown("20503")),
        (307, b"", Unknown("http_307")),
        (400, {"code": 999}, Refused("999", "provider", permanent=False)),
        (201, b"", Unknown("answer_unreadable")),
        (201, {"sid": None}, Unknown("answer_unreadable")),
        (201, {"sid": "SM1", "status": "failed", "error_code": 21211}, Refused("21211", "invalid_address")),
    ],
)
def test_answers_are_read_by_the_table(status: int, body: object, result: object) -> None:
    answer = an_answer(status, body, retry_after="7") if status == 429 else an_answer(status, body)
    assert twilio.read(answer) == result


@given(status=st.integers(500, 599), body=st.binary(max_size=50) | st.just(b'{"code": 77}'))
def test_a_server_error_that_no_table_names_is_never_taken_for_not_sent(status: int, body: bytes) -> None:
    assert isinstance(twilio.read(an_answer(status, body)), Unknown)


FIELDS = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": "+12025550123", "RawDlrDoneDate": "2611240203", "Extra": "ü +&"}
URL = f"{CALLBACK}?m=m-1"


def signed(fields: dict[str, str], url: str = URL, token: str = "tok") -> str:
    return str(RequestValidator(token).compute_signature(url, fields))


def test_a_callback_that_its_library_signed_is_a_receipt() -> None:
    (receipt,) = told(twilio.ADAPTER, a_form(URL, FIELDS, x_twilio_signature=signed(FIELDS)), ACCOUNT)
    assert (receipt.standing, receipt.message_id, receipt.provider_ref) == (Standing.DELIVERED, "m-1", "SM1")
    assert receipt.at == datetime(2026, 11, 24, 2, 3, tzinfo=UTC)


@given(fields=st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=6))
def test_whatever_fields_are_signed_are_believed(fields: dict[str, str]) -> None:
    assert denied(twilio.ADAPTER, a_form(URL, fields, x_twilio_signature=signed(fields)), ACCOUNT) is None


@pytest.mark.parametrize("said", ["https://dunning.example", "https://dunning.example:443", "https://dunning.example:8443"])
@pytest.mark.parametrize("port", ["", ":443", ":8443", ":9"])
def test_a_signature_is_believed_with_and_without_the_port_of_the_url(said: str, port: str) -> None:
    url = URL.replace("https://dunning.example", said)
    mac = signed(FIELDS, URL.replace("https://dunning.example", f"https://dunning.example{port}"))
    theirs = RequestValidator("tok").validate(url, FIELDS, mac)
    assert (denied(twilio.ADAPTER, a_form(url, FIELDS, x_twilio_signature=mac), ACCOUNT) is None) == theirs


@pytest.mark.parametrize(
    "signature",
    ["", "x", "ü", signed(FIELDS, token="other"), signed(FIELDS, URL + "x"), signed({**FIELDS, "MessageStatus": "failed"})],
)
def test_a_callback_signed_otherwise_or_not_at_all_is_denied(signature: str) -> None:
    assert denied(twilio.ADAPTER, a_form(URL, FIELDS, x_twilio_signature=signature), ACCOUNT) == "signature"


@pytest.mark.parametrize(
    ("status", "code", "standing", "fault"),
    [
        ("undelivered", "30005", Standing.FAILED, "invalid_address"),
        ("failed", "30007", Standing.FAILED, "content"),
        ("failed", "99999", Standing.FAILED, "provider"),
        ("sent", "", Standing.SENT, "none"),
        ("read", "", Standing.DELIVERED, "none"),
    ],
)
def test_states_and_codes_of_callbacks_are_read_by_the_table(status: str, code: str, standing: Standing, fault: str) -> None:
    fields = {"MessageSid": "SM1", "MessageStatus": status, "ErrorCode": code}
    (receipt,) = told(twilio.ADAPTER, a_form(URL, fields, x_twilio_signature=signed(fields)), ACCOUNT)
    assert (receipt.standing, receipt.fault) == (standing, fault)
