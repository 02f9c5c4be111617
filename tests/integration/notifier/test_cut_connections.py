"""A provider behind a network that cuts, resets, holds and delays: it takes nothing twice, and every delivery says what is known."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import uvloop
from sqlalchemy import Row, text

from libs.common.clock import DrivenClock
from services.notifier.domain.asking import PAUSES
from services.notifier.domain.results import Accepted, Result, Unknown
from services.notifier.providers import messagebird
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.http import HttpProvider
from services.notifier.providers.wire import Account
from tests.integration.notifier.test_providers import ask, open_packs, put, route
from tests.integration.notifier.world import MORNING, World, a_world
from tests.integration.providers.cutting import closed_port
from tests.integration.providers.proxy import WHOLE, Cut, Proxy, proxied
from tests.support.postgres import Databases
from tests.support.running import until
from tests.unit.providers.values import NOW, a_message

CREDENTIALS = {"access_key": "live_1"}
FAKES = {"main": Account("main", "messagebird", CREDENTIALS, {"from": "Lender"})}
NO_TLS = ssl.create_default_context()
"""Unused, and expensive to create for each of a thousand connections."""
CONTACTS = 240
BATCH = 40
ASKED = 60
SEED = 20261124
LONGEST = 3_000
"""Most bytes in one direction before a connection is cut: several messages of a persistent one."""
PASSES = 60
RESOLVE_WITHIN = timedelta(hours=1)
_STANDS = text(
    "select d.state, a.result, a.message_id, a.provider_ref, d.task_id from notifier.deliveries d"
    " left join notifier.attempts a using (tenant, borrower_id, task_id)"
)


@asynccontextmanager
async def a_world_behind(
    databases: Databases, proxy: Proxy, *, searchable: bool = False, **changes: Any
) -> AsyncIterator[tuple[World, FakeProviders]]:  # fmt: skip
    """A notifier whose only provider is reached through a proxy."""
    changes = {"resolve_within_s": RESOLVE_WITHIN.total_seconds(), **changes}
    async with (
        FakeProviders(FAKES, searchable=searchable).served() as fake,
        proxied(proxy),
        a_world(databases, options=open_packs(), fakes=True, **changes) as world,
    ):
        proxy.server, fake.clock = port_of(fake), world.clock
        await put(world, "main", account(proxy.port))
        await route(world, {"channel": "sms", "provider": "main"})
        yield world, fake


def port_of(fake: FakeProviders) -> int:
    return int(fake.origin.rpartition(":")[2])


def account(port: int) -> dict[str, Any]:
    base = f"http://127.0.0.1:{port}/main"
    return {"kind": "messagebird", "credentials": CREDENTIALS, "settings": {"from": "Lender"}, "base_url": base, "at_once": BATCH}


def rough(number: int) -> Cut:
    """Return what happens to a connection on a bad day: one in four survives."""
    dice = random.Random(SEED + number)
    delay_s = dice.choice((0.0, 0.0, 0.02))
    direction = dice.choice(("request", "answer", "answer", None))
    if direction is None:
        return Cut(delay_s=delay_s)
    cut = cut_at(direction, dice.randint(0, LONGEST), dice.random() < 0.5)
    return replace(cut, delay_s=delay_s)


def number_of(borrower: int) -> str:
    return f"+1202555{borrower:04}"


async def let_pass(world: World, first: int, *, until_none_waits: bool) -> int:
    """Let pauses and breakers elapse, once or until no delivery is waiting for a retry; return the number of the next pass."""
    for number in range(first, first + PASSES):
        await world.pass_to(MORNING + number * timedelta(seconds=31))
        waiting = await world.scalar("select count(*) from notifier.deliveries where state = 'pending'")
        if not until_none_waits or not waiting:
            return number + 1
    raise AssertionError(f"{waiting} still wait")


async def agreed(world: World, fake: FakeProviders, proxy: Proxy) -> Counter[str]:
    """Compare the database with what the provider took, and return the deliveries by state."""
    await until(lambda: proxy.ending == 0, "the end of what the provider still does")
    taken = Counter(one.reference for _, one in fake.kept)
    assert [reference for reference, times in taken.items() if times > 1] == []
    assert max(Counter(one.to for _, one in fake.kept).values(), default=1) == 1
    refs = {one.reference: one.ref for _, one in fake.kept}
    async with world.engine.connect() as conn:
        rows = (await conn.execute(_STANDS)).all()
    for row in rows:
        said_of(row, refs)
    assert refs.keys() <= {row.message_id for row in rows}
    return Counter(row.state for row in rows)


def said_of(row: Row[Any], refs: dict[str | None, str]) -> None:
    """Check one delivery: if sent, it was taken with that id; if waiting, it was not taken; unknown allows either."""
    match row.state:
        case "sent":
            assert (row.result, refs.get(row.message_id)) == ("accepted", row.provider_ref)
        case "pending":
            assert row.result in {None, "not_sent"}
            assert row.message_id not in refs
        case "unknown" | "unresolved":
            assert row.result == "unknown"
        case _:
            raise AssertionError(f"{row.task_id} is {row.state}")


async def test_under_load_through_cuts_resets_and_delays_a_provider_takes_nothing_twice_and_every_delivery_says_so(
    databases: Databases,
) -> None:
    proxy = Proxy(0, plan=rough)
    async with a_world_behind(databases, proxy, batch=BATCH) as (world, fake):
        await asyncio.gather(*(ask(world, f"b{n}", number_of(n)) for n in range(CONTACTS)))
        await put(world, "main", account(closed_port()), 200)
        await world.service.pump()
        refused = await agreed(world, fake, proxy)
        assert (refused, fake.kept) == (Counter(pending=CONTACTS), [])
        await put(world, "main", account(proxy.port), 200)
        later = await let_pass(world, 1, until_none_waits=True)
        cut = await agreed(world, fake, proxy)
        assert cut["sent"] + cut["unknown"] == CONTACTS
        assert min(cut["sent"], cut["unknown"]) > CONTACTS / 10
        lost = len(fake.kept) - cut["sent"]
        assert 0 < lost < cut["unknown"]
        told = Counter(one.type.split(".")[1] for one in world.told)
        assert (told["sent"], told["unknown"]) == (cut["sent"], cut["unknown"])
        proxy.plan, took = (lambda _: WHOLE), len(fake.kept)
        await world.pass_to(MORNING + later * timedelta(seconds=31) + RESOLVE_WITHIN)
        assert await agreed(world, fake, proxy) == Counter(sent=cut["sent"], unresolved=cut["unknown"])
        assert len(fake.kept) == took


async def test_under_load_through_cuts_every_lost_answer_is_found_or_shown_never_taken_by_asking_and_nothing_is_taken_twice(
    databases: Databases,
) -> None:
    proxy = Proxy(0, plan=rough)
    async with a_world_behind(databases, proxy, searchable=True, batch=BATCH, resolve_within_s=86_400.0) as (world, fake):
        await asyncio.gather(*(ask(world, f"b{n}", number_of(n)) for n in range(ASKED)))
        later = await let_pass(world, 0, until_none_waits=True)
        for pause in PAUSES:
            await world.pass_to(MORNING + later * timedelta(seconds=31) + pause)
        await until(lambda: proxy.ending == 0, "the end of what the provider still does")
        taken = Counter(one.reference for _, one in fake.kept)
        assert set(taken.values()) == {1}
        async with world.engine.connect() as conn:
            rows = (await conn.execute(_STANDS)).all()
        assert {(row.state, row.result, row.message_id in taken) for row in rows} == {
            ("sent", "accepted", True), ("failed", "not_sent", False)
        }  # fmt: skip
        assert sum(told.type == "contact.unknown.v1" for told in world.told) > 0


async def test_a_batch_whose_answers_are_held_is_unknown_in_time_and_is_not_sent_again(databases: Databases) -> None:
    proxy = Proxy(0, plan=lambda _: Cut(answer=0, held=True))
    async with a_world_behind(databases, proxy, batch=BATCH, answer_within_s=1.0) as (world, fake):
        await asyncio.gather(*(ask(world, f"b{n}", number_of(n)) for n in range(BATCH)))
        await world.service.pump()
        assert await agreed(world, fake, proxy) == Counter(unknown=BATCH)
        assert len(fake.kept) == BATCH
        proxy.plan = lambda _: WHOLE
        await let_pass(world, 1, until_none_waits=False)
        assert await agreed(world, fake, proxy) == Counter(unknown=BATCH)
        assert len(fake.kept) == BATCH


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("direction", ["request", "answer"])
@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_exchange_that_is_cut_at_any_byte_is_accepted_or_unknown_and_taken_once_at_most(
    run: Callable[[Coroutine[Any, Any, None]], None], direction: str, reset: bool
) -> None:
    run(every_byte(direction, reset))


async def every_byte(direction: str, reset: bool) -> None:
    async with FakeProviders(FAKES).served() as fake:
        whole = Proxy(port_of(fake))
        assert isinstance(await sent_through(whole, "whole"), Accepted)
        length = whole.requested if direction == "request" else whole.answered
        for first in range(0, length + 1, BATCH):
            places = range(first, min(first + BATCH, length + 1))
            proxies = [Proxy(port_of(fake), plan=partial(cut_at, direction, at, reset)) for at in places]
            results = await asyncio.gather(*(sent_through(proxy, f"{at:05}") for at, proxy in zip(places, proxies, strict=True)))
            taken = Counter(one.reference for _, one in fake.kept)
            for at, result in zip(places, results, strict=True):
                assert taken[f"{at:05}"] == (direction == "answer" or at == length), at
                assert isinstance(result, Unknown) or (isinstance(result, Accepted) and direction == "answer" and at == length), at
    assert reset or direction == "request" or isinstance(results[-1], Accepted)


def cut_at(direction: str, at: int, reset: bool, _: int = 1) -> Cut:
    return Cut(request=at, reset=reset) if direction == "request" else Cut(answer=at, reset=reset)


async def sent_through(proxy: Proxy, message: str) -> Result:
    """Return the result of one message sent through a proxy of its own, after the provider has finished."""
    async with proxied(proxy):
        here = replace(FAKES["main"], base_url=f"http://127.0.0.1:{proxy.port}/main")
        provider = HttpProvider(here, messagebird.ADAPTER, Carrier(context=NO_TLS), DrivenClock(NOW))
        [result] = await provider.deliver([a_message(id=message)])
        await provider.close()
    return result
