"""What people write back, as each provider delivers it: verified like receipts, and marked when it is not signed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from services.notifier.domain.replies import Inbound, unquoted
from services.notifier.domain.wishes import Wish
from services.notifier.providers import aws_sms, jws, messagebird, sendgrid, twilio, vonage
from services.notifier.providers.wire import Account, Adapter, Callback, Denied, Fetch
from tests.unit.providers.test_aws import TEXT, TOPIC, brought
from tests.unit.providers.values import NOW, a_form, an_account

URL = "https://dunning.example/v1/providers/main/s3cret/inbound"
TWILIO = an_account("twilio", {"account_sid": "AC" + "0" * 32, "auth_token": "tok"}, {"from": "+12025550100"})
VONAGE = an_account("vonage", {"api_key": "k", "api_secret": "s"}, {"from": "us"})
BIRD = an_account("messagebird", {"access_key": "a"}, {"from": "us"})


def heard(adapter: Adapter, callback: Callback, account: Account) -> list[Inbound] | str:
    """Return what is heard, or why it is not believed."""
    assert adapter.inbound is not None
    found = adapter.inbound(callback, account, NOW)
    assert not isinstance(found, Fetch)
    return found.why if isinstance(found, Denied) else list(found)


def only(adapter: Adapter, callback: Callback, account: Account) -> Inbound:
    """Return the one message that is heard."""
    found = heard(adapter, callback, account)
    assert isinstance(found, list)
    (one,) = found
    return one


def from_twilio(**fields: str) -> Callback:
    said = {"MessageSid": "SM1", "From": "+12025550123", "Body": "Stop!", **fields}
    signed = RequestValidator("tok").compute_signature(URL, said)
    return a_form(URL, said, x_twilio_signature=signed)


def test_twilio_brings_what_its_own_library_signed() -> None:
    assert heard(twilio.ADAPTER, from_twilio(), TWILIO) == [Inbound("SM1", "sms", "+12025550123", "Stop!")]
    assert heard(twilio.ADAPTER, replace(from_twilio(), url=URL + "?x=1"), TWILIO) == "signature"
    assert heard(twilio.ADAPTER, replace(from_twilio(), headers={}), TWILIO) == "signature"


@pytest.mark.parametrize(("word", "wish"), [("STOP", Wish.STOP), ("START", Wish.START), ("HELP", Wish.HELP)])
def test_what_twilio_has_read_and_answered_is_said(word: str, wish: Wish) -> None:
    assert heard(twilio.ADAPTER, from_twilio(OptOutType=word), TWILIO) == [
        Inbound("SM1", "sms", "+12025550123", "Stop!", wish=wish, answered=True)
    ]  # fmt: skip


def test_a_message_without_an_id_or_a_sender_is_none() -> None:
    assert heard(twilio.ADAPTER, from_twilio(From=""), TWILIO) == []
    assert heard(vonage.ADAPTER, a_form(URL, {"text": "STOP"}), VONAGE) == []
    assert heard(messagebird.ADAPTER, a_form(URL, {"body": "STOP"}), BIRD) == []


SAID = {"msisdn": "12025550123", "to": "12025550100", "messageId": "0A", "text": "stop", "message-timestamp": "2026-11-24 02:00:00"}


def test_vonage_brings_it_in_a_form_or_in_the_url_and_unsigned_where_the_account_has_no_secret() -> None:
    expected = [Inbound("0A", "sms", "12025550123", "stop", at=NOW, signed=False)]
    assert heard(vonage.ADAPTER, a_form(URL, SAID), VONAGE) == expected
    assert heard(vonage.ADAPTER, Callback("GET", f"{URL}?{urlencode(SAID)}", {}, b""), VONAGE) == expected


def test_vonage_is_believed_only_under_its_signature_where_the_account_has_a_secret() -> None:
    account = replace(VONAGE, credentials={**VONAGE.credentials, "signature_secret": "x"})
    signed = {**SAID, "sig": vonage.signature(SAID, "x", "md5hash").upper()}
    assert heard(vonage.ADAPTER, a_form(URL, signed), account) == [Inbound("0A", "sms", "12025550123", "stop", at=NOW)]
    assert heard(vonage.ADAPTER, a_form(URL, {**signed, "text": "start"}), account) == "signature"


def test_messagebird_brings_it_signed_over_url_and_body() -> None:
    account = replace(BIRD, credentials={**BIRD.credentials, "signing_key": "key"})
    callback = a_form(URL, {"id": "m1", "originator": "12025550123", "body": "stop", "createdDatetime": "2026-11-24T02:00:00+00:00"})
    at = int(NOW.timestamp())
    hashes = {"url_hash": hashlib.sha256(URL.encode()).hexdigest(), "payload_hash": hashlib.sha256(callback.body).hexdigest()}
    token = jws.sign_shared({"iss": "MessageBird", "nbf": at, "exp": at + 60, **hashes}, "key")
    signed = replace(callback, headers={"messagebird-signature-jwt": token})
    assert heard(messagebird.ADAPTER, signed, account) == [Inbound("m1", "sms", "12025550123", "stop", at=NOW)]
    assert heard(messagebird.ADAPTER, replace(signed, body=signed.body + b"&x=1"), account) == "signature"
    assert heard(messagebird.ADAPTER, callback, BIRD) == [Inbound("m1", "sms", "12025550123", "stop", at=NOW, signed=False)]


def test_aws_brings_it_through_the_topic_of_the_account() -> None:
    account = replace(TEXT, settings={**TEXT.settings, "topic": TOPIC})
    event = {"originationNumber": "+12025550123", "messageBody": "stop", "inboundMessageId": "i1", "destinationNumber": "+12025550100"}
    assert heard(aws_sms.ADAPTER, brought(event), account) == [Inbound("i1", "sms", "+12025550123", "stop")]
    assert heard(aws_sms.ADAPTER, brought({**event, "inboundMessageId": None}), account) == []
    assert heard(aws_sms.ADAPTER, brought(event), replace(account, settings={"region": "eu-central-1"})) == "topic"


def mailed(headers: str = "Message-ID: <1@x>\nAuto-Submitted: no\n", **fields: str) -> Callback:
    said = {
        "from": "Li Wei <li@example.org>",
        "subject": "Re: your account",
        "headers": headers,
        "text": "STOP\n\nOn 1 May, us wrote:\n> x",
        **fields,
    }
    request = httpx.Request("POST", URL, files={name: (None, value.encode()) for name, value in said.items()})
    return Callback("POST", URL, {"content-type": request.headers["content-type"]}, request.read())


MAIL = an_account("sendgrid", {"api_key": "k"}, {"from": "us@example.org"})


def test_sendgrid_brings_what_was_mailed_without_what_it_quotes_and_nobody_signs_it() -> None:
    assert heard(sendgrid.ADAPTER, mailed(), MAIL) == [Inbound("<1@x>", "email", "li@example.org", "STOP", signed=False)]
    assert only(sendgrid.ADAPTER, mailed(text="> quoted", subject="Unsubscribe"), MAIL).text == "Unsubscribe"


def test_sendgrids_letters_are_read_in_their_own_charset() -> None:
    callback = mailed(text="", charsets='{"text": "iso-8859-1"}')
    callback = replace(callback, body=callback.body.replace(b'name="text"\r\n\r\n', b'name="text"\r\n\r\nArr\xeatez'))
    assert only(sendgrid.ADAPTER, callback, MAIL).text == "Arr\u00eatez"


@pytest.mark.parametrize("charset", ["none", "idna", "a\\u0000b", "base64"])
def test_a_charset_that_is_none_loses_no_word(charset: str) -> None:
    assert only(sendgrid.ADAPTER, mailed(text="STOP", charsets=f'{{"text": "{charset}"}}'), MAIL).text == "STOP"


def test_a_sender_that_cannot_be_read_is_nobody() -> None:
    assert heard(sendgrid.ADAPTER, mailed(**{"from": "(" * 3000}), MAIL) == []


@pytest.mark.parametrize("headers", ["Message-ID: <1@x>\nAuto-Submitted: auto-replied\n", "Subject: x\n", "", "\n:\n"])
def test_what_a_program_answers_by_itself_or_has_no_id_is_no_reply(headers: str) -> None:
    assert heard(sendgrid.ADAPTER, mailed(headers), MAIL) == []


@given(body=st.binary(max_size=300), kind=st.sampled_from(["multipart/form-data; boundary=x", "multipart/form-data", "text/plain", ""]))
def test_any_body_at_all_is_read_or_is_none(body: bytes, kind: str) -> None:
    assert isinstance(heard(sendgrid.ADAPTER, Callback("POST", URL, {"content-type": kind}, b"--x\r\n" + body), MAIL), list)


@pytest.mark.parametrize(
    "below",
    [
        "On Mon, 1 May 2026 at 10:00, Acme <us@x> wrote:\n> Reply STOP", "> Reply STOP", "-----Original Message-----\nFrom: us",
        "Am 1. Mai 2026 um 10:00 schrieb Acme:\n> STOP", "El lun, 1 may 2026, Acme escribi\u00f3:\n> STOP", "-- \nLi",
        "From: Acme\nReply STOP", "Sent from my phone", "\u5728 2026\u5e745\u67081\u65e5\uff0cAcme \u5199\u9053\uff1a\n> STOP",
    ],
)  # fmt: skip
def test_what_stands_below_a_reply_is_not_read(below: str) -> None:
    assert unquoted(f"I will pay\n\n{below}") == "I will pay"
