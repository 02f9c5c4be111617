"""Tencent SMS: approved texts only, requests as it documents them, signed as its own library signs, and 200 alone is no acceptance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tencentcloud.common.abstract_client import AbstractClient
from tencentcloud.common.credential import Credential

from services.notifier.domain.message import TextRef
from services.notifier.domain.receipts import Standing
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import tencent_sms
from services.notifier.providers.wire import Callback, HttpCall, UnfitError
from tests.support import specs
from tests.unit.providers.test_inbound import heard, only
from tests.unit.providers.values import CALLBACK, NOW, TEMPLATES, a_making, a_message, an_account, an_answer, told

KEYS = {"secret_id": "AKIDEXAMPLE", "secret_key": "secret"}
SETTINGS = {"sdk_app_id": "1400006666", "region": "ap-guangzhou", "sign_name": "腾讯云", "templates": TEMPLATES["tencent_sms"]}
ACCOUNT = an_account("tencent_sms", KEYS, SETTINGS)


def checked(call: HttpCall) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(call.body)
    document = specs.spec("tencent")
    specs.validate(said, {"$ref": document["$ref"]}, document)
    return said


@given(body=st.text(min_size=1, max_size=200), name=st.text(min_size=1, max_size=20))
def test_every_request_is_one_of_its_description(body: str, name: str) -> None:
    message = a_message(to="+86 138 1111 1111", making=a_making(name=name, variables={"text": body}))
    assert checked(tencent_sms.request(message, ACCOUNT, NOW)) == {
        "PhoneNumberSet": ["+8613811111111"], "SmsSdkAppId": "1400006666", "SignName": "腾讯云", "TemplateId": "1234567",
        "TemplateParamSet": [name, body], "SessionContext": message.id,
    }  # fmt: skip


def test_a_sender_abroad_has_an_id_and_no_signature() -> None:
    account = replace(ACCOUNT, settings={**{k: v for k, v in SETTINGS.items() if k != "sign_name"}, "sender_id": "Lender"})
    said = checked(tencent_sms.request(a_message(), account, NOW))
    assert "SignName" not in said
    assert said["SenderId"] == "Lender"


def test_the_check_refuses_a_member_that_tencent_does_not_name() -> None:
    call = tencent_sms.request(a_message(), ACCOUNT, NOW)
    with pytest.raises(jsonschema.ValidationError):
        checked(replace(call, body=call.body.replace(b"TemplateId", b"TemplateID")))


class Theirs(AbstractClient):  # type: ignore[misc]  # it has no types
    _apiVersion = "2021-01-11"  # noqa: N815  # their name
    _service = "sms"


@given(body=st.text(max_size=100), days=st.integers(-2000, 5000), base=st.sampled_from([None, "http://a:1/x"]))
def test_it_is_signed_as_its_own_library_signs(body: str, days: int, base: str | None) -> None:
    now, account = NOW + timedelta(days=days, hours=days), replace(ACCOUNT, base_url=base)
    call = tencent_sms.signed(account, now, action="SendSms", body=msgspec.json.encode({"x": body}))
    url = urlsplit(call.url)
    named = {"Content-Type": "application/json", "Host": url.netloc, "X-TC-Timestamp": str(int(now.timestamp()))}
    request = SimpleNamespace(method="POST", uri=url.path, data=call.body, header=named)
    day = now.strftime("%Y-%m-%d")
    client = Theirs(Credential(*KEYS.values()), "ap-guangzhou")
    expected = client._get_tc3_signature({}, request, day, "sms", "secret")
    assert call.headers["authorization"] == (
        f"TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/{day}/sms/tc3_request, SignedHeaders=content-type;host, Signature={expected}"
    )
    assert (call.headers["host"], call.headers["x-tc-timestamp"]) == (url.netloc, named["X-TC-Timestamp"])
    assert (call.headers["x-tc-action"], call.headers["x-tc-version"], call.headers["x-tc-region"]) == (
        "SendSms", "2021-01-11", "ap-guangzhou",
    )  # fmt: skip


def test_a_token_of_a_role_goes_with_it() -> None:
    account = replace(ACCOUNT, credentials={**KEYS, "token": "sts"})
    assert tencent_sms.request(a_message(), account, NOW).headers["x-tc-token"] == "sts"


@pytest.mark.parametrize("ref", [TextRef("firm", "en", "sms", 0), TextRef("gentle", "zh", "sms", 0)])
def test_a_message_that_no_approved_text_stands_for_is_not_fit_and_that_is_the_accounts_fault(ref: TextRef) -> None:
    with pytest.raises(UnfitError) as raised:
        tencent_sms.request(a_message(making=a_making(ref=ref)), ACCOUNT, NOW)
    assert (raised.value.code, raised.value.fault) == ("no_approved_text", "config")


@pytest.mark.parametrize("params", ['{"a": "name"}', '["amount"]'])
def test_an_account_whose_texts_cannot_be_used_is_refused(params: str) -> None:
    templates = f'{{"gentle": {{"en": {{"code": "1", "params": {params}}}}}}}'
    with pytest.raises(UnfitError):
        tencent_sms.check(replace(ACCOUNT, settings={**SETTINGS, "templates": templates}))
    tencent_sms.check(ACCOUNT)


def of_number(code: str, **said: Any) -> dict[str, Any]:
    one = {"SerialNo": "2640:1", "PhoneNumber": "+8613811111111", "Fee": 1, "SessionContext": "m", "Code": code, **said}
    return {"Response": {"SendStatusSet": [one], "RequestId": "r"}}


def of_all(code: str) -> dict[str, Any]:
    return {"Response": {"Error": {"Code": code, "Message": ""}, "RequestId": "r"}}


BLACKLIST, UNSIGNED = "FailedOperation.PhoneNumberInBlacklist", "AuthFailure.SignatureFailure"


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, of_number("Ok"), Accepted("2640:1", parts=("2640:1",))),
        (200, of_number("Ok", SerialNo=""), Unknown("answer_unreadable")),
        (200, {"Response": {"SendStatusSet": []}}, Unknown("answer_unreadable")),
        (200, {"Response": {"SendStatusSet": of_number("Ok")["Response"]["SendStatusSet"] * 2}}, Unknown("answer_unreadable")),
        (200, of_number(BLACKLIST, SerialNo=""), Refused(BLACKLIST, "opted_out")),
        (200, of_all(UNSIGNED), Refused(UNSIGNED, "config", permanent=False)),
        (200, of_all("InternalError.Timeout"), Unknown("InternalError.Timeout")),
        (200, of_number("FailedOperation.New"), Unknown("FailedOperation.New")),
        (200, b"<html>", Unknown("answer_unreadable")),
        (502, b"<html>", Unknown("http_502")),
    ],
)
def test_an_acceptance_is_the_code_of_the_number_and_not_a_status(status: int, body: Any, result: object) -> None:
    assert tencent_sms.read(an_answer(status, body)) == result


@pytest.mark.parametrize(
    ("limit", "fault", "wait"),
    [
        ("PhoneNumberThirtySecondLimit", "throttled_recipient", timedelta(seconds=30)),
        ("PhoneNumberOneHourLimit", "throttled_recipient", timedelta(hours=1)),
        ("PhoneNumberDailyLimit", "throttled_recipient", timedelta(days=1)),
        ("PhoneNumberSameContentDailyLimit", "throttled_content", timedelta(days=1)),
        ("AppDailyLimit", "throttled", None),
    ],
)
def test_a_limit_is_the_numbers_the_contents_or_the_accounts(limit: str, fault: str, wait: timedelta | None) -> None:
    said = tencent_sms.read(an_answer(200, of_number(f"LimitExceeded.{limit}")))
    assert isinstance(said, Refused)
    assert (said.fault, said.permanent, said.retry_after) == (fault, False, wait)


REPORT = {
    "user_receive_time": "2026-11-24 10:00:02", "nationcode": "86", "mobile": "13811111111", "report_status": "SUCCESS",
    "errmsg": "DELIVRD", "description": "", "sid": "2640:1",
}  # fmt: skip


def a_batch(said: Any) -> Callback:
    return Callback("POST", CALLBACK, {"content-type": "application/json"}, msgspec.json.encode(said))


def test_a_batch_of_reports_is_a_receipt_each() -> None:
    failed = {**REPORT, "sid": "2640:2", "report_status": "FAIL", "errmsg": "REJECTD"}
    first, second = told(tencent_sms.ADAPTER, a_batch([REPORT, failed, {**REPORT, "report_status": "?"}]), ACCOUNT)
    assert (first.standing, first.message_id, first.provider_ref, first.address) == (Standing.DELIVERED, None, "2640:1", "+8613811111111")
    assert (first.at, first.fault) == (datetime(2026, 11, 24, 2, 0, 2, tzinfo=UTC), "none")
    assert (second.standing, second.provider_ref, second.code, second.fault) == (Standing.FAILED, "2640:2", "REJECTD", "content")


def test_what_people_write_back_is_unsigned_and_known_again_by_all_that_it_says() -> None:
    said = {"extend": "", "mobile": "13811111111", "nationcode": "86", "sign": "x", "text": "T", "time": int(NOW.timestamp())}
    found = only(tencent_sms.ADAPTER, a_batch(said), ACCOUNT)
    assert found == Inbound(found.id, "sms", "+8613811111111", "T", at=NOW, signed=False)
    assert only(tencent_sms.ADAPTER, a_batch([dict(reversed(said.items()))]), ACCOUNT) == found
    assert only(tencent_sms.ADAPTER, a_batch({**said, "time": 1}), ACCOUNT).id != found.id


@given(body=st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(msgspec.json.encode))
def test_any_body_at_all_is_read_or_is_none(body: bytes) -> None:
    callback = Callback("POST", CALLBACK, {}, body)
    assert told(tencent_sms.ADAPTER, callback, ACCOUNT) == []
    assert heard(tencent_sms.ADAPTER, callback, ACCOUNT) == []
