"""A number shared by several borrowers: what counts for it, and who may go when a place in its cap is freed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from libs.compliance import Packs
from libs.compliance.packs import parse_pack
from services.notifier.domain.receipts import Standing
from services.notifier.domain.results import Accepted, Refused
from services.notifier.service import Options
from tests.integration.notifier.test_faulty_providers import Faulty
from tests.integration.notifier.test_lawful_afterwards import PACKS, SHARED
from tests.integration.notifier.test_unknown import receive
from tests.integration.notifier.world import World, a_world
from tests.support.postgres import Databases

PHONE = "+8613800000001"


def packs_of(**changes: str) -> Packs:
    """The country with these terms in its cap over numbers."""
    written = SHARED
    for name, value in changes.items():
        written = re.sub(f"{name}: [a-z0-9]+,", f"{name}: {value},", written)
    return Packs({**PACKS.by_id, "TT": parse_pack(written, "TT.yaml")})


@pytest.fixture
async def world(databases: Databases) -> AsyncIterator[World]:
    """`b1` and `b2` with one number, for which the country allows one contact a day."""
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


OTHER = {"sms": PHONE, "call": "+8613800000009"}


@pytest.mark.parametrize("addresses", [{"sms": PHONE}, OTHER])
@pytest.mark.parametrize("made", ["recorded", "reserved", "recorded and erased"])
async def test_a_call_counts_for_every_number_that_it_may_have_gone_to(world: World, addresses: dict[str, str], made: str) -> None:
    world.clock.advance(timedelta(seconds=1))
    await world.profile("b1", addresses=addresses, jurisdictions=("TT",))
    if made == "reserved":
        asked = {"borrower_id": "b1", "debt": "loan-b1", "channel": "call", "by": "wu"}
        assert (await world.call("POST", "/v1/contacts:authorize", json=asked)).json()["decision"] == "allow"
    else:
        await world.recorded("b1", "call-1", by_wallet="erased" in made)
    if made == "recorded and erased":
        await world.erase("b1")
    await world.request("b2")
    await world.service.pump()
    assert (await world.delivery("b2"))["reason"] == "tt-number"
    assert await world.scalar("select count(*) from notifier.contact_numbers") == (2 if addresses == OTHER and "erased" not in made else 0)


@pytest.mark.parametrize("again", [False, True])
async def test_a_call_that_was_recorded_before_its_borrower_was_known_counts_all_the_same(world: World, again: bool) -> None:
    await world.recorded("b3", "call-1")
    await world.profile("b3", addresses=OTHER, jurisdictions=("TT",))
    if again:
        await world.erase("b3")
        world.clock.advance(timedelta(seconds=1))
        await world.profile("b3", addresses=OTHER, jurisdictions=("TT",))
    await world.request("b2")
    await world.service.pump()
    assert (await world.delivery("b2"))["reason"] == "tt-number"
    assert await world.scalar("select count(*) from notifier.contact_numbers") == (0 if again else len(OTHER))


async def test_a_call_to_a_number_that_is_named_counts_for_that_one_alone(world: World) -> None:
    world.clock.advance(timedelta(seconds=1))
    await world.profile("b1", addresses=OTHER, jurisdictions=("TT",))
    asked = {"borrower_id": "b1", "debt": "loan-b1", "channel": "call", "by": "wu", "to": OTHER["call"]}
    held = (await world.call("POST", "/v1/contacts:authorize", json=asked)).json()["reservation"]["id"]
    await world.recorded("b1", held)
    await world.recorded("b1", held)
    await world.request("b2")
    await world.service.pump()
    assert (await world.delivery("b2"))["state"] == "delivered"


async def test_who_was_erased_and_comes_back_is_counted_once(databases: Databases) -> None:
    tasks = ("t-1", "t-2", "t-3")
    async with a_world(databases, options=Options(packs=packs_of(limit="2"))) as world:
        await world.lift_the_days_limit()
        for task in tasks:
            await world.erase("b1")
            world.clock.advance(timedelta(seconds=1))
            await world.late_borrower("b1", addresses={"sms": PHONE}, jurisdictions=("TT",))
            await world.request("b1", task)
            await world.service.pump()
        assert [(await world.delivery("b1", task))["reason"] for task in tasks] == [None, None, "tt-number"]


@pytest.mark.parametrize("told", ["an answer", "a receipt"])
async def test_a_place_that_is_given_back_is_taken_at_once_by_who_waited_for_it(databases: Databases, told: str) -> None:
    provider = Faulty(
        lambda batch: [Refused("gone", "content") if told == "an answer" and m.borrower_id == "b1" else Accepted(m.id) for m in batch]
    )
    async with a_world(databases, options=Options(packs=packs_of(unit="attempt"), providers=[provider])) as world:
        for borrower in ("b1", "b2"):
            await world.late_borrower(borrower, addresses={"sms": PHONE}, jurisdictions=("TT",))
            await world.request(borrower, channels=("sms",))
        await world.service.pump()
        if told == "a receipt":
            assert (await world.delivery("b2"))["reason"] == "tt-number"
            await receive(world, "sms", standing=Standing.FAILED)
        assert [(await world.delivery(borrower))["state"] for borrower in ("b1", "b2")] == ["failed", "sent"]
        assert provider.given == ["b1", "b2"]
