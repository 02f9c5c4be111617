"""What is requested again after a reversed payment or the end of a stop, and what happens to a borrower without a profile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from libs.common.cloudevents import Envelope
from libs.common.contracts.catalogue import PROFILES
from tests.integration.scheduler.world import World, due_soon, late, paid


async def asked(world: World) -> Any:
    await world.tell(late())
    await world.settle()
    return world.of("contact.requested")[0]


async def test_a_contact_called_off_by_a_payment_is_asked_for_again_when_the_payment_is_reversed(world: World) -> None:
    task = await asked(world)
    await world.tell(paid())
    await world.settle()
    await world.outcome(task, "suppressed", 1, reason="cancelled")
    await world.tell(late(version=3))
    await world.settle()
    assert (await world.next_contact())["at"] == "2026-11-25T02:00:00Z", "one a day"
    await world.local(1, 10)
    first, second = world.of("contact.requested")
    assert (second.step, second.case_id, second.task_id != first.task_id) == ("gentle", first.case_id, True)
    assert ((await world.case())["spell"], (await world.get("/tasks"))["items"]) == (1, [])


@pytest.mark.parametrize("outcome", ["sent", "unknown", None])
async def test_a_contact_that_went_out_or_may_have_before_it_was_called_off_is_not_asked_for_again(
    world: World, outcome: str | None
) -> None:
    task = await asked(world)
    await world.tell(paid())
    await world.settle()
    if outcome is not None:
        await world.outcome(task, outcome, 1, channel="sms")
    await world.tell(late(version=3))
    await world.settle()
    await world.local(1, 10)
    assert len(world.of("contact.requested")) == 1
    await world.local(2, 10)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]


async def test_a_payment_that_the_notifier_knew_first_and_that_is_reversed_leaves_the_contact_to_be_asked_for(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "suppressed", 1, reason="paid")
    await world.tell(paid())
    await world.settle()
    await world.tell(late(version=3))
    await world.settle()
    await world.local(1, 10)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "gentle"]


async def test_a_dispute_that_is_withdrawn_lets_the_same_step_be_said(world: World) -> None:
    task = await asked(world)
    await world.stop("dispute")
    await world.scheduler.pump()
    await world.outcome(task, "suppressed", 1, reason="cancelled")
    world.clock.advance(timedelta(minutes=5))
    envelope = Envelope("borrower.status.v1", "e2", "test", world.clock.now(), "default", "B1")
    await world.bus.publish([world.writer.message(PROFILES, envelope, None, key="default/B1/status:s1", borrower_id="B1")])
    await world.scheduler.pump()
    await world.local(1, 10)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "gentle"]


async def test_a_contact_in_shadow_is_work_for_nobody(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "suppressed", 1, channel="sms", reason="shadow")
    await world.local(2, 10)
    assert (await world.get("/tasks"))["items"] == []
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]


async def test_a_borrower_nobody_has_told_of_is_work_for_a_person_the_same_minute(world: World) -> None:
    task = await asked(world)
    await world.outcome(task, "deferred", 1, reason="profile_unknown")
    await world.scheduler.pump()
    assert (await world.get("/coverage"))["reasons"] == {"no_profile": 1}
    world.clock.advance(timedelta(seconds=30))
    await world.scheduler.pump()
    (item,) = (await world.get("/tasks", state="open"))["items"]
    assert (item["kind"], item["queue"]) == ("no_profile", "review")
    planned = await world.next_contact()
    assert (planned["at"], planned["reason"], planned["ends_with"]) == (None, "no_profile", item["task_id"])
    assert ((await world.case())["reason"], (await world.case())["reason_ends_with"]) == ("no_profile", item["task_id"])
    await world.outcome(task, "sent", 2, channel="sms")
    await world.scheduler.pump()
    assert (await world.case())["reason"] == "scheduled"


async def test_a_borrower_nobody_has_told_of_is_noticed_when_the_first_reminder_waits(world: World) -> None:
    await world.tell(due_soon())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "deferred", 1, reason="profile_unknown")
    world.clock.advance(timedelta(seconds=30))
    await world.scheduler.pump()
    world.clock.advance(timedelta(seconds=30))
    await world.scheduler.pump()
    assert [item["kind"] for item in (await world.get("/tasks"))["items"]] == ["no_profile"]
