"""A contact that was called off is reported as not sent, once, and only when that is certain."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from services.notifier.service import Options
from tests.integration.notifier.test_races import Slow
from tests.integration.notifier.world import NIGHT, PATIENCE_S, World, a_world
from tests.support.postgres import Databases


def last_told(world: World, borrower: str) -> tuple[str, str | None, int]:
    told = [one for one in world.told if one.data.borrower_id == borrower][-1]
    return told.type, told.data.reason, told.data.sequence


async def test_a_contact_called_off_before_its_hour_is_reported_once(databases: Databases) -> None:
    async with a_world(databases, at=NIGHT) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        for _ in range(2):
            await world.cancel("b1")
        await world.pass_to(NIGHT + timedelta(hours=8))
        assert world.outcomes("b1") == ["deferred", "suppressed"]
        assert last_told(world, "b1") == ("contact.suppressed.v1", "cancelled", 2)


async def test_a_contact_called_off_in_flight_is_reported_when_it_is_known_not_to_have_gone_out(databases: Databases) -> None:
    provider = Slow()
    async with a_world(databases, options=Options(providers=[provider])) as world:
        await world.late_borrower("b1", addresses={"sms": "+8613800000001", "email": "b1@example.org"})
        await world.request("b1")
        sending = asyncio.ensure_future(world.service.pump())
        await asyncio.wait_for(provider.called.wait(), PATIENCE_S)
        await world.cancel("b1")
        assert world.outcomes("b1") == []
        provider.go.set()
        await asyncio.wait_for(sending, PATIENCE_S)
        assert (world.outcomes("b1"), last_told(world, "b1")[1]) == (["suppressed"], "cancelled")


async def test_a_contact_that_was_sent_before_it_was_called_off_is_not_reported_as_unsaid(databases: Databases) -> None:
    async with a_world(databases) as world:
        await world.late_borrower("b1")
        await world.request("b1")
        await world.service.pump()
        await world.cancel("b1")
        await world.service.pump()
        assert "suppressed" not in world.outcomes("b1")
        assert len(await world.messages("b1")) == 1
