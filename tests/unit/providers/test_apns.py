"""Apple's push service: tokens that another library can read, headers that expire and identify a push, and refusals by reason."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import apns
from services.notifier.providers.wire import UnfitError
from tests.unit.providers.test_fcm import PEM as RSA_PEM
from tests.unit.providers.values import NOW, a_message, an_account, an_answer

KEY = ec.generate_private_key(ec.SECP256R1())
DEVICE = "00fc13adff785122b4ad28809a3420982341241421348097878e577c991de8f0"


def pem(curve: ec.EllipticCurve) -> str:
    return ec.generate_private_key(curve).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


PEM = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
ACCOUNT = an_account("apns", {"private_key": PEM}, {"topic": "com.lender.wallet", "team_id": "DEF123GHIJ", "key_id": "ABC123DEFG"})
READY = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "token": "t"})


@given(days=st.integers(-2000, 5000))
def test_a_token_is_one_that_another_library_reads(days: int) -> None:
    now = NOW + timedelta(days=days)
    token = apns.token(ACCOUNT, now)
    said = jwt.decode(token.value, KEY.public_key(), algorithms=["ES256"], options={"verify_iat": False})
    assert said == {"iss": "DEF123GHIJ", "iat": int(now.timestamp())}
    assert jwt.get_unverified_header(token.value) == {"alg": "ES256", "kid": "ABC123DEFG"}
    assert timedelta(minutes=20) < token.expires_in < timedelta(minutes=60)


@pytest.mark.parametrize("key", ["no key", RSA_PEM, pem(ec.SECP384R1())])
def test_a_key_of_another_form_makes_no_token(key: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        apns.token(replace(ACCOUNT, credentials={"private_key": key}), NOW)


@given(body=st.text(min_size=1, max_size=300), subject=st.none() | st.text(min_size=1, max_size=50), hours=st.integers(1, 2000))
def test_every_push_says_what_it_is_until_when_and_under_which_id(body: str, subject: str | None, hours: int) -> None:
    message = a_message("push", DEVICE, body=body, subject=subject, deadline=NOW + timedelta(hours=hours))
    call = apns.request(message, READY, NOW)
    titled = {"title": subject} if subject else {}
    assert msgspec.json.decode(call.body) == {"aps": {"alert": {**titled, "body": body}}, "dunwell_message": message.id}
    assert call.url == f"https://api.push.apple.com/3/device/{DEVICE}"
    headers = dict(call.headers)
    ours = headers.pop("apns-id")
    assert str(uuid.UUID(ours)) == ours
    assert headers == {
        "authorization": "bearer t", "content-type": "application/json", "apns-topic": "com.lender.wallet", "apns-push-type": "alert",
        "apns-priority": "10", "apns-collapse-id": message.id,
        "apns-expiration": str(int(NOW.timestamp()) + min(hours * 3600, 2_592_000)),
    }  # fmt: skip


def test_the_id_of_a_push_is_its_messages_alone() -> None:
    def id_of(message: str) -> str:
        return apns.request(a_message("push", DEVICE, id=message), READY, NOW).headers["apns-id"]

    assert id_of("m-1") == id_of("m-1") != id_of("m-2")


def test_a_push_without_an_end_is_given_none_and_a_long_id_is_cut_to_what_may_stand_there() -> None:
    headers = apns.request(a_message("push", DEVICE, deadline=None, id="m" * 100), READY, NOW).headers
    assert "apns-expiration" not in headers
    assert headers["apns-collapse-id"] == "m" * 64


def test_the_device_is_a_name_and_nothing_of_the_path() -> None:
    assert apns.request(a_message("push", "../x?y"), READY, NOW).url == "https://api.push.apple.com/3/device/..%2Fx%3Fy"


def test_an_account_is_of_one_environment() -> None:
    sandbox = replace(READY, settings={**ACCOUNT.settings, "environment": "sandbox"})
    assert apns.request(a_message("push", DEVICE), sandbox, NOW).url.startswith("https://api.sandbox.push.apple.com/3/")
    with pytest.raises(UnfitError, match="no_such_environment"):
        apns.request(a_message("push", DEVICE), replace(READY, settings={**ACCOUNT.settings, "environment": "test"}), NOW)


def test_a_push_that_is_too_large_is_not_given_to_it() -> None:
    with pytest.raises(UnfitError, match="too_large"):
        apns.request(a_message("push", DEVICE, body="你" * 1400), READY, NOW)


@pytest.mark.parametrize(
    ("status", "reason", "result"),
    [
        (410, "Unregistered", Refused("410 Unregistered", "invalid_address")),
        (400, "BadDeviceToken", Refused("400 BadDeviceToken", "invalid_address")),
        (429, "TooManyRequests", Refused("429 TooManyRequests", "throttled_recipient", permanent=False)),
        (429, "TooManyProviderTokenUpdates", Refused("429 TooManyProviderTokenUpdates", "throttled", permanent=False)),
        (403, "ExpiredProviderToken", Refused("403 ExpiredProviderToken", "config", permanent=False)),
        (413, "PayloadTooLarge", Refused("413 PayloadTooLarge", "content")),
        (500, "InternalServerError", Unknown("500 InternalServerError")),
        (503, "Shutdown", Unknown("503 Shutdown")),
        (400, "New", Refused("400 New", "provider", permanent=False)),
    ],
)
def test_refusals_are_read_by_the_table(status: int, reason: str, result: object) -> None:
    assert apns.read(an_answer(status, {"reason": reason})) == result


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        (an_answer(200, apns_id="1"), Accepted("1")),
        (an_answer(200), Unknown("answer_unreadable")),
        (an_answer(502, b"<html>"), Unknown("http_502")),
        (an_answer(410, b"[]"), Refused("http_410", "provider", permanent=False)),
    ],
)
def test_an_answer_without_a_reason_is_read_by_its_status(answer: Any, result: object) -> None:
    assert apns.read(answer) == result
