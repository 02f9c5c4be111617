"""Provider control: rates across all replicas, breakers that they share, and whose fault stops whom."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import DrivenClock, stopwatch
from libs.common.lifecycle import Ending, working
from libs.common.ports import Ports
from services.notifier.domain.breaker import LEAST_FAULTS, OPEN_FOR
from services.notifier.providers.codes import Meaning
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.fake.speaker import magic
from services.notifier.service import build
from services.notifier.settings import Settings
from services.notifier.store.queue import Key
from tests.integration.notifier.test_providers import CREDENTIALS, FAKES, REAL, a_wired_world, ask, open_packs, put, route, twilio
from tests.integration.notifier.test_workers import shows
from tests.integration.notifier.world import DIGEST_KEY, MORNING, PATIENCE_S, PRIVATE, TENANT, World, a_keyed_database
from tests.integration.providers.cutting import closed_port
from tests.support.leasing import lease_and_start, most_in_a_second
from tests.support.postgres import Databases
from tests.support.running import until

BOTH: list[dict[str, Any]] = [{"channel": "sms", "provider": name} for name in FAKES]
MOSTLY_MAIN: list[dict[str, Any]] = [{"channel": "sms", "provider": "main", "weight": 1000}, {"channel": "sms", "provider": "second"}]
SECOND = timedelta(seconds=1)


def out_of_order(fake: FakeProviders) -> dict[str, Any]:
    """An account whose provider cannot be reached."""
    return twilio(fake, base_url=f"http://127.0.0.1:{closed_port()}")


async def shown(world: World, name: str = "main") -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in (await world.get("/v1/providers"))["items"] if one["name"] == name)
    return found


async def kinds(world: World, name: str = "main") -> list[str]:
    """Return the kinds of events in its history, newest first, except weights."""
    return [one["kind"] for one in (await world.get(f"/v1/providers/{name}/history"))["items"] if one["kind"] != "weights"]


async def attempts(world: World, name: str = "main") -> int:
    found: int = await world.scalar("select count(*) from notifier.attempts where provider = :name", name=name)
    return found


async def pass_seconds(world: World, *, until_kept: int, fake: FakeProviders) -> None:
    """Let seconds pass until this many were taken, and no more: permits may be lost if this machine is slow."""
    for number in range(1, 40):
        await world.pass_to(MORNING + number * SECOND)
        if len(fake.kept) >= until_kept:
            break
    assert len(fake.kept) == until_kept


@pytest.mark.parametrize("limit", [5, 100])
async def test_three_replicas_that_lease_at_once_keep_the_limit_in_every_sliding_second(databases: Databases, limit: int) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake, per_second=limit))
        keys = [Key(MORNING, TENANT, "b", str(number)) for number in range(150)]
        starts: list[float] = []
        wanted, ends = 3 * limit, stopwatch() + PATIENCE_S

        def goes_on() -> bool:
            return len(starts) < wanted and stopwatch() < ends

        await asyncio.gather(*(lease_and_start(world.engine, (TENANT, "main"), keys, starts, goes_on) for _ in range(3)))
    assert most_in_a_second(starts) <= limit
    assert len(starts) >= wanted


async def test_nothing_is_marked_that_would_have_to_wait_for_the_limiter(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake, per_second=1))
        await route(world, {"channel": "sms", "provider": "main"})
        for number in range(5):
            await ask(world, f"b{number}")
        await world.service.pump()
        found = [await world.delivery(f"b{number}") for number in range(5)]
        waiting = [one["reason"] for one in found if not one["attempts"]]
        assert waiting == ["no_permit"] * 4
        assert {name for number in range(5) for name in world.outcomes(f"b{number}")} <= {"sent"}
        assert (await shown(world))["rate"]["permits_in_use"] > 0
        assert 'dunwell_provider_permits_waiting{provider="main"}' in (await world.call("GET", "/metrics")).text
        await pass_seconds(world, until_kept=5, fake=fake)


async def test_a_message_whose_moment_passed_before_it_could_start_is_not_sent_and_goes_with_the_next_permit(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        fake.delay_s = 0.4
        await put(world, "main", twilio(fake, per_second=20, at_once=1))
        await route(world, {"channel": "sms", "provider": "main"})
        for number in range(3):
            await ask(world, f"b{number}")
        await pass_seconds(world, until_kept=3, fake=fake)
        assert {(await world.delivery(f"b{number}"))["state"] for number in range(3)} == {"sent"}


async def test_an_open_breaker_stops_every_replica_and_one_message_tries_the_provider_again(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", out_of_order(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        for number in range(LEAST_FAULTS):
            await ask(world, f"b{number}")
        await world.service.pump()
        assert (await shown(world))["breaker"]["state"] == "open"
        tried = await attempts(world)
        other = world.another(open_packs(), fakes=True)
        await ask(world, "late")
        world.clock.advance(timedelta(seconds=10))
        await world.fresh_watermarks()
        await other.pump()
        assert await attempts(world) == tried
        late = await world.delivery("late")
        assert (late["state"], late["reason"], late["attempts"]) == ("pending", "provider_down", [])
        await put(world, "main", twilio(fake), 200)
        world.clock.advance(OPEN_FOR)
        await world.fresh_watermarks()
        await other.pump()
        assert len(fake.kept) == 1
        await world.pass_to(MORNING + timedelta(minutes=5))
        assert len(fake.kept) == LEAST_FAULTS + 1
        assert (await shown(world))["breaker"]["state"] == "closed"
        assert await kinds(world) == ["breaker_closed", "set", "breaker_opened", "set"]


async def test_a_probe_that_fails_opens_it_for_longer_and_no_second_message_is_tried(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", out_of_order(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        for number in range(2 * LEAST_FAULTS):
            await ask(world, f"b{number}")
        await world.service.pump()
        turns = await world.scalar("select sum(turn) from notifier.deliveries")
        await world.pass_to(MORNING + OPEN_FOR + SECOND)
        assert await world.scalar("select sum(turn) from notifier.deliveries") == turns + 1
        await world.pass_to(MORNING + OPEN_FOR * 2)
        assert await world.scalar("select sum(turn) from notifier.deliveries") == turns + 1
        assert (await shown(world))["breaker"]["opened"] == 2


async def test_bad_addresses_open_nothing(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        for number in range(3 * LEAST_FAULTS):
            await ask(world, f"b{number}", magic(Meaning.INVALID_ADDRESS))
        await world.service.pump()
        assert (await shown(world))["breaker"] == {
            "state": "closed", "since": None, "until": None, "calls": 0, "faults": 0, "opened": 0,
        }  # fmt: skip


async def test_what_is_open_leaves_its_share_to_the_others(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", out_of_order(fake))
        await put(world, "second", twilio(fake, "second"))
        await route(world, *MOSTLY_MAIN)
        for number in range(LEAST_FAULTS):
            await ask(world, f"b{number}")
        await world.service.pump()
        assert (await shown(world))["breaker"]["state"] == "open"
        for number in range(10):
            await ask(world, f"c{number}")
        await world.service.pump()
        assert {(await world.delivery(f"c{number}"))["state"] for number in range(10)} == {"sent"}
        assert {name for name, _ in fake.kept} == {"second"}


async def test_what_was_not_sent_is_not_given_to_the_same_provider_again_while_there_is_another(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", out_of_order(fake))
        await put(world, "second", twilio(fake, "second"))
        await route(world, *MOSTLY_MAIN)
        await ask(world, "b1")
        await world.service.pump()
        assert (await world.delivery("b1"))["attempts"][0]["provider"] == "main"
        await world.pass_to(MORNING + 10 * SECOND)
        (attempt,) = (await world.delivery("b1"))["attempts"]
        assert (attempt["provider"], attempt["result"], len(fake.kept)) == ("second", "accepted", 1)


async def test_what_may_have_gone_out_is_given_to_nobody_else(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        for name in FAKES:
            await put(world, name, twilio(fake, name))
        await route(world, *MOSTLY_MAIN)
        await ask(world, "b1", magic(Meaning.UNKNOWN))
        await world.service.pump()
        await world.pass_to(MORNING + timedelta(hours=1))
        assert (await world.delivery("b1"))["state"] == "unknown"
        assert len(fake.kept) == 1


async def test_a_429_is_no_failure_and_rests_the_whole_provider(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", magic(Meaning.THROTTLED_ACCOUNT))
        await world.service.pump()
        assert (await shown(world))["slowed_until"] is not None
        assert (await shown(world))["breaker"]["faults"] == 0
        await ask(world, "b2")
        await world.service.pump()
        assert fake.kept == []
        assert [(await world.delivery(b))["state"] for b in ("b1", "b2")] == ["pending", "pending"]
        assert await kinds(world) == ["slowed", "set"]
        await world.pass_to(MORNING + timedelta(minutes=1))
        assert (await world.delivery("b2"))["state"] == "sent"


async def test_who_rests_leaves_its_share_to_the_others(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        for name in FAKES:
            await put(world, name, twilio(fake, name))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", magic(Meaning.THROTTLED_ACCOUNT))
        await world.service.pump()
        await route(world, *MOSTLY_MAIN)
        for number in range(8):
            await ask(world, f"c{number}")
        await world.service.pump()
        assert Counter(name for name, _ in fake.kept) == {"second": 8}


async def test_a_wrong_account_is_paused_with_its_reason_and_its_messages_go_by_another(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake, credentials={**CREDENTIALS, "auth_token": "wrong"}))
        await put(world, "second", twilio(fake, "second"))
        await route(world, {"channel": "sms", "provider": "main"})
        for number in range(5):
            await ask(world, f"b{number}")
        await world.service.pump()
        paused = await shown(world)
        assert (paused["paused"], paused["paused_reason"], paused["paused_by"]) == (True, "config: 20003", "dunwell")
        assert paused["last_faults"][0]["code"] == "20003"
        assert await kinds(world) == ["paused", "set"]
        await route(world, *BOTH)
        await world.pass_to(MORNING + timedelta(minutes=1))
        assert {(await world.delivery(f"b{number}"))["state"] for number in range(5)} == {"sent"}
        assert Counter(name for name, _ in fake.kept) == {"second": 5}
        await put(world, "main", twilio(fake), 200)
        assert (await shown(world))["paused"] is False


async def test_a_new_version_resumes_what_paused_itself_and_not_what_a_person_has_paused(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await world.call("POST", "/v1/providers/main:pause", json={"reason": "arrears"})
        assert (await put(world, "main", twilio(fake), 200))["paused_by"] == "anna"
        await world.call("POST", "/v1/providers/main:resume")
        assert await kinds(world) == ["resumed", "set", "paused", "set"]
        assert (await shown(world))["paused"] is False


async def test_one_code_among_messages_that_are_taken_pauses_nothing(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", twilio(fake))
        await route(world, {"channel": "sms", "provider": "main"})
        await ask(world, "b1", magic(Meaning.CONFIG))
        await ask(world, "b2", REAL)
        await world.service.pump()
        assert (await shown(world))["paused"] is False
        assert (await world.delivery("b1"))["state"] == "pending"


async def test_weights_have_a_history_and_strangers_none(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        for name in FAKES:
            await put(world, name, twilio(fake, name, per_second=7))
        world.clock.advance(SECOND)
        await route(world, *BOTH)
        world.clock.advance(SECOND)
        await route(world, *MOSTLY_MAIN)
        items = (await world.get("/v1/providers/main/history"))["items"]
        assert [one.get("weights", [{}])[0].get("weight") for one in items] == [1000, 1, None]
        assert (items[-1]["kind"], items[-1]["by"], items[-1]["per_second"]) == ("set", "anna", 7)
        assert [one["kind"] for one in (await world.get("/v1/providers/second/history"))["items"]] == ["weights", "set"]
        assert (await world.call("GET", "/v1/providers/nobody/history")).status_code == 404


async def test_the_watcher_counts_what_is_paused_and_what_is_open(databases: Databases) -> None:
    async with a_wired_world(databases) as (world, fake):
        await put(world, "main", out_of_order(fake))
        await put(world, "second", twilio(fake, "second"))
        await route(world, {"channel": "sms", "provider": "main"})
        for number in range(LEAST_FAULTS):
            await ask(world, f"b{number}")
        await world.service.pump()
        await world.call("POST", "/v1/providers/second:pause", json={"reason": "slow"})
        stop = asyncio.Event()
        looking = asyncio.ensure_future(next(worker for worker in world.service.workers if worker.name == "watcher").run(stop))
        await until(partial(shows, world, 'dunwell_provider_breaker_open{provider="main"} 1.0'), "the open breaker")
        assert await shows(world, 'dunwell_provider_paused{provider="second"} 1.0')
        assert await shows(world, 'dunwell_provider_paused{provider="main"} 0.0')
        stop.set()
        await looking


class RunningClock(DrivenClock):
    """A clock that runs on from the time it was set to."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._began = stopwatch()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=stopwatch() - self._began)

    async def at(self, conn: AsyncConnection) -> datetime:  # noqa: ARG002  # the port's shape
        return self.now()


async def test_two_replicas_at_work_send_everything_once_at_the_rate_of_one_provider(databases: Databases) -> None:
    limit, number = 30, 90
    async with a_keyed_database(databases) as engine, FakeProviders(FAKES).served() as fake:
        clock = RunningClock(MORNING)
        bus = InProcessBus(clock=clock)
        settings = Settings(sealing_private=PRIVATE, digest_key=DIGEST_KEY, fakes=True)
        world = World(engine, bus, clock, build(Ports(engine, bus, clock, "test"), settings, open_packs()), settings)
        async with working([world.service], Ending()):
            await world.fresh_watermarks()
            await put(world, "main", twilio(fake, per_second=limit))
            await route(world, {"channel": "sms", "provider": "main"})
            for n in range(number):
                await ask(world, f"b{n:03d}", not_before=MORNING + timedelta(hours=1))
            other = world.another(open_packs(), fakes=True)
            stop = asyncio.Event()
            beside = asyncio.ensure_future(next(one for one in other.workers if one.name == "sender").run(stop))
            await world.fresh_watermarks()
            began = stopwatch()
            async with world.engine.begin() as conn:
                await conn.execute(
                    text("with due as (update notifier.queue set next_at = :now) update notifier.deliveries set next_at = :now"),
                    {"now": clock.now()},
                )
            await until(lambda: len(fake.kept) >= number, "every message", within_s=60)
            took = stopwatch() - began
            stop.set()
            await beside
            await other.close()
        assert len(fake.kept) == number
        assert took >= 0.9 * number / limit
