"""Providers asked what became of messages whose answers were lost: found, never taken, or still unknown; nothing goes out twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from services.notifier.domain.asking import PAUSES
from services.notifier.domain.receipts import Standing
from services.notifier.providers.codes import Meaning
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import magic
from services.notifier.providers.wire import Account
from tests.integration.notifier.test_cut_connections import port_of
from tests.integration.notifier.test_providers import CREDENTIALS, REAL, ask, open_packs, put, route
from tests.integration.notifier.world import MORNING, World, a_world
from tests.integration.providers.proxy import WHOLE, Cut, Proxy, proxied
from tests.support.postgres import Databases
from tests.unit.providers.values import TEMPLATES

FAKES = {
    "twilio": Account("twilio", "twilio", CREDENTIALS, {"from": "+12025550100"}),
    "messagebird": Account("messagebird", "messagebird", {"access_key": "live_1"}, {"from": "Lender"}),
    "aliyun": Account(
        "aliyun", "aliyun_sms", {"access_key_id": "k", "access_key_secret": "s"},
        {"sign_name": "Lender", "templates": TEMPLATES["aliyun_sms"]},
    ),
    "tencent": Account(
        "tencent", "tencent_sms", {"secret_id": "k", "secret_key": "s"},
        {"sdk_app_id": "1400006666", "region": "ap-guangzhou", "templates": TEMPLATES["tencent_sms"]},
    ),
}  # fmt: skip
LOST = [Cut(answer=0), Cut(answer=20, reset=True)]


@asynccontextmanager
async def a_world_of(databases: Databases, name: str, *cuts: Cut, **changes: Any) -> AsyncIterator[tuple[World, FakeProviders, Proxy]]:
    """A notifier whose only provider is reached over connections that are cut, the first ones as given; both share one clock."""
    proxy = Proxy(0, plan=lambda number: cuts[number - 1] if number <= len(cuts) else WHOLE)
    async with (
        FakeProviders(FAKES).served() as fake,
        proxied(proxy),
        a_world(databases, options=open_packs(), fakes=True, **changes) as world,
    ):
        proxy.server, fake.clock = port_of(fake), world.clock
        await put(world, "main", body(name, proxy))
        await route(world, {"channel": "sms", "provider": "main"})
        yield world, fake, proxy


def body(name: str, proxy: Proxy) -> dict[str, Any]:
    one = FAKES[name]
    base = f"http://127.0.0.1:{proxy.port}/{name}"
    return {"kind": one.kind, "credentials": dict(one.credentials), "settings": dict(one.settings), "base_url": base}


async def shown(world: World, borrower: str = "b1") -> tuple[str, str | None, str | None]:
    one = await world.delivery(borrower)
    return one["state"], one["attempts"][0]["result"], one["attempts"][0]["receipt"]


async def after(world: World, pause: timedelta) -> None:
    await world.pass_to(MORNING + pause + timedelta(seconds=1))


@pytest.mark.parametrize("name", sorted(FAKES))
@pytest.mark.parametrize("cut", LOST)
async def test_what_was_taken_while_its_answer_was_lost_is_found_and_not_sent_again(databases: Databases, name: str, cut: Cut) -> None:
    async with a_world_of(databases, name, cut) as (world, fake, _):
        await ask(world, "b1")
        await world.service.pump()
        assert await shown(world) == ("unknown", "unknown", None)
        [(account, taken)] = fake.kept
        fake.kept[:] = [(account, replace(taken, standing=Standing.DELIVERED))]
        await after(world, PAUSES[0])
        assert await shown(world) == ("delivered", "accepted", "delivered")
        assert world.outcomes("b1") == ["unknown", "sent", "delivered"]
        assert len(fake.kept) == 1


async def test_one_that_is_on_its_way_is_sent_and_what_is_said_later_still_lifts_it(databases: Databases) -> None:
    async with a_world_of(databases, "twilio", Cut(answer=0)) as (world, fake, _):
        await ask(world, "b1")
        await world.service.pump()
        await after(world, PAUSES[0])
        assert await shown(world) == ("sent", "accepted", "accepted")
        assert (await world.delivery("b1"))["attempts"][0]["provider_ref"] == fake.kept[0][1].ref


async def test_one_that_its_provider_says_has_failed_fails_and_its_address_is_used_no_more(databases: Databases) -> None:
    async with a_world_of(databases, "twilio", Cut(answer=0)) as (world, fake, _):
        await ask(world, "b1")
        await world.service.pump()
        fake.kept[:] = [(account, replace(taken, standing=Standing.FAILED)) for account, taken in fake.kept]
        await after(world, PAUSES[0])
        assert await shown(world) == ("failed", "unknown", "failed")


@pytest.mark.parametrize(("name", "proves"), [("twilio", True), ("messagebird", True), ("aliyun", False), ("tencent", False)])
async def test_what_was_never_taken_was_not_sent_where_its_absence_proves_that_and_not_before_long(
    databases: Databases, name: str, proves: bool
) -> None:
    """Another case's message, deferred by this one to the next day, goes out once this one is known not to have been sent."""
    async with a_world_of(databases, name, Cut(request=10)) as (world, fake, _):
        await ask(world, "b1")
        await world.service.pump()
        await world.request("b1", "t-2", channels=("sms",), jurisdictions=("TT",))
        for pause in PAUSES[:3]:
            await after(world, pause)
            assert await shown(world) == ("unknown", "unknown", None)
        await after(world, PAUSES[3])
        await world.service.pump()
        assert await shown(world) == (("failed", "not_sent", None) if proves else ("unknown", "unknown", None))
        assert world.outcomes("b1") == ["unknown", "deferred", *(["failed", "sent"] if proves else [])]
        result = await world.scalar("select result from notifier.contacts where task_id = 't-b1'")
        assert result == ("not_sent" if proves else "unknown")
        assert len(fake.kept) == int(proves)
        await after(world, timedelta(days=1))
        assert (await world.delivery("b1"))["state"] == ("failed" if proves else "unresolved")


async def test_an_absence_in_another_account_than_the_one_that_was_given_it_proves_nothing(databases: Databases) -> None:
    async with a_world_of(databases, "twilio", Cut(request=10)) as (world, _, proxy):
        await ask(world, "b1")
        await world.service.pump()
        world.clock.advance(timedelta(seconds=1))
        await put(world, "main", body("twilio", proxy), 200)
        for pause in PAUSES:
            await after(world, pause)
        assert await shown(world) == ("unknown", "unknown", None)


async def test_a_provider_that_does_not_answer_is_asked_five_times_and_no_more(databases: Databases) -> None:
    async with a_world_of(databases, "twilio", Cut(answer=0)) as (world, fake, _):
        fake.searchable = False
        await ask(world, "b1")
        await world.service.pump()
        for number, pause in enumerate(PAUSES, 1):
            await after(world, pause)
            assert await world.scalar("select asked from notifier.attempts") == number
        await after(world, timedelta(hours=12))
        assert await world.scalar("select asked from notifier.attempts") == len(PAUSES)
        assert await shown(world) == ("unknown", "unknown", None)


async def test_the_messages_of_others_to_the_same_number_are_not_taken_for_ours(databases: Databases) -> None:
    async with a_world_of(databases, "twilio", WHOLE, Cut(request=10)) as (world, fake, proxy):
        await ask(world, "b1")
        await world.service.pump()
        await put(world, "main", body("twilio", proxy), 200)
        await ask(world, "b2")
        await world.service.pump()
        assert await shown(world, "b2") == ("unknown", "unknown", None)
        assert len(fake.kept) == 1
        await after(world, PAUSES[0])
        assert await shown(world, "b2") == ("unknown", "unknown", None)
        await after(world, PAUSES[3])
        assert await shown(world, "b2") == ("failed", "not_sent", None)


async def test_of_two_lost_to_one_number_the_one_that_is_found_may_be_either(databases: Databases) -> None:
    async with a_world_of(databases, "twilio", Cut(answer=0), Cut(request=10)) as (world, fake, _):
        for borrower in ("b1", "b2"):
            await ask(world, borrower)
            await world.service.pump()
        assert len(fake.kept) == 1
        await after(world, PAUSES[0])
        assert [await shown(world, borrower) for borrower in ("b1", "b2")] == [("unknown", "unknown", None)] * 2


async def test_an_answer_that_said_no_more_than_a_server_error_is_asked_about_too(databases: Databases) -> None:
    async with a_world_of(databases, "twilio") as (world, fake, _):
        await ask(world, "b1", magic(Meaning.UNKNOWN))
        await world.service.pump()
        assert await shown(world) == ("unknown", "unknown", None)
        await after(world, PAUSES[0])
        assert await shown(world) == ("sent", "accepted", "accepted")
        assert len(fake.kept) == 1


@pytest.mark.parametrize(("mail", "ends"), [("a@example.com", "delivered"), ("refuse@example.com", "failed")])
async def test_one_that_was_never_taken_on_a_channel_it_has_left_does_not_hold_the_delivery_up(
    databases: Databases, mail: str, ends: str
) -> None:
    async with a_world_of(databases, "twilio", Cut(request=10)) as (world, _, _):
        await world.profile("b1", addresses={"sms": REAL, "email": mail}, jurisdictions=("TT",))
        await world.fact("b1", jurisdictions=("TT",))
        await world.request("b1", channels=("sms", "email"), jurisdictions=("TT",), on_unknown="next_channel")
        await world.service.pump()
        await after(world, PAUSES[3])
        one = await world.delivery("b1")
        assert one["state"] == ends
        assert {a["channel"]: a["result"] for a in one["attempts"]}["sms"] == "not_sent"


async def test_nobody_is_asked_about_somebody_who_is_erased(databases: Databases) -> None:
    async with a_world_of(databases, "twilio", Cut(answer=0)) as (world, _, _):
        await ask(world, "b1")
        await world.service.pump()
        await world.erase("b1")
        await after(world, PAUSES[0])
        assert await world.scalar("select result from notifier.attempts") == "unknown"
