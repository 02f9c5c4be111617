"""Africa's Talking: requests as its own library makes them, 201 with a code per recipient, reports matched by its own id."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qsl

import pytest
from africastalking.SMS import SMSService
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.receipts import Standing
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.domain.wishes import Wish
from services.notifier.providers import africastalking
from services.notifier.providers.wire import Callback
from tests.unit.providers.test_inbound import heard, only
from tests.unit.providers.values import CALLBACK, NOW, a_form, a_message, an_account, an_answer, told

ACCOUNT = an_account("africastalking", {"api_key": "atsk_1"}, {"username": "lender", "from": "Lender"})
TO = "+254711000111"


class Theirs(SMSService):  # type: ignore[misc]  # it has no types
    """Their client, which shows what it would send."""

    def _make_request(self, url: str, method: str, headers: dict[str, str], data: dict[str, Any], **_: Any) -> Any:
        return url, method, headers, {name: str(value) for name, value in data.items()}


@given(body=st.text(min_size=1, max_size=200), sender=st.sampled_from([None, "Lender"]))
def test_every_request_is_what_its_own_library_sends(body: str, sender: str | None) -> None:
    account = replace(ACCOUNT, settings={"username": "lender"} | ({"from": sender} if sender else {}))
    call = africastalking.request(a_message(to=TO, body=body), account, NOW)
    url, method, headers, fields = Theirs("lender", "atsk_1").send(body, [TO], sender)
    assert (call.url, call.method) == (url, method)
    assert dict(parse_qsl(call.body.decode(), keep_blank_values=True, strict_parsing=True)) == fields
    assert (call.headers["apikey"], call.headers["accept"]) == (headers["apiKey"], headers["Accept"])


def of_recipient(code: int, ref: str = "ATXid_1", count: int = 1) -> dict[str, Any]:
    one = {"statusCode": code, "number": TO, "status": "x", "cost": "KES 0.8000", "messageId": ref}
    return {"SMSMessageData": {"Message": "Sent to 1/1 Total Cost: KES 0.8000", "Recipients": [one] * count}}


def of_nobody(word: str) -> dict[str, Any]:
    return {"SMSMessageData": {"Message": word, "Recipients": []}}


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (201, of_recipient(100), Accepted("ATXid_1", parts=("ATXid_1",))),
        (201, of_recipient(101), Accepted("ATXid_1", parts=("ATXid_1",))),
        (201, of_recipient(102), Accepted("ATXid_1", parts=("ATXid_1",))),
        (201, of_recipient(101, "None"), Unknown("answer_unreadable")),
        (201, of_recipient(101, count=2), Unknown("answer_unreadable")),
        (201, of_recipient(403, "None"), Refused("403", "invalid_address")),
        (201, of_recipient(406, "None"), Refused("406", "opted_out")),
        (201, of_recipient(407, "None"), Refused("407", "provider", permanent=False)),
        (201, of_recipient(405, "None"), Refused("405", "config", permanent=False)),
        (201, of_recipient(500, "None"), Unknown("500")),
        (201, of_recipient(999, "None"), Unknown("999")),
        (201, of_nobody("InvalidSenderId"), Refused("InvalidSenderId", "config", permanent=False)),
        (201, of_nobody("Sent to 0/1"), Unknown("answer_unreadable")),
        (201, b"", Unknown("answer_unreadable")),
        (401, b"The supplied authentication is invalid", Refused("http_401", "config", permanent=False)),
        (500, b"", Unknown("http_500")),
    ],
)
def test_an_acceptance_is_the_code_of_the_recipient_and_not_a_status(status: int, body: Any, result: object) -> None:
    assert africastalking.read(an_answer(status, body)) == result


@pytest.mark.parametrize(
    ("said", "standing", "fault", "code"),
    [
        ({"status": "Success"}, Standing.DELIVERED, "none", None),
        ({"status": "Buffered"}, Standing.SENT, "none", None),
        ({"status": "Rejected", "failureReason": "UserInBlackList"}, Standing.FAILED, "opted_out", "UserInBlackList"),
        ({"status": "Failed", "failureReason": "UserDoesNotExist"}, Standing.FAILED, "invalid_address", "UserDoesNotExist"),
        ({"status": "Failed", "failureReason": "New"}, Standing.FAILED, "provider", "New"),
        ({"status": "Expired"}, Standing.FAILED, "provider", "Expired"),
    ],
)
def test_reports_are_read_by_the_table(said: dict[str, str], standing: Standing, fault: str, code: str | None) -> None:
    callback = a_form(CALLBACK, {"id": "ATXid_1", "phoneNumber": TO, "networkCode": "63902", **said})
    (receipt,) = told(africastalking.ADAPTER, callback, ACCOUNT)
    assert (receipt.standing, receipt.fault, receipt.code) == (standing, fault, code)
    assert (receipt.message_id, receipt.provider_ref, receipt.address) == (None, "ATXid_1", TO)


def test_what_somebody_writes_comes_unsigned() -> None:
    said = {"id": "i1", "from": TO, "to": "22384", "text": "STOP", "date": "2026-11-24T02:00:00Z", "linkId": "l"}
    assert only(africastalking.ADAPTER, a_form(CALLBACK, said), ACCOUNT) == Inbound("i1", "sms", TO, "STOP", at=NOW, signed=False)


def test_an_opt_out_of_a_sender_is_a_wish_that_is_known_again_in_its_minute() -> None:
    callback = a_form(CALLBACK, {"senderId": "Lender", "phoneNumber": TO})
    found = only(africastalking.ADAPTER, callback, ACCOUNT)
    assert (found.address, found.wish, found.signed) == (TO, Wish.STOP, False)
    repeated, later = (africastalking.inbound(callback, ACCOUNT, NOW + timedelta(seconds=seconds)) for seconds in (59, 60))
    assert repeated == (found,)
    assert later != (found,), "a consent may have come in between"


def test_a_report_is_no_reply_and_a_reply_no_report() -> None:
    report = a_form(CALLBACK, {"id": "ATXid_1", "phoneNumber": TO, "status": "Success", "senderId": "Lender"})
    assert heard(africastalking.ADAPTER, report, ACCOUNT) == []
    assert told(africastalking.ADAPTER, a_form(CALLBACK, {"id": "i1", "from": TO, "text": "STOP"}), ACCOUNT) == []


@given(body=st.binary(max_size=200))
def test_any_body_at_all_is_read_or_is_none(body: bytes) -> None:
    callback = Callback("POST", CALLBACK, {}, body)
    assert told(africastalking.ADAPTER, callback, ACCOUNT) == []
    assert heard(africastalking.ADAPTER, callback, ACCOUNT) == []
