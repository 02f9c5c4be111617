"""An SMSC asked about accepted messages without a report, by exactly the id it gave: a few times, if its account enables that."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from services.notifier.domain.asking import UNREPORTED
from tests.integration.notifier.test_providers import a_wired_world, ask, put, route
from tests.integration.notifier.test_smsc_receipts import PARTS, send, smsc, state
from tests.integration.notifier.test_templates import published
from tests.integration.notifier.world import MORNING, World
from tests.integration.providers.queries import Queries, queried
from tests.integration.providers.smsc import a_centre
from tests.support.postgres import Databases

DELIVERED, UNDELIVERABLE = 2, 5


@asynccontextmanager
async def a_queried_world(databases: Databases, *, short: bool = True, **settings: str) -> AsyncIterator[tuple[World, Queries]]:
    async with a_centre() as centre, queried(centre) as queries, a_wired_world(databases) as (world, _):
        await put(world, "smsc", smsc(centre, port=str(queries.port), **settings))
        await route(world, {"channel": "sms", "provider": "smsc"})
        if short:
            await published(world)
        yield world, queries


async def later(world: World, pause: timedelta) -> str:
    await world.pass_to(MORNING + pause + timedelta(seconds=1))
    return await state(world)


@pytest.mark.parametrize(("told", "ends"), [((DELIVERED, 0), "delivered"), ((UNDELIVERABLE, 12), "failed")])
async def test_what_was_not_reported_is_asked_for_by_the_id_that_was_given(databases: Databases, told: tuple[int, int], ends: str) -> None:
    async with a_queried_world(databases, query_sm="true") as (world, queries):
        await send(world)
        assert queries.asked == []
        assert await later(world, UNREPORTED[0]) == "sent"
        queries.states["00A00000"] = told
        assert await later(world, UNREPORTED[1]) == ends
        assert queries.asked == [("00A00000", "Lender")] * 2
        assert world.outcomes("b1") == ["sent", ends]
        await later(world, UNREPORTED[2])
        assert len(queries.asked) == 2
        said = (await world.call("GET", "/metrics")).text
        assert 'provider_searches_total{answer="found",provider="smsc"} 1.0' in said
        assert await world.scalar("select count(*) from notifier.unreported") == 0


async def test_a_message_in_parts_has_arrived_when_that_is_said_of_each(databases: Databases) -> None:
    async with a_queried_world(databases, short=False, query_sm="true", resp_ids="hex", receipt_ids="decimal") as (world, queries):
        await send(world)
        assert len(queries.centre.ids) == PARTS
        await queries.centre.report(str(int(queries.centre.ids[1], 16)), "DELIVRD")
        queries.states[queries.centre.ids[0]] = (DELIVERED, 0)
        assert await later(world, UNREPORTED[0]) == "delivered"
        assert [name for name, _ in queries.asked] == [queries.centre.ids[0]]


async def test_one_that_never_answers_is_asked_four_times_and_the_message_stays_sent(databases: Databases) -> None:
    async with a_queried_world(databases, query_sm="true") as (world, queries):
        await send(world)
        for number, pause in enumerate(UNREPORTED, 1):
            assert await later(world, pause) == "sent"
            assert len(queries.asked) == number
        await later(world, timedelta(days=2))
        assert len(queries.asked) == len(UNREPORTED)
        assert await world.scalar("select count(*) from notifier.unreported") == 0


async def test_an_account_that_does_not_say_so_is_never_asked(databases: Databases) -> None:
    async with a_queried_world(databases) as (world, queries):
        await ask(world, "b1")
        await world.service.pump()
        assert await world.scalar("select count(*) from notifier.unreported") == 0
        await later(world, UNREPORTED[0])
        assert queries.asked == []
