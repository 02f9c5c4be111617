"""JPush: pushes as its own library builds them, and only an error that names the device condemns its id."""

from __future__ import annotations

import base64
from dataclasses import replace
from datetime import timedelta
from typing import Any

import jpush as theirs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.results import Accepted, Refused, Unknown
from services.notifier.providers import jpush
from tests.unit.providers.values import NOW, a_message, an_account, an_answer

ACCOUNT = an_account("jpush", {"app_key": "7d431e42dfa6a6d693ac2d04", "master_secret": "secret"})


@given(
    body=st.text(min_size=1, max_size=200),
    subject=st.none() | st.text(min_size=1, max_size=50),
    hours=st.integers(1, 1000),
    production=st.sampled_from([None, "true", "false"]),
)
def test_every_push_is_what_its_own_library_builds(body: str, subject: str | None, hours: int, production: str | None) -> None:
    message = a_message("push", "18171adc0301d2a9fae", body=body, subject=subject, deadline=NOW + timedelta(hours=hours))
    account = replace(ACCOUNT, settings={"apns_production": production} if production else {})
    call = jpush.request(message, account, NOW)
    push = theirs.JPush("7d431e42dfa6a6d693ac2d04", "secret").create_push()
    extras = {"dunwell_message": message.id}
    titled = {"title": subject} if subject else {}
    push.platform = ["android", "ios"]
    push.audience = theirs.audience(theirs.registration_id(message.to))
    push.notification = theirs.notification(
        android=theirs.android(body, subject, extras=extras),
        ios=theirs.ios({**titled, "body": body}, badge=None, sound_disable=True, extras=extras),
    )
    push.options = {"apns_production": production != "false", "time_to_live": min(hours * 3600, 864_000)}
    assert msgspec.json.decode(call.body) == push.payload
    assert call.url == "https://api.jpush.cn/v3/push"
    assert call.headers["authorization"] == "Basic " + base64.b64encode(b"7d431e42dfa6a6d693ac2d04:secret").decode()


def an_error(code: int, message: str = "") -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


@pytest.mark.parametrize(
    ("status", "body", "result"),
    [
        (200, {"sendno": "0", "msg_id": "18100287008546151"}, Accepted("18100287008546151")),
        (200, {"sendno": "0"}, Unknown("answer_unreadable")),
        (400, an_error(1011, "cannot find user by this audience"), Refused("1011", "invalid_address")),
        (400, an_error(1003, "Parameter value is invalid: registration_id"), Refused("1003 registration_id", "invalid_address")),
        (400, an_error(1003, "Parameter value is invalid: notification"), Refused("1003", "content")),
        (401, an_error(1004), Refused("1004", "config", permanent=False)),
        (403, an_error(2003), Refused("2003", "config", permanent=False)),
        (500, an_error(1000), Unknown("1000")),
        (503, an_error(1030), Unknown("1030")),
        (502, b"<html>", Unknown("http_502")),
        (400, {"error": "no"}, Refused("http_400", "provider", permanent=False)),
    ],
)
def test_answers_are_read_by_the_table(status: int, body: Any, result: object) -> None:
    assert jpush.read(an_answer(status, body)) == result


def test_too_fast_is_waited_for_as_long_as_its_header_says() -> None:
    said = jpush.read(an_answer(429, an_error(2002), x_rate_limit_reset="32"))
    assert said == Refused("2002", "throttled", permanent=False, retry_after=timedelta(seconds=32))
