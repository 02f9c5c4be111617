"""One dunning message a day to a borrower with several cases: deferred, not dropped, whoever sends at the same time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from libs.compliance.daily import ONCE_A_DAY
from tests.integration.notifier.world import MORNING, World, a_world
from tests.support.postgres import Databases

TOMORROW = MORNING + timedelta(days=1)


async def two_cases(world: World, **changes: Any) -> None:
    """Request a message for each of two cases, with one loan each, at the same time."""
    await world.late_borrower("b1")
    await world.fact("b1", "loan-2")
    for number in (1, 2):
        debts = world.a_request("b1").debts
        if number == 2:
            debts = (type(debts[0])(loan_id="loan-2", fact_epoch=1, fact_version=1),)
        await world.request("b1", f"t-{number}", case_id=f"c-{number}", debts=debts, channels=("sms",), **changes)


async def states(world: World) -> list[str]:
    return sorted([(await world.delivery("b1", f"t-{number}"))["state"] for number in (1, 2)])


async def test_the_message_of_a_second_case_goes_out_the_next_day_with_its_reason(databases: Databases) -> None:
    async with a_world(databases) as world:
        await two_cases(world)
        await world.service.pump()
        assert await states(world) == ["delivered", "pending"]
        waits = next(d for d in [await world.delivery("b1", f"t-{n}") for n in (1, 2)] if d["state"] == "pending")
        assert waits["reason"] == ONCE_A_DAY
        said = next(told.data for told in world.told if told.type == "contact.deferred.v1")
        assert (said.reason, [rule.cite.partition(":")[0] for rule in said.rules]) == (ONCE_A_DAY, ["product default"])
        await world.pass_to(MORNING + timedelta(hours=10))
        assert await states(world) == ["delivered", "pending"]
        await world.pass_to(TOMORROW)
        assert await states(world) == ["delivered", "delivered"]
        assert len(await world.messages("b1")) == 2


async def test_senders_side_by_side_let_one_out(databases: Databases) -> None:
    async with a_world(databases, batch=1) as world:
        await two_cases(world)
        other = world.another(batch=1)
        await other.start()
        await asyncio.gather(*(service.pump() for service in (world.service, other, world.service, other)))
        await other.close()
        assert await states(world) == ["delivered", "pending"]


@pytest.mark.parametrize("purpose", ["reminder", "notice", "answer"])
async def test_what_is_no_dunning_is_neither_counted_nor_put_off(databases: Databases, purpose: str) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1", "t-1", channels=("sms",))
        await world.service.pump()
        await world.request("b1", "t-2", purpose=purpose, channels=("sms",))
        await world.service.pump()
        ended = (await world.delivery("b1", "t-2"))["state"]
        assert ended == ("suppressed" if purpose == "reminder" else "delivered")
        await world.profile("b2")
        await world.fact("b2")
        await world.request("b2", "t-3", purpose=purpose if purpose != "reminder" else "notice", channels=("sms",))
        await world.service.pump()
        await world.request("b2", "t-4", channels=("sms",))
        await world.service.pump()
        assert (await world.delivery("b2", "t-4"))["state"] == "delivered"


async def test_the_channels_of_one_contact_are_the_same_contact(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": "noreceipt", "email": "a@example.com"})
        await world.request("b1", channels=("sms", "email"), fallback_after=timedelta(hours=1))
        await world.service.pump()
        assert (await world.delivery("b1"))["state"] == "sent"
        await world.pass_to(MORNING + timedelta(hours=2))
        one = await world.delivery("b1")
        assert (one["state"], one["channel"]) == ("delivered", "email")


@pytest.mark.parametrize(("to", "second"), [("refuse", "delivered"), ("notsent", "delivered"), ("unknown", "pending")])
async def test_one_that_surely_did_not_go_out_leaves_its_place_and_one_of_which_nothing_is_known_does_not(
    databases: Databases, to: str, second: str
) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1", addresses={"sms": to, "email": "a@example.com"})
        await world.request("b1", "t-1", channels=("sms",))
        await world.service.pump()
        await world.request("b1", "t-2", channels=("email",))
        await world.service.pump()
        assert (await world.delivery("b1", "t-2"))["state"] == second


async def test_a_tenant_may_let_more_out_from_the_next_claim_on(databases: Databases) -> None:
    async with a_world(databases) as world:
        await two_cases(world)
        await world.service.pump()
        assert await states(world) == ["delivered", "pending"]
        changed = await world.call("PUT", "/v1/settings", json={"dunning_a_day": None}, headers={"If-Match": '"0"'})
        assert changed.status_code == 200, changed.text
        await world.request("b1", "t-9", channels=("sms",))
        await world.service.pump()
        assert (await world.delivery("b1", "t-9"))["state"] == "delivered"


async def test_what_a_person_is_let_do_and_what_is_checked_is_as_it_was(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1", channels=("sms",))
        await world.service.pump()
        asked = {"borrower_id": "b1", "debt": "loan-b1", "channel": "call", "by": "wu"}
        answer = await world.call("POST", "/v1/contacts:authorize", json=asked)
        assert answer.json()["decision"] == "allow", answer.text
