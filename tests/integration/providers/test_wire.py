"""Every adapter against the fake of its provider, over real HTTP: each class of answer, and receipts back."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from libs.common.clock import DrivenClock
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Standing
from services.notifier.domain.results import Accepted, NotSent, Refused, Unknown
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.codes import FAULTS, Meaning
from services.notifier.providers.fake.server import SPEAKERS, FakeProviders
from services.notifier.providers.fake.speaker import magic
from services.notifier.providers.http import HttpProvider
from services.notifier.providers.kinds import ADAPTERS
from services.notifier.providers.wire import Account, Callback, Denied, Fetch
from tests.integration.providers.accounts import ACCOUNTS, OTHER, OTHER_APNS
from tests.integration.providers.cutting import closed_port
from tests.integration.providers.tls import loopback_tls
from tests.support.h2 import served_over_http2
from tests.unit.providers.values import NOW, a_message

KINDS = sorted(ADAPTERS)
REPORTING = sorted(kind for kind in SPEAKERS if SPEAKERS[kind].report)
WISHES = [(kind, meaning) for kind in KINDS for meaning in Meaning if meaning in SPEAKERS[kind].codes.api.values()]


def provider_of(account: Account, context: ssl.SSLContext | None = None) -> HttpProvider:
    return HttpProvider(account, ADAPTERS[account.kind], Carrier(context=context, http2=ADAPTERS[account.kind].http2), DrivenClock(NOW))


@asynccontextmanager
async def reached(kind: str, **changes: object) -> AsyncIterator[tuple[FakeProviders, HttpProvider]]:
    """A fake that listens, and the provider that calls it."""
    server, client = loopback_tls() if "url" in ACCOUNTS[kind].settings else (None, None)
    made = FakeProviders({kind: ACCOUNTS[kind]})
    async with served_over_http2(made) if ADAPTERS[kind].http2 else made.served(context=server) as fake:
        provider = provider_of(replace(fake.account(kind), **changes), client)  # type: ignore[arg-type]  # fields of an account
        try:
            yield fake, provider
        finally:
            await provider.close()


def to_of(kind: str, meaning: Meaning | None = None) -> str:
    channel = ADAPTERS[kind].channels[0]
    if channel == "sms":
        return magic(meaning) if meaning else "+12025550123"
    word = meaning.value if meaning else "someone"
    return f"{word}@example.com" if channel == "email" else word


def a_message_to(kind: str, meaning: Meaning | None = None, **changes: object) -> OutgoingMessage:
    return a_message(ADAPTERS[kind].channels[0], to_of(kind, meaning), subject="A word about your account", **changes)


def test_every_adapter_has_a_fake_and_an_account_to_be_tested_with() -> None:
    assert set(ADAPTERS) == set(SPEAKERS) == set(ACCOUNTS)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_is_accepted_and_kept_as_it_was_said(kind: str) -> None:
    async with reached(kind) as (fake, provider):
        body = "Ihr Beitrag: 12,50 € & mehr? ja+nein 100% 你好"
        (result,) = await provider.deliver([a_message_to(kind, body=body)])
        ((_, taken),) = fake.kept
    assert isinstance(result, Accepted)
    assert result.provider_ref == taken.ref
    assert body in taken.body
    assert taken.to.lstrip("+") == to_of(kind).lstrip("+")


async def test_a_message_whose_hours_have_ended_is_given_to_nobody_and_may_be_tried_in_the_next_ones() -> None:
    async with reached("twilio") as (fake, provider):
        assert await provider.deliver([a_message_to("twilio", deadline=NOW)]) == [Refused("too_late", "provider", permanent=False)]
    assert fake.kept == []


@pytest.mark.parametrize(("kind", "meaning"), WISHES)
async def test_each_class_of_answer_is_read_for_what_it_is(kind: str, meaning: Meaning) -> None:
    async with reached(kind) as (fake, provider):
        (result,) = await provider.deliver([a_message_to(kind, meaning)])
    if meaning is Meaning.UNKNOWN:
        assert isinstance(result, Unknown)
        assert len(fake.kept) == 1
    else:
        assert isinstance(result, Refused)
        assert (result.fault, result.permanent) == (FAULTS[meaning], meaning in ("permanent", "opted_out", "invalid_address"))
        assert fake.kept == []


@pytest.mark.parametrize("kind", KINDS)
async def test_wrong_credentials_are_a_fault_of_the_configuration(kind: str) -> None:
    wrong = {name: WRONG.get(f"{kind} {name}", WRONG.get(name, "wrong")) for name in ACCOUNTS[kind].credentials}
    async with reached(kind, credentials=wrong) as (fake, provider):
        (result,) = await provider.deliver([a_message_to(kind)])
    assert isinstance(result, Refused)
    assert (result.fault, result.permanent) == ("config", False)
    assert fake.kept == []


@pytest.mark.parametrize(("kind", "key"), [("aliyun_sms", "access_key_secret"), ("tencent_sms", "secret_key")])
async def test_what_another_key_has_signed_is_not_taken(kind: str, key: str) -> None:
    async with reached(kind, credentials={**ACCOUNTS[kind].credentials, key: "other"}) as (fake, provider):
        (result,) = await provider.deliver([a_message_to(kind)])
    assert isinstance(result, Refused)
    assert (result.fault, fake.kept) == ("config", [])


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("aws_sms", {"settings": {}}),
        ("aws_ses", {"settings": {"from": "a@b", "region": "evil.example/"}}),
        ("fcm", {"credentials": {"client_email": "a@b", "private_key": "x"}}),
    ],
)
async def test_an_account_that_can_make_no_request_says_so_of_each_message_and_calls_nobody(kind: str, changes: dict[str, object]) -> None:
    async with reached(kind, **changes) as (fake, provider):
        results = await provider.deliver([a_message_to(kind), a_message_to(kind)])
    assert [(result.fault, result.permanent) for result in results if isinstance(result, Refused)] == [("config", False)] * 2
    assert fake.kept == []


@pytest.mark.parametrize("kind", KINDS)
async def test_a_provider_that_is_away_was_not_sent_anything(kind: str) -> None:
    provider = provider_of(replace(ACCOUNTS[kind], base_url=f"http://127.0.0.1:{closed_port()}"))
    results = await provider.deliver([a_message_to(kind), a_message_to(kind)])
    await provider.close()
    assert all(isinstance(result, NotSent) for result in results)


@pytest.mark.parametrize("kind", KINDS)
async def test_the_results_of_a_batch_come_in_its_order(kind: str) -> None:
    numbers = [(None, Meaning.CONFIG)[place % 2] for place in range(20)]
    async with reached(kind) as (_, provider):
        results = await provider.deliver([a_message_to(kind, meaning) for meaning in numbers])
    assert [isinstance(result, Accepted) for result in results] == [meaning is None for meaning in numbers]


@pytest.mark.parametrize("standing", [Standing.DELIVERED, Standing.FAILED])
@pytest.mark.parametrize("kind", REPORTING)
async def test_a_receipt_of_the_fake_is_believed_and_names_the_message(kind: str, standing: Standing) -> None:
    async with reached(kind) as (fake, provider):
        message = a_message_to(kind)
        (result,) = await provider.deliver([message])
        ((_, taken),) = fake.kept
    report, receipts = SPEAKERS[kind].report, ADAPTERS[kind].receipts
    assert report is not None
    assert receipts is not None
    call = report(taken, standing, ACCOUNTS[kind], NOW)
    callback = Callback(call.method, call.url, call.headers, call.body)
    found = receipts(callback, provider.account, NOW + timedelta(seconds=1))
    assert not isinstance(found, Denied | Fetch), found
    (receipt,) = found
    assert receipt.standing is standing
    assert (receipt.fault == "none") == (standing is not Standing.FAILED)
    assert isinstance(result, Accepted)
    assert message.id == receipt.message_id or receipt.provider_ref == result.provider_ref


WRONG = {"secret": "whsec_d3Jvbmc=", "private_key": OTHER, "apns private_key": OTHER_APNS}
"""Credentials that must be of some form, in a form that is right."""
