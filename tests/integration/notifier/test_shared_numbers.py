"""A number that several borrowers share: what is counted over it, and who may go when a place in that is given back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.compliance import Packs
from libs.compliance.packs import parse_pack
from services.notifier.service import Options
from tests.integration.notifier.test_lawful_afterwards import PACKS, SHARED
from tests.integration.notifier.world import World, a_world
from tests.support.postgres import Databases

PHONE = "+8613800000001"


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    """`b1` and `b2` with one number, to which the country lets one contact a day."""
    async with a_world(databases, options=Options(packs=PACKS)) as world:
        for borrower in ("b1", "b2"):
            await world.late_borrower(borrower, addresses={"sms": PHONE}, jurisdictions=("TT",))
        yield world


async def test_a_number_remembers_the_contacts_of_an_owner_who_was_erased(world: World) -> None:
    await world.request("b1")
    await world.service.pump()
    await world.erase("b1")
    await world.request("b2")
    await world.service.pump()
    assert (await world.delivery("b2"))["reason"] == "tt-number"


async def test_who_was_erased_and_comes_back_is_counted_once(databases: Databases) -> None:
    packs = Packs({**PACKS.by_id, "TT": parse_pack(SHARED.replace("limit: 1", "limit: 2"), "TT.yaml")})
    tasks = ("t-1", "t-2", "t-3")
    async with a_world(databases, options=Options(packs=packs)) as world:
        await world.lift_the_days_limit()
        for task in tasks:
            await world.erase("b1")
            world.clock.advance(timedelta(seconds=1))
            await world.late_borrower("b1", addresses={"sms": PHONE}, jurisdictions=("TT",))
            await world.request("b1", task)
            await world.service.pump()
        assert [(await world.delivery("b1", task))["reason"] for task in tasks] == [None, None, "tt-number"]
