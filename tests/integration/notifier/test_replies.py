"""Replies over HTTP: signed as the provider signs, kept once and sealed; what they wish holds at the very next claim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from libs.common.contracts.catalogue import PROFILES
from libs.compliance import Packs, load_packs
from libs.compliance.packs import parse_pack
from services.notifier.domain.receipts import Standing
from services.notifier.providers.codes import Meaning
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import magic
from services.notifier.providers.twilio import signature
from services.notifier.providers.wire import Account, HttpCall
from services.notifier.service import Options
from tests.integration.notifier.test_provider_receipts import PUBLIC, a_sent_world, post, reported
from tests.integration.notifier.test_providers import CREDENTIALS, OPEN, REAL, a_wired_world, ask, put, route, twilio
from tests.integration.notifier.world import World, a_world
from tests.support.postgres import Databases


@asynccontextmanager
async def a_reached_world(databases: Databases, *others: str) -> AsyncIterator[tuple[World, FakeProviders, str]]:
    """A world in which a message went out to `b1` and to others who share the number; with the path that replies come in at."""
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        shown = await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        for borrower in ("b1", *others):
            await ask(world, borrower)
        await world.service.pump()
        yield world, fake, shown["inbound_url"]


async def reply(world: World, url: str, text: str, *, ref: str = "SM1", sender: str = REAL, **changes: Any) -> httpx.Response:
    body = urlencode({"MessageSid": ref, "From": sender, "To": "+12025550100", "Body": text, **changes.pop("fields", {})}).encode()
    signed = {"x-twilio-signature": signature(url, body, CREDENTIALS["auth_token"])}
    headers = {"content-type": "application/x-www-form-urlencoded", **signed, **changes.pop("headers", {})}
    return await world.call("POST", url.removeprefix(PUBLIC), content=body, headers=headers)


async def again(world: World, borrower: str, task: str, **changes: Any) -> dict[str, Any]:
    """Ask for another message, and return what became of it."""
    await world.request(borrower, task, channels=("sms",), jurisdictions=("TT",), **changes)
    await world.service.pump()
    return await world.delivery(borrower, task)


def texts(fake: FakeProviders) -> list[str]:
    return [taken.body for _, taken in fake.kept]


async def test_stop_ends_the_channel_for_everybody_with_the_number_and_is_confirmed_once(databases: Databases) -> None:
    async with a_reached_world(databases, "b2") as (world, fake, url):
        answer = await reply(world, url, "Stop!")
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/xml")
        assert "<Response/>" in answer.text
        await world.service.pump()
        assert [len(texts(fake)), "no more text messages" in texts(fake)[-1].lower()] == [3, True]
        assert world.outcomes("b1")[:3] == ["sent", "replied", "opted_out"]
        assert world.outcomes("b2")[:3] == ["sent", "replied", "opted_out"]
        for borrower in ("b1", "b2"):
            ended = await again(world, borrower, f"t-after-{borrower}")
            assert (ended["state"], ended["reason"]) == ("suppressed", "opt_out")
        await reply(world, url, "STOP", ref="SM2")
        await world.service.pump()
        assert len(fake.kept) == 3


@pytest.mark.parametrize(("meaning", "ground"), [(Meaning.OPTED_OUT, "opt_out"), (Meaning.INVALID_ADDRESS, "invalid_address")])
async def test_what_a_provider_refuses_because_of_the_person_is_not_tried_again(
    databases: Databases, meaning: Meaning, ground: str
) -> None:
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", magic(meaning))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "failed"
        assert world.outcomes("b1") == (["failed", "opted_out"] if ground == "opt_out" else ["failed"])
        assert await world.scalar("select array_agg(ground || ' ' || source) from notifier.suppressions") == [f"{ground} answer"]
        ended = await again(world, "b1", "t-2")
        expected = ("suppressed", "opt_out") if ground == "opt_out" else ("failed", "no_address")
        assert (ended["state"], ended["reason"], ended["attempts"]) == (*expected, [])


async def test_an_address_that_is_none_is_used_again_once_it_is_verified_anew(databases: Databases) -> None:
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        number = magic(Meaning.INVALID_ADDRESS)
        await ask(world, "b1", number)
        await world.service.pump()
        world.clock.advance(timedelta(minutes=1))
        profile = world.a_profile("b1", {"sms": number}, jurisdictions=("TT",))
        anew = msgspec.structs.replace(profile.addresses[0], verified_at=world.clock.now())
        await world.hear(
            PROFILES, "borrower.profile.v1", msgspec.structs.replace(profile, addresses=(anew,)), borrower="b1", what="profile"
        )
        assert (await again(world, "b1", "t-2"))["attempts"][0]["provider"] == "main"


async def test_a_receipt_that_says_nobody_is_there_takes_the_address_out(databases: Databases) -> None:
    async with a_sent_world(databases) as (world, _, taken):
        report = reported(world, taken, Standing.FAILED)
        body = report.body.replace(b"30003", b"30005")
        url = report.url
        headers = {**report.headers, "x-twilio-signature": signature(url, body, CREDENTIALS["auth_token"])}
        assert (await post(world, HttpCall(url, headers, body))).json() == {"new": 1}
        assert await world.scalar("select array_agg(ground || ' ' || source) from notifier.suppressions") == ["invalid_address receipt"]
        ended = await again(world, "b1", "t-2")
        assert (ended["state"], ended["reason"]) == ("failed", "no_address")


async def test_a_spam_complaint_after_the_delivery_ends_the_mail_and_stands_in_the_case(databases: Databases) -> None:
    """Unsigned, since this account has no key for that: it may suppress."""
    accounts = {"mail": Account("mail", "sendgrid", {"api_key": "k"}, {"from": "us@example.org"})}
    packs = Packs({**load_packs().by_id, "TT": parse_pack(OPEN, "TT.yaml")})
    served = FakeProviders(accounts).served()
    async with served as fake, a_world(databases, options=Options(packs=packs), fakes=True, public_url=PUBLIC) as world:
        made = {
            "kind": "sendgrid",
            "credentials": {"api_key": "k"},
            "settings": {"from": "us@example.org"},
            "base_url": f"{fake.origin}/mail",
        }
        shown = await put(world, "mail", made)
        await route(world, {"channel": "email", "provider": "mail"})
        await world.profile("b1", addresses={"email": "li@example.org"}, jurisdictions=("TT",))
        await world.fact("b1", jurisdictions=("TT",))
        await world.request("b1", channels=("email",), jurisdictions=("TT",))
        await world.service.pump()
        ((_, taken),) = fake.kept
        path = shown["receipts_url"].removeprefix(PUBLIC)
        for number, event in enumerate(("delivered", "spamreport", "spamreport")):
            said = {
                "event": event,
                "email": taken.to,
                "sg_event_id": f"e{min(number, 1)}",
                "dunwell_message": taken.reference,
                "timestamp": 1,
            }
            answer = await world.call("POST", path, json=[said])
            assert answer.json() == {"new": 1 if number < 2 else 0}, number
        await world.service.pump()
        assert world.outcomes("b1") == ["sent", "delivered", "opted_out", "complained"]
        await world.request("b1", "t-2", channels=("email",), jurisdictions=("TT",))
        await world.service.pump()
        ended = await world.delivery("b1", "t-2")
        assert (ended["state"], ended["reason"], len(fake.kept)) == ("suppressed", "opt_out", 1)
