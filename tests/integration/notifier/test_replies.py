"""Replies over HTTP: signed as the provider signs, kept once and sealed; what they wish holds at the very next claim."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx

from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.twilio import signature
from tests.integration.notifier.test_provider_receipts import PUBLIC
from tests.integration.notifier.test_providers import CREDENTIALS, REAL, a_wired_world, ask, put, route, twilio
from tests.integration.notifier.world import World
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
