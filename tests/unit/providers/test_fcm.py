"""FCM: pushes as it documents them, and only an answer that names the token condemns the token."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import jsonschema
import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import fcm
from services.notifier.providers.wire import HttpCall, Token, UnfitError
from tests.support import specs
from tests.unit.providers.values import NOW, a_message, an_account, an_answer

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
ACCOUNT = an_account("fcm", {"client_email": "sender@wallet.iam.example", "private_key": PEM}, {"project_id": "wallet"})
READY = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "token": "ya29"})


def checked(call: HttpCall) -> dict[str, Any]:
    said: dict[str, Any] = msgspec.json.decode(call.body)
    document = specs.spec("fcm")
    specs.validate(said, {"$ref": document["$ref"]}, document)
    return said


@given(body=st.text(min_size=1, max_size=200), subject=st.none() | st.text(min_size=1, max_size=50), hours=st.integers(1, 1000))
def test_every_push_is_one_of_its_description(body: str, subject: str | None, hours: int) -> None:
    message = a_message("push", "token-1", body=body, subject=subject, deadline=NOW + timedelta(hours=hours))
    call = fcm.request(message, READY, NOW)
    said = checked(call)["message"]
    left = min(hours * 3600, 2_419_200)
    assert (said["token"], said["notification"]["body"], said["notification"].get("title")) == ("token-1", body, subject)
    assert said["android"]["ttl"] == f"{left}s"
    assert said["webpush"]["headers"]["TTL"] == str(left)
    assert said["apns"]["headers"]["apns-expiration"] == str(int(NOW.timestamp()) + left)
    assert call.url == "https://fcm.googleapis.com/v1/projects/wallet/messages:send"


def test_the_check_refuses_a_member_that_fcm_does_not_name() -> None:
    call = fcm.request(a_message("push", "token-1"), READY, NOW)
    with pytest.raises(jsonschema.ValidationError):
        checked(replace(call, body=call.body.replace(b'"notification"', b'"notificaton"')))


def test_a_push_that_is_too_large_is_not_given_to_it_since_its_error_would_condemn_the_token() -> None:
    with pytest.raises(UnfitError, match="too_large"):
        fcm.request(a_message("push", "token-1", body="你" * 1400), READY, NOW)


def test_a_push_that_has_ended_is_not_given_to_it() -> None:
    with pytest.raises(UnfitError):
        fcm.request(a_message("push", "token-1", deadline=NOW), READY, NOW)


BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"


def an_error(status: str, name: str | None = None, *fields: str) -> dict[str, Any]:
    details: list[dict[str, Any]] = [{"@type": fcm.FCM_ERROR, "errorCode": name}] if name else []
    if fields:
        details.append({"@type": BAD_REQUEST, "fieldViolations": [{"field": field, "description": ""} for field in fields]})
    return {"error": {"status": status, "details": details}}


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, {"name": "projects/wallet/messages/1"}, Accepted("projects/wallet/messages/1")),
        (200, {}, Unknown("answer_unreadable")),
        (404, an_error("NOT_FOUND", "UNREGISTERED"), Refused("UNREGISTERED", "invalid_address")),
        (404, an_error("NOT_FOUND"), Refused("NOT_FOUND", "config", permanent=False)),
        (403, an_error("PERMISSION_DENIED", "SENDER_ID_MISMATCH"), Refused("SENDER_ID_MISMATCH", "invalid_address")),
        (403, an_error("PERMISSION_DENIED"), Refused("PERMISSION_DENIED", "config", permanent=False)),
        (400, an_error("INVALID_ARGUMENT", "INVALID_ARGUMENT"), Refused("INVALID_ARGUMENT token", "invalid_address")),
        (400, an_error("INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.token"), Refused("INVALID_ARGUMENT token", "invalid_address")),
        (400, an_error("INVALID_ARGUMENT", "INVALID_ARGUMENT", "message.data"), Refused("INVALID_ARGUMENT", "content")),
        (400, an_error("INVALID_ARGUMENT", None, "message.token"), Refused("INVALID_ARGUMENT", "content")),
        (400, an_error("INVALID_ARGUMENT"), Refused("INVALID_ARGUMENT", "content")),
        (401, an_error("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), Refused("THIRD_PARTY_AUTH_ERROR", "config", permanent=False)),
        (
            429,
            an_error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
            Refused("QUOTA_EXCEEDED", "throttled", permanent=False, retry_after=timedelta(minutes=1)),
        ),
        (500, an_error("INTERNAL", "INTERNAL"), Unknown("INTERNAL")),
        (503, b"", Unknown("http_503")),
        (400, {"error": {"status": None, "details": [None, {"fieldViolations": [7]}]}}, Refused("None", "provider", permanent=False)),
    ],
)
def test_answers_are_read_by_their_details(status: int, body: object, result: object) -> None:
    assert fcm.read(an_answer(status, body)) == result


@pytest.mark.parametrize("key_id", [None, "k1"])
def test_the_assertion_is_one_that_another_library_believes(key_id: str | None) -> None:
    credentials = ACCOUNT.credentials if key_id is None else {**ACCOUNT.credentials, "private_key_id": key_id}
    call = fcm.token_request(replace(ACCOUNT, credentials=credentials), NOW)
    said = parse_qs(call.body.decode(), strict_parsing=True)
    assert said["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    (assertion,) = said["assertion"]
    claims = jwt.decode(
        assertion, KEY.public_key(), algorithms=["RS256"], audience="https://oauth2.googleapis.com/token", options={"verify_exp": False,
        "verify_iat": False},
    )  # fmt: skip
    assert (claims["iss"], claims["scope"]) == ("sender@wallet.iam.example", "https://www.googleapis.com/auth/firebase.messaging")
    assert (claims["iat"], claims["exp"] - claims["iat"]) == (int(NOW.timestamp()), 3600)
    assert jwt.get_unverified_header(assertion).get("kid") == key_id


def test_a_key_of_another_kind_is_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    with pytest.raises(TypeError):
        fcm.token_request(replace(ACCOUNT, credentials={**ACCOUNT.credentials, "private_key": curve}), NOW)


@pytest.mark.parametrize(
    ("status", "body", "token"),
    [
        (200, {"access_token": "t", "expires_in": 3599}, Token("t", timedelta(seconds=3599))),
        (200, {"access_token": "t"}, None),
        (200, {"expires_in": 3599}, None),
        (400, {"access_token": "t", "expires_in": 3599}, None),
        (200, b"", None),
    ],
)
def test_a_token_is_read_only_out_of_an_answer_that_has_one(status: int, body: object, token: Token | None) -> None:
    assert fcm.read_token(an_answer(status, body)) == token
