"""What holds for every kind of provider, including any added later."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from services.notifier.domain.results import Refused
from services.notifier.providers.codes import Codes, Meaning
from services.notifier.providers.fake.server import SPEAKERS
from services.notifier.providers.fake.speaker import Taken, code_for
from services.notifier.providers.kinds import ADAPTERS
from services.notifier.providers.wire import Account, HttpCall, UnfitError
from tests.unit.providers.values import NOW, TEMPLATES, a_message

LEFT = timedelta(hours=3)
TO = {"sms": "+12025550123", "email": "someone@example.com", "push": "token", "inbox": "someone"}
SETTINGS = {
    "from": "+12025550100",
    "region": "eu-west-1",
    "project_id": "p",
    "url": "https://a.example/hook",
    "sign_name": "Lender",
    "sdk_app_id": "1400006666",
    "username": "lender",
    "topic": "com.lender.wallet",
    "team_id": "DEF123GHIJ",
    "key_id": "ABC123DEFG",
}


def of_form(name: str) -> Callable[[HttpCall], Any]:
    return lambda call: parse_qs(call.body.decode())[name][0]


def of_json(*path: str) -> Callable[[HttpCall], Any]:
    def found(call: HttpCall) -> Any:
        said = msgspec.json.decode(call.body)
        for name in path:
            said = said[name]
        return said

    return found


ENDS: Mapping[str, tuple[Callable[[HttpCall], Any], Any]] = {
    "twilio": (of_form("ValidityPeriod"), "10800"),
    "vonage": (of_form("ttl"), "10800000"),
    "messagebird": (of_json("validity"), 10800),
    "aws_sms": (of_json("TimeToLive"), 10800),
    "fcm": (of_json("message", "android", "ttl"), "10800s"),
    "apns": (lambda call: call.headers["apns-expiration"], str(int((NOW + LEFT).timestamp()))),
    "jpush": (of_json("options", "time_to_live"), 10800),
    "webhook": (of_json("data", "expires_at"), (NOW + LEFT).isoformat().replace("+00:00", "Z")),
}
"""Where each kind that supports an expiry puts it."""
ENDLESS = {"sendgrid", "aws_ses", "aliyun_sms", "tencent_sms", "africastalking"}
"""Kinds whose APIs do not: once accepted, they try a message for as long as they like."""


def a_call(kind: str, deadline: timedelta | None) -> HttpCall:
    adapter = ADAPTERS[kind]
    channel = adapter.channels[0]
    credentials = dict.fromkeys((*adapter.credentials, "token"), "aa==")
    settings = {name: SETTINGS.get(name) or TEMPLATES[kind] for name in adapter.settings}
    account = Account("main", kind, credentials, settings)
    message = a_message(channel, TO[channel], subject="Your instalment")
    return adapter.request(replace(message, deadline=NOW + deadline if deadline is not None else None), account, NOW)


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_every_kind_that_has_a_word_for_the_end_of_a_message_says_it(kind: str) -> None:
    call = a_call(kind, LEFT)
    if kind in ENDLESS:
        assert not re.search(rb"ttl|valid|expir", call.body, re.IGNORECASE)
    else:
        where, said = ENDS[kind]
        assert where(call) == said


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_no_kind_is_given_a_message_that_has_ended(kind: str) -> None:
    with pytest.raises(UnfitError, match="too_late"):
        a_call(kind, timedelta())


@pytest.mark.parametrize("kind", sorted(ADAPTERS))
def test_a_429_is_a_failure_of_no_kind_and_its_retry_after_is_kept(kind: str) -> None:
    said = Codes.load(kind).result(429, retry_after="17")
    assert isinstance(said, Refused)
    assert (said.fault, said.permanent, said.retry_after) == ("throttled", False, timedelta(seconds=17))


def test_a_number_that_sends_goes_out_as_it_is_asked_for_and_a_name_as_it_is() -> None:
    for kind, where in (("vonage", of_form("from")), ("messagebird", of_json("originator"))):
        adapter = ADAPTERS[kind]
        sent = []
        for sender in ("+12025550100", "12025550100", "Lender", "+Lender"):
            account = Account("main", kind, dict.fromkeys(adapter.credentials, "x"), {"from": sender})
            sent.append(where(adapter.request(a_message(), account, NOW)))
        assert sent == ["12025550100", "12025550100", "Lender", "+Lender"], kind


WORDS = (
    "user unknown, address rejected permanently",
    "throttled, rate limit exceeded, try again later",
    "unsubscribed: the recipient opted out",
)


CODE_ALONE = {"apns", "webhook"}
"""They refuse with a code and no words."""


@pytest.mark.parametrize("kind", sorted(ADAPTERS.keys() - CODE_ALONE))
@pytest.mark.parametrize("words", WORDS)
def test_the_words_of_an_error_decide_nothing_whatever_its_code(kind: str, words: str) -> None:
    speaker, read, worded = SPEAKERS[kind], ADAPTERS[kind].read, 0
    for code in (code for code in speaker.codes.api if not code.startswith("http ")):
        said = speaker.refuse(Taken("r", "+12025550123", "b"), code)
        other = replace(said, body=said.body.replace(b'"refused"', msgspec.json.encode(words)))
        assert read(other) == read(said), code
        worded += other != said
    assert worded


@pytest.mark.parametrize("kind", sorted(SPEAKERS))
@pytest.mark.parametrize("meaning", Meaning)
def test_a_fake_answers_every_meaning_that_its_kind_has_a_word_for_by_that_word(kind: str, meaning: Meaning) -> None:
    code = code_for(SPEAKERS[kind], meaning)
    assert (code is None) == (meaning not in SPEAKERS[kind].codes.api.values())
    assert code is None or SPEAKERS[kind].codes.api[code] is meaning
