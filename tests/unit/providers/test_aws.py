"""AWS: the same requests and signatures as its own library makes, errors listed in its models, events signed by SNS."""

from __future__ import annotations

import base64
import functools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.loaders
import botocore.model
import botocore.serialize
import botocore.validate
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Standing
from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import aws_ses, aws_sms
from services.notifier.providers.wire import Account, Adapter, Callback, Fetch, HttpCall, UnfitError
from tests.unit.providers.values import CALLBACK, NOW, a_message, an_account, an_answer, denied, told

KEYS = {"access_key_id": "AKIDEXAMPLE", "secret_access_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
TOPIC = "arn:aws:sns:eu-central-1:123456789012:events"
MAIL = an_account("aws_ses", KEYS, {"from": "dunning@lender.example", "region": "eu-central-1", "topic": TOPIC})
TEXT = an_account("aws_sms", KEYS, {"region": "eu-central-1", "from": "LENDER", "topic": TOPIC})
SERVICES = {"aws_ses": ("sesv2", "SendEmail", "ses"), "aws_sms": ("pinpoint-sms-voice-v2", "SendTextMessage", "sms-voice")}


@functools.cache
def model(kind: str) -> Any:
    name = SERVICES[kind][0]
    return botocore.model.ServiceModel(botocore.loaders.Loader().load_service_model(name, "service-2"), name)


def a_mail(**changes: Any) -> OutgoingMessage:
    return replace(a_message("email", "someone@example.com", subject="About your account"), **changes)


def checked(call: HttpCall, kind: str) -> dict[str, Any]:
    """Return the body, after the library has validated its members and would have written the same request."""
    said: dict[str, Any] = msgspec.json.decode(call.body)
    operation = model(kind).operation_model(SERVICES[kind][1])
    report = botocore.validate.ParamValidator().validate(said, operation.input_shape)
    assert not report.has_errors(), report.generate_report()
    unknown = _unknown(said, operation.input_shape)
    assert not unknown, unknown
    theirs = botocore.serialize.create_serializer(model(kind).metadata["protocol"]).serialize_to_request(said, operation)
    assert msgspec.json.decode(theirs["body"]) == said
    assert call.url.endswith(theirs["url_path"])
    for name, value in theirs["headers"].items():
        assert call.headers[name.lower()] == value
    return said


def _unknown(said: Any, shape: Any) -> list[str]:
    """Return the members missing from the model: the library's own validation ignores them."""
    match shape.type_name:
        case "structure":
            extra = [name for name in said if name not in shape.members]
            return extra + [one for name in said if name in shape.members for one in _unknown(said[name], shape.members[name])]
        case "list":
            return [one for part in said for one in _unknown(part, shape.member)]
        case _:
            return []


def signed_by_the_library(call: HttpCall, account: Account, kind: str, at: datetime) -> str:
    """Return the library's signature for exactly this request at this time."""
    credentials = botocore.credentials.Credentials(
        account.credentials["access_key_id"], account.credentials["secret_access_key"], account.credentials.get("session_token")
    )
    headers = {name: value for name, value in call.headers.items() if name != "authorization"}
    request = botocore.awsrequest.AWSRequest("POST", call.url, headers=headers, data=call.body)
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    auth = botocore.auth.SigV4Auth(credentials, SERVICES[kind][2], account.settings["region"])
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


@given(
    body=st.text(min_size=1, max_size=200),
    subject=st.text(min_size=1, max_size=80),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2026, 11, 24), timezones=st.just(UTC)),  # noqa: DTZ001  # the strategy adds the zone
    region=st.sampled_from(["eu-central-1", "us-east-1", "cn-north-1"]),
    session=st.booleans(),
)
def test_every_mail_is_what_the_library_would_write_and_sign(
    body: str, subject: str, at: datetime, region: str, session: bool
) -> None:  # fmt: skip
    credentials = KEYS | ({"session_token": "token/+=="} if session else {})
    account = replace(MAIL, credentials=credentials, settings={**MAIL.settings, "region": region, "configuration_set": "main"})
    call = aws_ses.request(a_mail(body=body, subject=subject), account, at)
    said = checked(call, "aws_ses")
    assert said["Content"]["Simple"]["Body"]["Text"]["Data"] == body
    assert said["EmailTags"] == [{"Name": "dunwell_message", "Value": a_mail().id}]
    assert call.headers["authorization"].endswith(f"Signature={signed_by_the_library(call, account, 'aws_ses', at)}")


def test_a_mail_offers_to_end_such_mails_with_one_click() -> None:
    link = "https://dunning.example/v1/unsubscribe/x"
    said = checked(aws_ses.request(a_mail(unsubscribe=link), MAIL, NOW), "aws_ses")
    assert {one["Name"]: one["Value"] for one in said["Content"]["Simple"]["Headers"]} == {
        "List-Unsubscribe": f"<{link}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }  # fmt: skip


@given(body=st.text(min_size=1, max_size=200), hours=st.integers(1, 100))
def test_every_text_is_what_the_library_would_write_and_sign(body: str, hours: int) -> None:
    call = aws_sms.request(a_message(body=body, deadline=NOW + timedelta(hours=hours)), TEXT, NOW)
    said = checked(call, "aws_sms")
    assert (said["MessageBody"], said["DestinationPhoneNumber"]) == (body, "+12025550123")
    assert said["TimeToLive"] == min(hours * 3600, 259_200)
    assert call.headers["authorization"].endswith(f"Signature={signed_by_the_library(call, TEXT, 'aws_sms', NOW)}")


def test_the_check_refuses_a_member_that_the_model_does_not_name() -> None:
    call = aws_ses.request(a_mail(), MAIL, NOW)
    with pytest.raises(AssertionError, match="Charst"):
        checked(replace(call, body=call.body.replace(b"Charset", b"Charst")), "aws_ses")


def test_a_sender_with_a_name_is_written_as_mail_writes_it() -> None:
    account = replace(MAIL, settings={**MAIL.settings, "from_name": "Kredit, für alle"})
    sender = checked(aws_ses.request(a_mail(), account, NOW), "aws_ses")["FromEmailAddress"]
    assert sender.isascii()
    assert sender.endswith("<dunning@lender.example>")


@pytest.mark.parametrize("mail", [a_mail(subject=None), a_mail(deadline=NOW), a_mail(to="a@b\nBcc: c@d")])
def test_what_cannot_be_mailed_is_said_before_anyone_is_called(mail: OutgoingMessage) -> None:
    with pytest.raises(UnfitError):
        aws_ses.request(mail, MAIL, NOW)


@pytest.mark.parametrize("kind", ["aws_ses", "aws_sms"])
def test_every_error_and_reason_of_the_tables_is_one_that_the_model_or_awss_common_errors_know(kind: str) -> None:
    shapes = set(model(kind).shape_names)
    reasons = {word for name in shapes if name.endswith("Reason") for word in model(kind).shape_for(name).enum}
    common = {
        "InvalidSignatureException", "SignatureDoesNotMatch", "UnrecognizedClientException", "InvalidClientTokenId", "OptInRequired",
        "ExpiredTokenException", "IncompleteSignature", "MissingAuthenticationTokenException", "MissingAuthenticationToken",
        "NotAuthorized", "ThrottlingException", "ServiceUnavailable", "InternalFailure", "InternalServerException", "AccessDeniedException",
    }  # fmt: skip
    for code in (aws_ses if kind == "aws_ses" else aws_sms).CODES.api:
        name, _, reason = code.partition(" ")[0].partition("/") if not code.startswith("http ") else (code, "", "")
        assert name.startswith("http ") or name in shapes | common, code
        assert reason in reasons | {"", "*"}, code


@pytest.mark.parametrize(
    ("status", "body", "headers", "result"),
    [
        (200, {"MessageId": "x1"}, {}, Accepted("x1")),
        (200, {}, {}, Unknown("answer_unreadable")),
        (400, {"message": "no"}, {"x_amzn_errortype": "MessageRejected:http://internal/"}, Refused("MessageRejected", "content")),
        (
            400,
            {"__type": "MessageRejected", "message": "Email address is not verified. The following identities failed"},
            {},
            Refused("MessageRejected not verified", "config", permanent=False),
        ),
        (400, {"__type": "com.amazonaws.ses#SendingPausedException"}, {}, Refused("SendingPausedException", "config", permanent=False)),
        (429, {"__type": "TooManyRequestsException"}, {}, Refused("TooManyRequestsException", "throttled", permanent=False)),
        (403, {"message": "The security token is invalid"}, {}, Refused("http_403", "config", permanent=False)),
        (400, {"__type": "NewException"}, {}, Refused("NewException", "provider", permanent=False)),
        (500, {"__type": "InternalFailure"}, {}, Unknown("InternalFailure")),
        (503, b"", {}, Unknown("http_503")),
    ],
)
def test_answers_of_ses_are_read_by_the_table(status: int, body: object, headers: dict[str, str], result: object) -> None:
    assert aws_ses.read(an_answer(status, body, **headers)) == result


@pytest.mark.parametrize(
    ("name", "reason", "result"),
    [
        ("ConflictException", "DESTINATION_PHONE_NUMBER_OPTED_OUT", ("opted_out", True)),
        ("ConflictException", "NO_ORIGINATION_IDENTITIES_FOUND", ("config", False)),
        ("ConflictException", "SOMETHING_NEW", ("provider", False)),
        ("ValidationException", "SOMETHING_NEW", ("config", False)),
        ("ValidationException", "PRICE_OVER_THRESHOLD", ("content", True)),
        ("ConflictException", "RESOURCE_NOT_ACTIVE", ("config", False)),
        ("ConflictException", "DESTINATION_PHONE_NUMBER_BLOCKED_BY_PROTECT_NUMBER_OVERRIDE", ("content", True)),
        ("ValidationException", "DESTINATION_COUNTRY_BLOCKED", ("content", True)),
        ("ThrottlingException", None, ("throttled", False)),
    ],
)
def test_errors_of_texts_are_read_with_their_reason(name: str, reason: str | None, result: tuple[str, bool]) -> None:
    read = aws_sms.read(an_answer(400, {"__type": name, "Reason": reason}))
    assert isinstance(read, Refused)
    assert (read.fault, read.permanent) == result


@pytest.mark.parametrize(
    ("reason", "fields", "result"),
    [
        ("FIELD_VALIDATION_FAILED", ["DestinationPhoneNumber"], ("invalid_address", True)),
        ("INVALID_PARAMETER", ["destinationPhoneNumber"], ("invalid_address", True)),
        ("FIELD_VALIDATION_FAILED", ["MessageBody"], ("content", True)),
        ("FIELD_VALIDATION_FAILED", ["OriginationIdentity", "DestinationPhoneNumber"], ("config", False)),
        ("COUNTRY_NOT_ENABLED", ["DestinationPhoneNumber"], ("config", False)),
    ],
)
def test_a_field_that_is_wrong_with_a_text_says_whose_fault_it_is(reason: str, fields: list[str], result: tuple[str, bool]) -> None:
    named = [{"Name": name, "Message": "no"} for name in fields]
    read = aws_sms.read(an_answer(400, {"__type": "ValidationException", "Reason": reason, "Fields": named}))
    assert isinstance(read, Refused)
    assert (read.fault, read.permanent) == result


SIGNER = rsa.generate_private_key(65537, 2048)
WHERE = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123.pem"
CONFIRM = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&TopicArn=arn:aws:sns:x&Token=23"


def certificate(key: rsa.RSAPrivateKey = SIGNER) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    return builder.not_valid_before(NOW).not_valid_after(NOW + timedelta(days=1)).sign(key, SHA256()).public_bytes(Encoding.PEM)


def brought(event: object, *, version: str = "2", key: rsa.RSAPrivateKey = SIGNER, **changes: Any) -> Callback:
    """Return an event as SNS delivers it, signed as its documentation describes."""
    said = {
        "Type": "Notification", "MessageId": "n1", "TopicArn": TOPIC, "Message": msgspec.json.encode(event).decode(),
        "Timestamp": "2026-11-24T02:00:00.000Z", "SignatureVersion": version, "SigningCertURL": WHERE, **changes,
    }  # fmt: skip
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    signed = "".join(f"{name}\n{said[name]}\n" for name in names if name in said).encode()
    method = SHA1() if version == "1" else SHA256()
    said["Signature"] = base64.b64encode(key.sign(signed, padding.PKCS1v15(), method)).decode()
    return Callback("POST", CALLBACK, {"content-type": "text/plain"}, msgspec.json.encode(said), {WHERE: certificate()})


ARRIVED = {
    "eventType": "Delivery",
    "delivery": {"timestamp": "2026-11-24T02:00:00.000Z"},
    "mail": {
        "timestamp": "2026-11-24T01:59:00.000Z", "messageId": "x1", "destination": ["a@b"], "tags": {"dunwell_message": ["m-1"]},
    },
}  # fmt: skip


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_event_under_the_signature_of_sns_is_a_receipt(version: str) -> None:
    for callback in (brought(ARRIVED, version=version), brought(ARRIVED, version=version, Subject="Amazon SES Email Event Notification")):
        (receipt,) = told(aws_ses.ADAPTER, callback, MAIL)
        assert (receipt.standing, receipt.message_id, receipt.provider_ref, receipt.address) == (Standing.DELIVERED, "m-1", "x1", "a@b")
        assert receipt.at == NOW


GOOD = brought(ARRIVED)
OTHER = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("callback", "why"),
    [
        (brought(ARRIVED, key=OTHER), "signature"),
        (brought(ARRIVED, version="3"), "signature"),
        (replace(GOOD, body=GOOD.body.replace(b"Delivery", b"Complaint")), "signature"),
        (replace(GOOD, fetched={WHERE: b"no certificate"}), "signature"),
        (replace(GOOD, fetched={WHERE: certificate(OTHER)}), "signature"),
        (brought(ARRIVED, TopicArn=TOPIC + "2"), "topic"),
        (brought(ARRIVED, Type="Else"), "topic"),
        (replace(GOOD, body=b"{}"), "topic"),
        *[
            (brought(ARRIVED, SigningCertURL=url), "certificate")
            for url in (
                "http://sns.eu-central-1.amazonaws.com/x.pem", "https://sns.eu-central-1.amazonaws.com.evil.example/x.pem",
                "https://evil.example/sns.eu-central-1.amazonaws.com/x.pem", "https://sns.eu-central-1.amazonaws.com@evil.example/x.pem",
                "https://x.s3.amazonaws.com/x.pem", "https://sns.eu-central-1.amazonaws.com/a/../x.pem", WHERE + "\n",
            )
        ],
    ],
)  # fmt: skip
def test_anything_else_that_says_it_comes_from_sns_is_denied(callback: Callback, why: str) -> None:
    assert denied(aws_ses.ADAPTER, callback, MAIL) == why
    assert denied(aws_sms.ADAPTER, callback, TEXT) == why


def test_an_account_without_a_topic_believes_no_event() -> None:
    account = replace(MAIL, settings={"from": "a@b", "region": "eu-central-1"})
    assert denied(aws_ses.ADAPTER, brought({}, TopicArn=None), account) == "topic"


def wanted(adapter: Adapter, callback: Callback, account: Account) -> object:
    assert adapter.receipts is not None
    return adapter.receipts(callback, account, NOW)


def test_the_certificate_is_asked_for_once_and_a_subscription_is_confirmed_only_under_its_signature() -> None:
    asked = brought({}, Type="SubscriptionConfirmation", SubscribeURL=CONFIRM, Token="23")
    assert wanted(aws_ses.ADAPTER, replace(asked, fetched={}), MAIL) == Fetch(WHERE)
    assert wanted(aws_ses.ADAPTER, asked, MAIL) == Fetch(CONFIRM)
    assert told(aws_ses.ADAPTER, replace(asked, fetched={**asked.fetched, CONFIRM: b""}), MAIL) == []
    forged = brought({}, Type="SubscriptionConfirmation", SubscribeURL="https://evil.example/", Token="23")
    assert denied(aws_ses.ADAPTER, forged, MAIL) == "confirmation"
    assert denied(aws_ses.ADAPTER, replace(asked, body=asked.body.replace(b"Token=23", b"Token=24")), MAIL) == "signature"


@pytest.mark.parametrize(
    ("event", "standing", "fault"),
    [
        ({"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "NoEmail"}}, Standing.FAILED, "invalid_address"),
        ({"eventType": "Bounce", "bounce": {"bounceType": "Permanent", "bounceSubType": "New"}}, Standing.FAILED, "invalid_address"),
        ({"eventType": "Bounce", "bounce": {"bounceType": "Transient", "bounceSubType": "MailboxFull"}}, Standing.FAILED, "provider"),
        ({"eventType": "Bounce", "bounce": {"bounceType": "Undetermined"}}, Standing.FAILED, "provider"),
        ({"eventType": "Bounce", "bounce": None}, Standing.FAILED, "provider"),
        ({"eventType": "Complaint"}, None, "complained"),
        ({"eventType": "Complaint", "complaint": {"complaintSubType": "OnAccountSuppressionList"}}, Standing.FAILED, "complained"),
        ({"eventType": "Reject"}, Standing.FAILED, "content"),
        ({"eventType": "Rendering Failure"}, Standing.FAILED, "content"),
        ({"eventType": "Subscription", "subscription": {"newTopicPreferences": {"unsubscribeAll": True}}}, None, "opted_out"),
        ({"notificationType": "Delivery", "mail": []}, Standing.DELIVERED, "none"),
    ],
)
def test_events_of_mails_are_read_by_the_table(event: dict[str, Any], standing: Standing | None, fault: str) -> None:
    (receipt,) = told(aws_ses.ADAPTER, brought(event), MAIL)
    assert (receipt.standing, receipt.fault) == (standing, fault)


@pytest.mark.parametrize(
    "event", [{"eventType": "Open"}, {"eventType": "Subscription", "subscription": {"newTopicPreferences": {"unsubscribeAll": False}}}]
)
def test_events_that_say_nothing_of_delivery_or_of_a_wish_are_no_receipts(event: dict[str, Any]) -> None:
    assert told(aws_ses.ADAPTER, brought(event), MAIL) == []


@pytest.mark.parametrize(
    ("kind", "standing", "fault"),
    [
        ("TEXT_SUCCESSFUL", Standing.SENT, "none"),
        ("TEXT_DELIVERED", Standing.DELIVERED, "none"),
        ("TEXT_INVALID", Standing.FAILED, "invalid_address"),
        ("TEXT_BLOCKED", Standing.FAILED, "content"),
        ("TEXT_TTL_EXPIRED", Standing.FAILED, "provider"),
    ],
)
def test_events_of_texts_are_read_by_the_table(kind: str, standing: Standing, fault: str) -> None:
    event = {
        "eventType": kind, "eventTimestamp": int(NOW.timestamp() * 1000), "messageId": "x1", "destinationPhoneNumber": "+12025550123",
        "context": {"dunwell_message": "m-1"},
    }  # fmt: skip
    (receipt,) = told(aws_sms.ADAPTER, brought(event), TEXT)
    assert (receipt.standing, receipt.fault, receipt.message_id, receipt.at) == (standing, fault, "m-1", NOW)
    assert told(aws_sms.ADAPTER, brought({**event, "eventType": "TEXT_UNKNOWN"}), TEXT) == []
