"""Receipts over HTTP: signed by the provider's fake, early, duplicated, reordered, forged."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import msgspec
import pytest

from services.notifier.domain.receipts import Standing
from services.notifier.providers.codes import Meaning
from services.notifier.providers.fake.server import SPEAKERS, FakeProviders
from services.notifier.providers.fake.speaker import Taken, magic
from services.notifier.providers.wire import Account, HttpCall
from services.notifier.store import borrowers
from tests.integration.notifier.test_providers import FAKES, REAL, a_wired_world, ask, put, route, twilio
from tests.integration.notifier.world import TENANT, World
from tests.support.postgres import Databases
from tests.support.running import until

PUBLIC = "https://dunning.example"
VONAGE = Account("main", "vonage", {"api_key": "abcd1234", "api_secret": "s"}, {"from": "Lender"})


@asynccontextmanager
async def a_sent_world(databases: Databases, to: str = REAL) -> AsyncIterator[tuple[World, FakeProviders, Taken]]:
    """A world in which a message to `b1` was given to a provider that reports."""
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", to)
        await world.service.pump()
        ((_, taken),) = fake.kept
        yield world, fake, taken


def reported(world: World, taken: Taken, standing: Standing) -> HttpCall:
    report = SPEAKERS["twilio"].report
    assert report is not None
    return report(taken, standing, Account("main", "twilio", FAKES["main"].credentials), world.clock.now())


async def post(world: World, call: HttpCall, **changes: Any) -> httpx.Response:
    return await world.call("POST", call.url.removeprefix(PUBLIC), content=call.body, **{"headers": dict(call.headers), **changes})


async def state(world: World) -> tuple[str, str | None]:
    await world.service.pump()
    delivery = await world.delivery("b1")
    return delivery["state"], delivery["attempts"][0]["receipt"]


async def test_a_receipt_makes_a_sent_message_delivered_once_however_often_it_comes(databases: Databases) -> None:
    async with a_sent_world(databases) as (world, _, taken):
        assert await state(world) == ("sent", None)
        for new in (1, 0, 0):
            answer = await post(world, reported(world, taken, Standing.DELIVERED))
            assert (answer.status_code, answer.json()) == (200, {"new": new})
        assert await state(world) == ("delivered", "delivered")
        assert world.outcomes("b1") == ["sent", "delivered"]
        [contact] = (await world.get("/v1/borrowers/b1/contacts"))["items"]
        assert contact["result"] == "delivered"


@pytest.mark.parametrize("order", list(itertools.permutations([Standing.SENT, Standing.FAILED, Standing.DELIVERED])))
async def test_any_order_of_receipts_comes_to_the_same(databases: Databases, order: tuple[Standing, ...]) -> None:
    async with a_sent_world(databases) as (world, _, taken):
        for standing in order:
            await post(world, reported(world, taken, standing))
        assert await state(world) == ("delivered", "delivered")


async def test_a_receipt_of_a_failure_ends_the_delivery_with_its_code(databases: Databases) -> None:
    async with a_sent_world(databases) as (world, _, taken):
        await post(world, reported(world, taken, Standing.FAILED))
        assert await state(world) == ("failed", "failed")
        assert (await world.delivery("b1"))["reason"] == "30003"
        assert world.outcomes("b1") == ["sent", "failed"]


async def test_a_receipt_resolves_what_was_unknown(databases: Databases) -> None:
    """The provider answered 500 but had taken the message: only its receipt says so, with our id."""
    async with a_sent_world(databases, magic(Meaning.UNKNOWN)) as (world, _, taken):
        assert (await state(world))[0] == "unknown"
        await post(world, reported(world, taken, Standing.SENT))
        assert await state(world) == ("sent", "sent")
        assert (await world.delivery("b1"))["attempts"][0]["provider_ref"] == taken.ref
        assert world.outcomes("b1") == ["unknown", "sent"]


async def test_a_receipt_of_a_channel_that_was_left_is_heard_beside_the_next_one(databases: Databases) -> None:
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await world.profile("b1", addresses={"sms": REAL, "email": "noreceipt@example.org"}, jurisdictions=("TT",))
        await world.fact("b1", jurisdictions=("TT",))
        await world.request("b1", channels=("sms", "email"), jurisdictions=("TT",), fallback_after=timedelta(hours=1))
        await world.service.pump()
        ((_, taken),) = fake.kept
        await world.pass_to(world.clock.now() + timedelta(hours=1))
        assert world.outcomes("b1") == ["sent", "sent"]
        await post(world, reported(world, taken, Standing.FAILED))
        assert (await state(world), world.outcomes("b1")) == (("sent", "failed"), ["sent", "sent"])
        assert (await world.delivery("b1"))["channel"] == "email"
        await post(world, reported(world, taken, Standing.DELIVERED))
        assert (await state(world), world.outcomes("b1")) == (("delivered", "delivered"), ["sent", "sent", "delivered"])
        assert [message["channel"] for message in await world.messages("b1")] == ["email"]
        assert len(fake.kept) == 1


async def test_what_is_forged_or_meant_for_another_account_changes_nothing(databases: Databases) -> None:
    async with a_sent_world(databases) as (world, _, taken):
        good = reported(world, taken, Standing.DELIVERED)
        assert (await post(world, good, headers={**good.headers, "x-twilio-signature": "x"})).status_code == 403
        assert (await post(world, HttpCall(good.url + "x", good.headers, good.body))).status_code == 403
        elsewhere = good.url.replace("/main/", "/second/")
        assert (await post(world, HttpCall(elsewhere, good.headers, good.body))).status_code == 404
        secret = good.url.split("/")[-2]
        assert (await post(world, HttpCall(good.url.replace(secret, "guess"), good.headers, good.body))).status_code == 404
        assert await state(world) == ("sent", None)
        assert await world.scalar("select count(*) from notifier.receipts") == 0


async def test_the_request_is_kept_sealed_and_a_receipt_for_nothing_we_know_waits(databases: Databases) -> None:
    async with a_sent_world(databases) as (world, _, taken):
        await post(world, reported(world, taken, Standing.DELIVERED))
        stored = str(await world.scalar("select string_agg(encode(sealed, 'escape'), '') from notifier.callbacks"))
        assert stored
        assert REAL not in stored
        assert "MessageSid" not in stored
        (shown,) = (await world.delivery("b1"))["attempts"][0]["receipts"]
        assert (shown["standing"], shown["code"], shown["raw"]) == ("delivered", None, None)
        (opened,) = (await world.get("/v1/deliveries/t-b1", raw="true", reason="a dispute"))["attempts"][0]["receipts"]
        assert "MessageSid" in opened["raw"]
        assert "/v1/providers/" not in opened["raw"], "the address has a secret"
        assert await world.scalar("select reason from notifier.pii_reads where what = 'receipts'") == "a dispute"
        other = Taken("SMother", REAL, "", callback=(taken.callback or "").partition("?")[0] + "?m=m-unheard-of")
        assert (await post(world, reported(world, other, Standing.DELIVERED))).json() == {"new": 1}
        assert await world.scalar("select count(*) from notifier.receipts") == 2


@asynccontextmanager
async def a_world_of_parts(databases: Databases, *, lost: bool = False) -> AsyncIterator[tuple[World, FakeProviders]]:
    """A world whose messages go to Vonage, with its answer lost where requested."""
    async with a_wired_world(databases, public_url=PUBLIC) as (world, fake):
        fake.accounts = {"main": VONAGE}
        await put(world, "main", {**twilio(fake), "kind": "vonage", "credentials": VONAGE.credentials, "settings": VONAGE.settings})
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", magic(Meaning.UNKNOWN) if lost else REAL)
        yield world, fake


def of_parts(world: World, taken: Taken, *standings: Standing) -> list[HttpCall]:
    """Return what Vonage says about each part of a message."""
    speaker = SPEAKERS["vonage"]
    assert speaker.parts is not None
    assert speaker.report is not None
    return [
        speaker.report(part, standing, VONAGE, world.clock.now())
        for part, standing in zip(speaker.parts(taken), standings, strict=True)
    ]  # fmt: skip


async def test_a_message_of_vonages_in_parts_has_arrived_when_all_of_them_have(databases: Databases) -> None:
    async with a_world_of_parts(databases) as (world, fake):
        await world.service.pump()
        first, second = of_parts(world, fake.kept[0][1], Standing.DELIVERED, Standing.DELIVERED)
        for new in (1, 0):
            assert (await post(world, first)).json()["new"] == new
            assert await state(world) == ("sent", "sent")
        await post(world, second)
        assert await state(world) == ("delivered", "delivered")


@pytest.mark.parametrize(
    ("said", "after_one", "after_all"),
    [
        ((Standing.DELIVERED, Standing.DELIVERED), "sent", "delivered"),
        ((Standing.FAILED, Standing.DELIVERED), "failed", "failed"),
    ],
)  # fmt: skip
async def test_a_part_speaks_for_itself_alone_also_where_the_answer_was_lost_that_names_them(
    databases: Databases, said: tuple[Standing, Standing], after_one: str, after_all: str
) -> None:
    async with a_world_of_parts(databases, lost=True) as (world, fake):
        assert (await state(world))[0] == "unknown"
        for call, after in zip(of_parts(world, fake.kept[0][1], *said), (after_one, after_all), strict=True):
            await post(world, call)
            assert (await state(world))[0] == after


async def test_two_parts_that_are_reported_on_at_one_moment_see_each_other(databases: Databases) -> None:
    async with a_world_of_parts(databases) as (world, fake):
        await world.service.pump()
        calls = of_parts(world, fake.kept[0][1], Standing.DELIVERED, Standing.DELIVERED)
        async with world.engine.begin() as conn:
            await borrowers.lock(conn, [(TENANT, "b1")])
            posted = [asyncio.create_task(post(world, call)) for call in calls]
            await until(lambda: world.scalar("select count(*) = 2 from pg_locks where not granted"), "both to wait")
        await asyncio.gather(*posted)
        assert await state(world) == ("delivered", "delivered")


async def test_a_batch_of_events_is_taken_as_large_as_providers_make_them(databases: Databases) -> None:
    async with a_wired_world(databases, public_url=PUBLIC) as (world, _):
        account = {"kind": "sendgrid", "credentials": {"api_key": "k"}, "settings": {"from": "dunning@lender.example"}}
        url = (await put(world, "mail", account))["receipts_url"]
        event = {"event": "delivered", "dunwell_message": "m-1", "response": "x" * 7_800}
        for count, status in ((98, 200), (140, 413)):
            body = msgspec.json.encode([{**event, "sg_event_id": f"e{number}"} for number in range(count)])
            assert (await post(world, HttpCall(url, {}, body))).status_code == status, len(body)
