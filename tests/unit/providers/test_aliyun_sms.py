"""Aliyun SMS: approved texts only, requests as its models define them, signed as its library signs, and 200 alone is no acceptance."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.compliance import ContentKind
from services.notifier.domain.message import DebtLine, TextRef
from services.notifier.domain.receipts import Standing
from services.notifier.domain.replies import Inbound
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import aliyun_sms
from services.notifier.providers.wire import Callback, HttpCall, UnfitError
from tests.support import specs
from tests.unit.providers.test_inbound import only
from tests.unit.providers.values import CALLBACK, NOW, TEMPLATES, a_making, a_message, an_account, an_answer, told

KEYS = {"access_key_id": "LTAI5t", "access_key_secret": "secret"}
ACCOUNT = an_account("aliyun_sms", KEYS, {"sign_name": "阿里云", "templates": TEMPLATES["aliyun_sms"]})


def with_text(**said: Any) -> Any:
    text = {"code": "SMS_7", **said}
    return replace(ACCOUNT, settings={**ACCOUNT.settings, "templates": msgspec.json.encode({"gentle": {"en": text}}).decode()})


def checked(call: HttpCall) -> dict[str, str]:
    """Check a call against the parameters named in the API's models, all of them in the query."""
    assert call.body == b""
    pairs = parse_qsl(urlsplit(call.url).query, keep_blank_values=True, strict_parsing=True)
    assert len(dict(pairs)) == len(pairs)
    document = specs.spec("aliyun")
    specs.validate(dict(pairs), {"$ref": document["$ref"]}, document)
    return dict(pairs)


@given(body=st.text(min_size=1, max_size=200), name=st.text(min_size=1, max_size=20))
def test_every_request_is_one_of_its_models(body: str, name: str) -> None:
    message = a_message(to="+86 138 1111 1111", making=a_making(name=name, variables={"text": body}))
    said = checked(aliyun_sms.request(message, ACCOUNT, NOW))
    assert msgspec.json.decode(said.pop("TemplateParam")) == {"name": name, "text": body}
    assert said == {"PhoneNumbers": "8613811111111", "SignName": "阿里云", "TemplateCode": "SMS_1", "OutId": message.id}


def test_the_check_refuses_a_parameter_that_aliyun_does_not_name() -> None:
    call = aliyun_sms.request(a_message(), ACCOUNT, NOW)
    with pytest.raises(jsonschema.ValidationError):
        checked(replace(call, url=call.url.replace("OutId", "OutID")))


SIGNATURES = msgspec.json.decode((Path(__file__).parents[2] / "data" / "acs3_signatures.json").read_bytes())["signatures"]


@pytest.mark.parametrize("made", SIGNATURES, ids=lambda made: made["nonce"])
def test_it_is_signed_as_its_own_library_has_signed(made: dict[str, Any]) -> None:
    """Compare with a signature that the library made once: it has no wheel, so it is not in the locked environment."""
    token = {"security_token": made["security_token"]} if made["security_token"] else {}
    account = replace(ACCOUNT, base_url=made["base_url"], credentials={**KEYS, **token})
    at = datetime.fromisoformat(made["at"])
    call = aliyun_sms.signed(account, at, action="SendSms", query=made["query"], nonce=made["nonce"])
    assert call.headers["authorization"] == made["authorization"]
    assert dict(parse_qsl(urlsplit(call.url).query, keep_blank_values=True)) == made["query"]


@given(body=st.text(min_size=1, max_size=100))
def test_a_request_bears_the_signature_of_its_own_words(body: str) -> None:
    message = a_message(making=a_making(variables={"text": body}))
    call = aliyun_sms.request(message, ACCOUNT, NOW)
    again = aliyun_sms.signed(ACCOUNT, NOW, action="SendSms", query=checked(call), nonce=message.id)
    assert again == call


def test_a_message_is_the_same_request_whenever_it_is_made_so_that_a_copy_of_it_is_refused() -> None:
    message = a_message()
    assert aliyun_sms.request(message, ACCOUNT, NOW) == aliyun_sms.request(message, ACCOUNT, NOW)
    assert aliyun_sms.request(message, ACCOUNT, NOW).headers["x-acs-signature-nonce"] == message.id


@pytest.mark.parametrize(
    ("params", "filled"),
    [
        ({"a": "total", "b": "due_on", "c": "debts"}, {"a": "USD 120.50", "b": "2026-11-01", "c": "2"}),
        ({"a": "principal", "b": "penalty", "c": "lender"}, {"a": "USD 100.00", "b": "USD 0.00", "c": "Lender"}),
        ({"a": "name|您", "b": "contact|-"}, {"a": "Li Wei", "b": "-"}),
        ({"a": "variables.days"}, {"a": "3"}),
        ({}, {}),
    ],
)
def test_places_are_filled_with_the_words_that_the_account_names(params: dict[str, str], filled: dict[str, str]) -> None:
    call = aliyun_sms.request(a_message(making=a_making(variables={"days": 3})), with_text(params=params), NOW)
    assert msgspec.json.decode(checked(call)["TemplateParam"]) == filled


@pytest.mark.parametrize(
    ("making", "text", "code"),
    [
        (None, {}, "no_approved_text"),
        (a_making(ref=TextRef("firm", "en", "sms", 0)), {}, "no_approved_text"),
        (a_making(ref=TextRef("gentle", "zh", "sms", 0)), {}, "no_approved_text"),
        (a_making(asks=frozenset({ContentKind.AMOUNT_SPLIT})), {}, "no_approved_text"),
        (a_making(asks=frozenset({ContentKind.AMOUNT_SPLIT, ContentKind.OPT_OUT})), {"says": ["opt_out"]}, "no_approved_text"),
        (a_making(name=None), {"params": {"n": "name"}}, "no_such_value"),
        (a_making(split=None), {"params": {"n": "fee"}}, "no_such_value"),
        (a_making(), {"params": {"n": "product"}}, "no_such_value"),
        (a_making(variables={"x": True}), {"params": {"n": "variables.x"}}, "no_such_value"),
    ],
)
def test_a_message_that_no_approved_text_stands_for_is_not_fit_and_that_is_the_accounts_fault(making: Any, text: Any, code: str) -> None:
    with pytest.raises(UnfitError) as raised:
        aliyun_sms.request(a_message(making=making), with_text(**text), NOW)
    assert (raised.value.code, raised.value.fault) == (code, "config")


def test_a_text_that_says_what_the_rules_ask_is_fit() -> None:
    making = a_making(asks=frozenset(ContentKind), debts=(DebtLine("L1", "card", "USD 1.00", ""),))
    call = aliyun_sms.request(a_message(making=making), with_text(says=["opt_out", "amount_split"], params={"p": "product"}), NOW)
    assert msgspec.json.decode(checked(call)["TemplateParam"]) == {"p": "card"}


@pytest.mark.parametrize(
    "templates",
    [
        "", "no", "[]", "{}", '{"gentle": {}}', '{"gentle": {"en": {}}}', '{"gentle": {"en": {"code": ""}}}',
        '{"gentle": {"en": {"code": "x", "parms": {}}}}', '{"gentle": {"en": {"code": "x", "params": {"a": "amount"}}}}',
        '{"gentle": {"en": {"code": "x", "says": ["all"]}}}', '{"gentle": {"en": {"code": "x", "params": ["name"]}}}',
    ],
)  # fmt: skip
def test_an_account_whose_texts_cannot_be_used_is_refused(templates: str) -> None:
    with pytest.raises(UnfitError):
        aliyun_sms.check(replace(ACCOUNT, settings={**ACCOUNT.settings, "templates": templates}))


def test_an_account_with_texts_is_taken() -> None:
    aliyun_sms.check(ACCOUNT)


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, {"Code": "OK", "BizId": "900^0"}, Accepted("900^0")),
        (200, {"Code": "OK"}, Unknown("answer_unreadable")),
        (200, {"Code": "isv.MOBILE_NUMBER_ILLEGAL"}, Refused("isv.MOBILE_NUMBER_ILLEGAL", "invalid_address")),
        (200, {"Code": "isv.OUT_OF_SERVICE"}, Refused("isv.OUT_OF_SERVICE", "config", permanent=False)),
        (200, {"Code": "isp.SYSTEM_ERROR"}, Unknown("isp.SYSTEM_ERROR")),
        (200, {"Code": "isv.NEW"}, Unknown("isv.NEW")),
        (200, b"<html>", Unknown("http_200")),
        (400, {"Code": "SignatureNonceUsed"}, Unknown("SignatureNonceUsed")),
        (400, {"Code": "SignatureDoesNotMatch"}, Refused("SignatureDoesNotMatch", "config", permanent=False)),
        (404, {"Code": "InvalidAccessKeyId.NotFound"}, Refused("InvalidAccessKeyId.NotFound", "config", permanent=False)),
        (503, b"", Unknown("http_503")),
    ],
)
def test_an_acceptance_is_a_code_and_not_a_status(status: int, body: Any, result: object) -> None:
    assert aliyun_sms.read(an_answer(status, body)) == result


@pytest.mark.parametrize(
    ("prose", "wait"),
    [
        ("触发分钟级流控Permits:1", timedelta(minutes=1)),
        ("触发小时级流控Permits:5", timedelta(hours=1)),
        ("触发天级流控Permits:10", timedelta(days=1)),
        ("too many", None),
    ],
)
def test_the_limit_of_one_number_is_waited_for_as_long_as_it_says(prose: str, wait: timedelta | None) -> None:
    said = aliyun_sms.read(an_answer(200, {"Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": prose}))
    assert said == Refused("isv.BUSINESS_LIMIT_CONTROL", "throttled_recipient", permanent=False, retry_after=wait)


def a_batch(*said: Any) -> Callback:
    return Callback("POST", CALLBACK, {"content-type": "application/json"}, msgspec.json.encode(said))


REPORT = {
    "phone_number": "13811111111", "send_time": "2026-11-24 09:59:59", "report_time": "2026-11-24 10:00:02", "success": True,
    "err_code": "DELIVERED", "err_msg": "", "sms_size": "1", "biz_id": "900^0", "out_id": "m-1",
}  # fmt: skip


def test_a_batch_of_reports_is_a_receipt_each() -> None:
    first, second = told(aliyun_sms.ADAPTER, a_batch(REPORT, {**REPORT, "out_id": "m-2", "success": False, "err_code": "X"}), ACCOUNT)
    assert (first.standing, first.message_id, first.provider_ref, first.fault) == (Standing.DELIVERED, "m-1", "900^0", "none")
    assert first.at == datetime(2026, 11, 24, 2, 0, 2, tzinfo=UTC)
    assert (second.standing, second.message_id, second.code, second.fault) == (Standing.FAILED, "m-2", "X", "provider")


@pytest.mark.parametrize(
    ("code", "fault"),
    [("MOBILE_IN_BLACK", "opted_out"), ("USER_REJECT", "opted_out"), ("CONTENT_KEYWORD", "content"), ("MOBILE_NOT_ON_SERVICE", "provider")],
)
def test_codes_of_reports_are_read_by_the_table(code: str, fault: str) -> None:
    (receipt,) = told(aliyun_sms.ADAPTER, a_batch({**REPORT, "success": False, "err_code": code}), ACCOUNT)
    assert receipt.fault == fault


def test_a_number_that_could_be_of_another_country_names_nobody() -> None:
    (bare,) = told(aliyun_sms.ADAPTER, a_batch(REPORT), ACCOUNT)
    (whole,) = told(aliyun_sms.ADAPTER, a_batch({**REPORT, "phone_number": "85251234567"}), ACCOUNT)
    assert (bare.address, whole.address) == (None, "85251234567")


@given(body=st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.text(), st.lists).map(msgspec.json.encode))
def test_any_body_at_all_is_read_or_is_none(body: bytes) -> None:
    callback = Callback("POST", CALLBACK, {}, body)
    assert told(aliyun_sms.ADAPTER, callback, ACCOUNT) == []
    assert aliyun_sms.inbound(callback, ACCOUNT, NOW) == []


def test_what_people_write_back_is_of_the_mainland_unsigned_and_known_again() -> None:
    said = {"phone_number": "13811111111", "send_time": "2026-11-24 10:00:00", "content": "R", "dest_code": "1", "sequence_id": 12}
    expected = Inbound("12", "sms", "+8613811111111", "R", at=NOW, signed=False)
    assert aliyun_sms.inbound(a_batch(said), ACCOUNT, NOW) == [expected]
    del said["sequence_id"]
    first, again = (only(aliyun_sms.ADAPTER, a_batch(dict(order)), ACCOUNT) for order in (said.items(), reversed(said.items())))
    other = only(aliyun_sms.ADAPTER, a_batch({**said, "content": "T"}), ACCOUNT)
    assert first == again
    assert first.id != other.id
