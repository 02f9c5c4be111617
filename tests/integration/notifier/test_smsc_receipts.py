"""Delivery receipts of an SMSC, which name a message only by the SMSC's id: early, in parts, on another connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import text

from libs.common import sealing
from libs.common.lifecycle import Service
from services.notifier.connections import Connector
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.providers.links import Written
from services.notifier.store import parts, receipts
from services.notifier.store.receipts import Word
from tests.integration.notifier.test_providers import a_wired_world, ask, put, route
from tests.integration.notifier.test_templates import published
from tests.integration.notifier.world import MORNING, TENANT, World
from tests.integration.providers.cutting import closed_port
from tests.integration.providers.smsc import Centre, a_centre
from tests.support.postgres import Databases
from tests.support.running import until

PATIENCE_S = 10.0
PARTS = 2
"""Number of parts of the shipped text, as rendered here."""


def smsc(centre: Centre, **settings: str) -> dict[str, Any]:
    given = {"host": "127.0.0.1", "port": str(centre.port), "tls": "none", "from": "Lender", **settings}
    return {"kind": "smpp", "credentials": {"system_id": "lender", "password": "secret"}, "settings": given}


@asynccontextmanager
async def a_linked_world(databases: Databases, *, short: bool = True, **settings: str) -> AsyncIterator[tuple[World, Centre]]:
    """A world whose SMS go to an SMSC, in one part or in several."""
    async with a_centre() as centre, a_wired_world(databases) as (world, _):
        await put(world, "smsc", smsc(centre, **settings))
        await route(world, {"channel": "sms", "provider": "smsc"})
        if short:
            await published(world)
        yield world, centre


async def state(world: World, borrower: str = "b1") -> str:
    await world.service.pump()
    found: str = (await world.delivery(borrower))["state"]
    return found


async def send(world: World, borrower: str = "b1") -> None:
    await ask(world, borrower)
    assert await state(world, borrower) == "sent"


def listener_of(service: Service) -> Connector:
    """Return the listener from a service's workers."""
    found = next(worker.run.__self__ for worker in service.workers if worker.name == "listener")  # type: ignore[attr-defined]  # bound
    assert isinstance(found, Connector)
    return found


async def test_a_receipt_makes_a_message_delivered_once_however_often_it_comes(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, centre):
        await send(world)
        for _ in range(3):
            assert await centre.report("a00000", "DELIVRD") == 0
        assert await state(world) == "delivered"
        assert world.outcomes("b1") == ["sent", "delivered"]
        assert await world.scalar("select count(*) from notifier.receipts") == 1


async def test_a_receipt_of_a_failure_says_why(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, centre):
        await send(world)
        await centre.report("00A00000", "UNDELIV", "012")
        assert await state(world) == "failed"
        assert world.outcomes("b1") == ["sent", "failed"]


async def test_an_id_that_comes_back_in_another_base_is_known_where_the_account_says_so(databases: Databases) -> None:
    async with a_linked_world(databases, resp_ids="hex", receipt_ids="decimal") as (world, centre):
        await send(world)
        await centre.report(str(int(centre.ids[0], 16)), "DELIVRD")
        assert await state(world) == "delivered"


@pytest.mark.parametrize(("short", "count"), [(True, 1), (True, 20), (False, 1), (False, 20)])
async def test_receipts_that_come_before_the_response_and_our_own_record_are_not_lost(
    databases: Databases, short: bool, count: int
) -> None:
    async with a_linked_world(databases, short=short) as (world, centre):
        centre.before_response = "DELIVRD"
        for place in range(count):
            await ask(world, f"b{place}")
        await world.service.pump()
        assert len(centre.ids) == count * (1 if short else PARTS)
        assert {await state(world, f"b{place}") for place in range(count)} == {"delivered"}
        assert world.outcomes("b0") == ["sent", "delivered"]


@pytest.mark.parametrize("first", range(PARTS))
async def test_a_message_in_parts_is_delivered_when_all_of_them_are(databases: Databases, first: int) -> None:
    async with a_linked_world(databases, short=False) as (world, centre):
        await send(world)
        assert len(centre.ids) == PARTS
        await centre.report(centre.ids[first], "DELIVRD")
        assert await state(world) == "sent"
        await centre.report(centre.ids[1 - first], "DELIVRD")
        assert await state(world) == "delivered"
        assert world.outcomes("b1") == ["sent", "delivered"]


async def test_a_message_in_parts_has_failed_when_one_has_and_arrived_when_that_one_comes_after_all(databases: Databases) -> None:
    async with a_linked_world(databases, short=False) as (world, centre):
        await send(world)
        await centre.report(centre.ids[0], "DELIVRD")
        await centre.report(centre.ids[1], "EXPIRED")
        assert await state(world) == "failed"
        await centre.report(centre.ids[1], "DELIVRD")
        assert await state(world) == "delivered"


async def test_a_receipt_may_come_on_another_connection_than_its_message_and_while_nothing_is_sent(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, centre):
        await send(world)
        second = world.another(fakes=True)
        await listener_of(second).look()
        await centre.has_bound(2)
        assert await centre.report("a00000", "DELIVRD") == 0
        await second.close()
        assert await state(world) == "delivered"


async def test_the_listener_goes_on_when_an_account_cannot_be_reached(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, centre):
        await put(world, "away", smsc(centre, port=str(closed_port())))
        await listener_of(world.service).look()
        await centre.has_bound(1)


async def test_what_a_person_writes_is_kept_sealed_as_it_came(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, centre):
        await send(world)
        assert await centre.write("please stop") == 0
        assert await world.scalar("select count(*) from notifier.callbacks") == 1
        stored = await world.scalar("select sealed from notifier.callbacks")
        assert b"please stop" not in stored
        plain = sealing.unseal(stored, world.settings.sealing_private, f"callback/{TENANT}/smsc")
        assert b"please stop" in plain
        assert await state(world) == "sent"


async def test_replies_that_an_smsc_says_together_are_each_heard_and_one_that_it_repeats_once(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, _):
        hears = listener_of(world.service).directory.hears
        assert hears is not None
        for _ in range(2):
            await hears(TENANT, "smsc")([Written(f"1202555012{n}", "Lender", "STOP", f"session/{n}") for n in (3, 4)], b"both")
        assert await world.scalar("select count(*) from notifier.suppressions where ground = 'opt_out'") == 2
        assert await world.scalar("select count(*) from notifier.replies") == 2


@pytest.mark.parametrize("changes", [{"resp_ids": "octal"}, {"window": "0"}, {"from": "a name that is too long for it"}, {"password": "x"}])
async def test_an_account_with_which_nothing_could_be_sent_is_refused(databases: Databases, changes: dict[str, str]) -> None:
    async with a_linked_world(databases) as (world, centre):
        await put(world, "other", smsc(centre, **changes), 422)


async def one_waits(world: World) -> None:
    """Wait until a transaction is waiting for a name locked by another."""
    waiting = (
        "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        " and database = (select oid from pg_database where datname = current_database())"
    )
    await until(lambda: world.scalar(waiting), "one who waits", within_s=PATIENCE_S)


async def test_a_receipt_waits_for_the_record_of_its_message_and_then_sees_it(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, centre):
        await send(world)
        async with world.engine.begin() as conn:
            await parts.lock(conn, TENANT, "smsc", ["77"])
            await conn.execute(text("update notifier.attempts set provider_ref = '77'"))
            reporting = asyncio.create_task(centre.report("77", "DELIVRD"))
            await one_waits(world)
        assert await reporting == 0
        assert await state(world) == "delivered"


async def test_the_record_of_a_message_waits_for_its_receipt_and_then_sees_it(databases: Databases) -> None:
    async with a_linked_world(databases) as (world, centre):
        await ask(world, "b1")
        async with world.engine.begin() as conn:
            await parts.lock(conn, TENANT, "smsc", ["a00000"])
            pumping = asyncio.ensure_future(world.service.pump())
            await one_waits(world)
            word = Word(b"w", Receipt(Standing.DELIVERED, provider_ref="a00000"))
            assert await receipts.keep(conn, TENANT, "smsc", [word], sealed=None, now=MORNING) == [word]
        await pumping
        assert len(centre.ids) == 1
        assert await state(world) == "delivered"
