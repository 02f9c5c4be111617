"""Providers that send only approved texts: our text is judged, theirs is filled in, and receipts get the answer they expect."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from aiohttp import web

from services.notifier.domain.receipts import Standing
from services.notifier.providers.fake.server import SPEAKERS, FakeProviders
from services.notifier.providers.wire import Account
from tests.integration.notifier.test_provider_receipts import PUBLIC, post, state
from tests.integration.notifier.test_providers import REAL, ask, open_packs, put, route
from tests.integration.notifier.world import MORNING, World, a_world
from tests.support.postgres import Databases

CREDENTIALS = {
    "aliyun_sms": {"access_key_id": "LTAI5t", "access_key_secret": "secret"},
    "tencent_sms": {"secret_id": "AKIDEXAMPLE", "secret_key": "secret"},
}
SETTINGS = {"aliyun_sms": {"sign_name": "Lender"}, "tencent_sms": {"sdk_app_id": "1400006666", "region": "ap-guangzhou"}}
PARAMS: dict[str, Any] = {"aliyun_sms": {"who": "name", "sum": "total"}, "tencent_sms": ["name", "total"]}
HEARD = {"aliyun_sms": {"code": 0, "msg": "OK"}, "tencent_sms": {"result": 0, "errmsg": "OK"}}
KINDS = sorted(CREDENTIALS)


class Early(FakeProviders):
    """A fake whose report comes before its answer."""

    world: World | None = None

    async def _on_request(self, request: web.Request) -> web.Response:
        answer = await super()._on_request(request)
        if self.world is not None:
            await arrives(self.world, self)
        return answer


@asynccontextmanager
async def a_chinese_world(databases: Databases, kind: str, *texts: str) -> AsyncIterator[tuple[World, Early]]:
    """A world with one account whose approved texts replace these of ours."""
    templates = {name: {"en": {"code": "SMS_1", "params": PARAMS[kind]}} for name in texts}
    settings = {**SETTINGS[kind], "templates": msgspec.json.encode(templates).decode()}
    fake = Early({"main": Account("main", kind, CREDENTIALS[kind], settings)})
    async with fake.served(), a_world(databases, options=open_packs(), fakes=True, public_url=PUBLIC) as world:
        shown = await put(
            world, "main", {"kind": kind, "credentials": CREDENTIALS[kind], "settings": settings, "base_url": f"{fake.origin}/main"}
        )
        fake.accounts = {"main": replace(fake.accounts["main"], callback=shown["receipts_url"])}
        await route(world, {"channel": "sms", "provider": "main"})
        yield world, fake


async def arrives(world: World, fake: FakeProviders) -> dict[str, Any]:
    """Report that the last message has arrived, and return the answer to the provider."""
    account, (_, taken) = fake.accounts["main"], fake.kept[-1]
    report = SPEAKERS[account.kind].report
    assert report is not None
    answer = await post(world, report(taken, Standing.DELIVERED, account, world.clock.now()))
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_goes_out_as_the_approved_text_and_its_report_is_answered_so_that_it_does_not_come_again(
    databases: Databases, kind: str
) -> None:
    async with a_chinese_world(databases, kind, "gentle", "firm") as (world, fake):
        await ask(world, "b1")
        await world.service.pump()
        ((_, taken),) = fake.kept
        assert taken.to.lstrip("+") == REAL.lstrip("+")
        assert taken.subject == "SMS_1"
        assert taken.body == "Li Wei\nCNY 120.50"
        assert await state(world) == ("sent", None)
        assert await arrives(world, fake) == {**HEARD[kind], "new": 1}
        assert await arrives(world, fake) == {**HEARD[kind], "new": 0}
        assert await state(world) == ("delivered", "delivered")


@pytest.mark.parametrize("kind", KINDS)
async def test_a_report_that_is_there_before_the_answer_counts(databases: Databases, kind: str) -> None:
    async with a_chinese_world(databases, kind, "gentle", "firm") as (world, fake):
        fake.world = world
        await ask(world, "b1")
        assert await state(world) == ("delivered", "delivered")
        assert world.outcomes("b1") == ["sent", "delivered"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_message_without_an_approved_text_waits_and_the_account_goes_on(databases: Databases, kind: str) -> None:
    async with a_chinese_world(databases, kind, "some_other") as (world, fake):
        await ask(world, "b1")
        await world.service.pump()
        delivery = await world.delivery("b1")
        assert (delivery["state"], delivery["attempts"][0]["code"], delivery["attempts"][0]["fault"]) == (
            "pending", "no_approved_text", "config",
        )  # fmt: skip
        [main] = [one for one in (await world.get("/v1/providers"))["items"] if one["name"] == "main"]
        assert (main["paused"], main["last_faults"]) == (False, [])
        texts = msgspec.json.encode({name: {"en": {"code": "SMS_1", "params": PARAMS[kind]}} for name in ("gentle", "firm")}).decode()
        account = {"kind": kind, "base_url": f"{fake.origin}/main", "settings": {**SETTINGS[kind], "templates": texts}}
        await put(world, "main", account, 200)
        await world.pass_to(MORNING + timedelta(seconds=30))
        assert (await world.delivery("b1"))["state"] == "sent"


@pytest.mark.parametrize("kind", KINDS)
async def test_an_account_whose_approved_texts_cannot_be_used_is_refused(databases: Databases, kind: str) -> None:
    async with a_world(databases, fakes=True) as world:
        account = {"kind": kind, "credentials": CREDENTIALS[kind], "settings": {**SETTINGS[kind], "templates": "{}"}}
        refused = await put(world, "main", account, 422)
        assert (refused["code"], refused["detail"]) == ("invalid_account", f"{kind}: no_approved_text")
