"""SendGrid: mails as it documents them, answers by status, events signed with the key that it publishes."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jsonschema
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Standing
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import sendgrid
from services.notifier.providers.wire import Callback, UnfitError
from tests.support import specs
from tests.unit.providers.values import CALLBACK, NOW, a_message, an_account, an_answer, denied, told

KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = base64.b64encode(KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
ACCOUNT = an_account("sendgrid", {"api_key": "SG.1"}, {"from": "dunning@lender.example"})
SIGNED = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "verification_key": PUBLIC})


def a_mail(**changes: Any) -> OutgoingMessage:
    return replace(a_message("email", "someone@example.com", subject="About your account"), **changes)


@given(body=st.text(min_size=1, max_size=200), subject=st.text(min_size=1, max_size=80), named=st.booleans())
def test_every_mail_is_one_of_its_description(body: str, subject: str, named: bool) -> None:
    account = replace(ACCOUNT, settings={**ACCOUNT.settings, **({"from_name": "Lender"} if named else {})})
    said = specs.check(sendgrid.request(a_mail(body=body, subject=subject), account, NOW), "sendgrid", "/v3/mail/send")
    assert said["content"] == [{"type": "text/plain", "value": body}]
    assert said["personalizations"][0]["custom_args"] == {"dunwell_message": a_mail().id}
    assert said["tracking_settings"]["click_tracking"]["enable"] is False


def test_the_check_refuses_a_member_that_sendgrid_does_not_name() -> None:
    call = sendgrid.request(a_mail(), ACCOUNT, NOW)
    with pytest.raises(jsonschema.ValidationError):
        specs.check(replace(call, body=call.body.replace(b'"click_tracking"', b'"clicktracking"')), "sendgrid", "/v3/mail/send")


@pytest.mark.parametrize("to", ["someone", "a@b@c", "a@b\r\nBcc: x@y", "<a@b>", "a b@c", "a@b,c@d", "@b", "a@"])
def test_what_is_no_mailbox_is_said_before_anyone_is_called(to: str) -> None:
    with pytest.raises(UnfitError):
        sendgrid.request(a_mail(to=to), ACCOUNT, NOW)


@pytest.mark.parametrize("mail", [a_mail(subject=None), a_mail(subject=""), a_mail(deadline=NOW), a_mail(deadline=NOW - timedelta(1))])
def test_a_mail_without_a_subject_or_past_its_end_is_not_given_to_it(mail: OutgoingMessage) -> None:
    with pytest.raises(UnfitError):
        sendgrid.request(mail, ACCOUNT, NOW)


@pytest.mark.parametrize(
    ("status", "errors", "result"),
    [
        (400, [{"field": "personalizations.0.to.0.email"}], Refused("400 to", "invalid_address")),
        (400, [{"field": "from.email"}], Refused("http_400", "config", permanent=False)),
        (400, [{"field": None}, "x"], Refused("http_400", "config", permanent=False)),
        (401, [], Refused("http_401", "config", permanent=False)),
        (413, [], Refused("http_413", "content")),
        (500, [], Unknown("http_500")),
        (502, [], Unknown("http_502")),
        (200, [], Unknown("answer_unreadable")),
        (302, [], Unknown("http_302")),
    ],
)
def test_answers_are_read_by_their_status_and_by_what_is_wrong(status: int, errors: list[object], result: object) -> None:
    assert sendgrid.read(an_answer(status, {"errors": errors})) == result


def test_only_202_is_an_acceptance_and_the_id_stands_in_a_header() -> None:
    assert sendgrid.read(an_answer(202, x_message_id="sg1")) == Accepted("sg1")


def test_a_limit_is_over_when_the_provider_says_by_its_own_clock() -> None:
    at = int(NOW.timestamp())
    answer = an_answer(429, b"", x_ratelimit_reset=str(at + 30), date="Tue, 24 Nov 2026 02:00:00 GMT")
    assert sendgrid.read(answer) == Refused("http_429", "throttled", permanent=False, retry_after=timedelta(seconds=30))
    for headers in ({"x_ratelimit_reset": "soon"}, {"x_ratelimit_reset": str(at)}, {"date": "Tue, 24 Nov 2026 02:00:00 GMT"}):
        assert sendgrid.read(an_answer(429, b"", **headers)) == Refused("http_429", "throttled", permanent=False)


def events(*said: dict[str, Any], key: ec.EllipticCurvePrivateKey = KEY, at: str = "1", method: Any = SHA256) -> Callback:
    body = msgspec.json.encode(list(said))
    signed = base64.b64encode(key.sign(at.encode() + body, ec.ECDSA(method()))).decode()
    return Callback("POST", CALLBACK, {sendgrid.SIGNATURE: signed, sendgrid.TIMESTAMP: at}, body)


ARRIVED = {
    "event": "delivered", "dunwell_message": "m-1", "sg_message_id": "sg1.filter-2", "sg_event_id": "e1", "email": "a@b", "timestamp": 0,
}  # fmt: skip


def test_events_under_the_key_are_receipts_each_with_an_id_of_its_own() -> None:
    arrived, other = told(sendgrid.ADAPTER, events(ARRIVED, {**ARRIVED, "event": "open"}, {**ARRIVED, "event": "processed"}), SIGNED)
    assert (arrived.standing, arrived.message_id, arrived.provider_ref, arrived.event_id) == (Standing.DELIVERED, "m-1", "sg1", "e1")
    assert other.standing is Standing.ACCEPTED


OTHER = ec.generate_private_key(ec.SECP256R1())
GOOD = events(ARRIVED)


@pytest.mark.parametrize(
    "callback",
    [
        events(ARRIVED, key=OTHER),
        events(ARRIVED, method=SHA384),
        replace(GOOD, body=GOOD.body.replace(b"delivered", b"processed")),
        replace(GOOD, headers={**GOOD.headers, sendgrid.TIMESTAMP: "2"}),
        replace(GOOD, headers={**GOOD.headers, sendgrid.SIGNATURE: "x"}),
        replace(GOOD, headers={**GOOD.headers, sendgrid.SIGNATURE: "ü"}),
        replace(GOOD, headers={**GOOD.headers, sendgrid.SIGNATURE: ""}),
        replace(GOOD, headers={}),
    ],
)
def test_events_under_anything_else_are_denied(callback: Callback) -> None:
    assert denied(sendgrid.ADAPTER, callback, SIGNED) == "signature"


@pytest.mark.parametrize(
    ("said", "standing", "fault"),
    [
        ({"event": "bounce", "type": "bounce"}, Standing.FAILED, "invalid_address"),
        ({"event": "bounce", "type": "blocked"}, Standing.FAILED, "provider"),
        ({"event": "dropped", "reason": "Bounced Address"}, Standing.FAILED, "invalid_address"),
        ({"event": "dropped", "reason": "Unsubscribed Address"}, Standing.FAILED, "opted_out"),
        ({"event": "dropped", "reason": "else", "type": "expired"}, Standing.FAILED, "provider"),
        ({"event": "spamreport"}, None, "complained"),
        ({"event": "group_unsubscribe"}, None, "opted_out"),
        ({"event": "deferred"}, Standing.ACCEPTED, "none"),
    ],
)
def test_events_are_read_by_the_table(said: dict[str, Any], standing: Standing | None, fault: str) -> None:
    (receipt,) = told(sendgrid.ADAPTER, events(said), ACCOUNT)
    assert (receipt.standing, receipt.fault) == (standing, fault)


@given(body=st.binary(max_size=60) | st.sampled_from([b"[1, null]", b'{"event": "delivered"}', b'[{"event": [], "timestamp": "x"}]']))
def test_whatever_is_posted_is_read_without_an_error(body: bytes) -> None:
    told(sendgrid.ADAPTER, Callback("POST", CALLBACK, {}, body), ACCOUNT)


def test_a_mail_offers_to_end_such_mails_with_one_click() -> None:
    link = "https://dunning.example/v1/unsubscribe/x"
    call = sendgrid.request(a_message("email", "li@example.org", subject="Hello", unsubscribe=link), ACCOUNT, NOW)
    assert msgspec.json.decode(call.body)["headers"] == {
        "List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }  # fmt: skip
    specs.check(call, "sendgrid", "/v3/mail/send")
