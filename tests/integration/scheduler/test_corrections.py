"""Contacts made on facts that were corrected later are flagged, and are work for a person if nothing called for them."""

from __future__ import annotations

import asyncio
import itertools
from datetime import timedelta
from typing import Any

from libs.common.contracts.corrections import CorrectedDays
from tests.integration.scheduler.world import TODAY, World, late, paid

CLEAR = (CorrectedDays(TODAY - timedelta(days=1), None, owed=False),)
LESS = (CorrectedDays(TODAY - timedelta(days=1), None, owed=True),)
FLAGS = "select corrected_at is not null, corrected_from, groundless from scheduler.case_steps order by task_id"


async def contacted(world: World, *, outcome: str | None = "sent") -> Any:
    """Have an overdue borrower contacted; return the request."""
    await world.tell(late())
    await world.settle()
    (task,) = world.of("contact.requested")
    if outcome is not None:
        await world.outcome(task, outcome, 1, channel="sms")
    return task


async def corrected(world: World) -> list[Any]:
    return [entry for entry in await world.story() if entry["kind"] == "contact.corrected"]


async def open_work(world: World) -> list[tuple[str, str]]:
    return [(task["queue"], task["kind"]) for task in (await world.get("/tasks", state="open"))["items"]]


async def test_a_contact_that_nothing_called_for_is_flagged_and_given_to_a_person(world: World) -> None:
    task = await contacted(world)
    world.clock.advance(timedelta(days=1))
    await world.tell(paid(caused_by="e7"), corrects=CLEAR)
    [entry] = await corrected(world)
    assert entry["reason"] == "nothing_was_due"
    detail = {"task_id": task.task_id, "step": "gentle", "loan_id": "L1", "corrects_from": CLEAR[0].from_on.isoformat(), "caused_by": "e7"}
    assert entry["detail"] == detail
    assert await open_work(world) == [("review", "contact_corrected")]
    await world.scheduler.pump()
    [created] = world.of("case.task_created")
    assert created.reason == "contact_corrected"
    assert [tuple(row) for row in await world.rows(FLAGS)] == [(True, CLEAR[0].from_on, True)]


async def test_a_contact_that_named_another_sum_is_flagged_and_work_for_nobody(world: World) -> None:
    await contacted(world)
    world.clock.advance(timedelta(days=1))
    await world.tell(late(total=900, version=2), corrects=LESS)
    [entry] = await corrected(world)
    assert entry["reason"] == "told_otherwise"
    assert await open_work(world) == []


async def test_a_contact_that_perhaps_went_out_counts_as_made(world: World) -> None:
    await contacted(world, outcome="unknown")
    world.clock.advance(timedelta(days=1))
    await world.tell(paid(), corrects=CLEAR)
    assert len(await corrected(world)) == 1


async def test_a_contact_of_which_nobody_will_be_asked_any_more_counts_as_made(world: World) -> None:
    task = await contacted(world, outcome="unknown")
    await world.outcome(task, "unknown", 2, channel="sms", final=True)
    world.clock.advance(timedelta(days=1))
    await world.tell(paid(), corrects=CLEAR)
    assert len(await corrected(world)) == 1


async def test_a_contact_that_surely_did_not_go_out_is_not_flagged(world: World) -> None:
    await contacted(world, outcome="suppressed")
    world.clock.advance(timedelta(days=1))
    await world.tell(paid(), corrects=CLEAR)
    assert await corrected(world) == []
    assert await open_work(world) == []


async def test_a_contact_before_the_days_told_otherwise_is_not_flagged(world: World) -> None:
    await contacted(world)
    world.clock.advance(timedelta(days=3))
    await world.tell(paid(), corrects=(CorrectedDays(TODAY + timedelta(days=1), None, owed=False),))
    assert await corrected(world) == []


async def test_an_outcome_that_comes_after_the_correction_is_flagged_all_the_same(world: World) -> None:
    task = await contacted(world, outcome=None)
    world.clock.advance(timedelta(seconds=1))
    await world.tell(paid(), corrects=CLEAR)
    assert await corrected(world) == []
    await world.outcome(task, "sent", 1, channel="sms")
    assert [entry["reason"] for entry in await corrected(world)] == ["nothing_was_due"]
    assert await open_work(world) == [("review", "contact_corrected")]


async def test_corrections_and_outcomes_that_are_taken_in_side_by_side_miss_nobody(world: World) -> None:
    names = [f"B{n}" for n in range(40)]
    await world.tell(*[late(f"L-{name}", name) for name in names])
    await world.settle()
    world.clock.advance(timedelta(seconds=1))
    correcting = world.tell(*[paid(f"L-{name}", name) for name in names], corrects=CLEAR)
    sent = [world.outcome(task, "sent", 1, channel="sms") for task in world.of("contact.requested")]
    await asyncio.gather(*sent[:20], correcting, *sent[20:])
    assert [tuple(row) for row in await world.rows(FLAGS)] == [(True, CLEAR[0].from_on, True)] * len(names)


async def test_a_fact_that_has_been_superseded_still_corrects(world: World) -> None:
    await contacted(world)
    world.clock.advance(timedelta(days=1))
    await world.tell(paid(version=3))
    await world.tell(paid(version=2), corrects=CLEAR)
    assert len(await corrected(world)) == 1
    assert await open_work(world) == [("review", "contact_corrected")]


async def test_repeats_and_any_order_of_the_facts_flag_once(world: World) -> None:
    await contacted(world)
    world.clock.advance(timedelta(days=1))
    messages = [
        world.message("debt.changed.v1", late(total=900, version=2), corrects=LESS),
        world.message("debt.cured.v1", paid(version=3), corrects=CLEAR),
        world.message("debt.changed.v1", paid(version=4)),
    ]
    for order in itertools.permutations(messages):
        await world.bus.publish(order)
        await world.settle()
    assert len(await corrected(world)) == 1
    assert await open_work(world) == [("review", "contact_corrected")]


async def test_a_repeat_after_a_contact_on_the_corrected_facts_does_not_flag_that(world: World) -> None:
    await contacted(world)
    world.clock.advance(timedelta(hours=3))
    correcting = world.message("debt.changed.v1", late(days=1, total=900, version=2), corrects=LESS)
    await world.bus.publish([correcting])
    await world.settle()
    await world.local(2, 10, 15)
    second = world.of("contact.requested")[-1]
    assert second.step == "firm"
    await world.outcome(second, "sent", 1, channel="sms")
    await world.bus.publish([correcting])
    await world.settle()
    assert [entry["detail"]["step"] for entry in await corrected(world)] == ["gentle"]


async def test_a_flagged_contact_that_turns_out_to_have_had_no_ground_becomes_work_and_is_not_told_again(world: World) -> None:
    await contacted(world)
    world.clock.advance(timedelta(days=1))
    await world.tell(late(total=900, version=2), corrects=LESS)
    await world.tell(paid(version=3), corrects=CLEAR)
    assert [entry["reason"] for entry in await corrected(world)] == ["told_otherwise"]
    assert await open_work(world) == [("review", "contact_corrected")]


async def test_while_the_task_is_open_another_contact_without_ground_is_no_second_one(world: World) -> None:
    await contacted(world)
    await world.local(2, 10, 15)
    second = world.of("contact.requested")[-1]
    await world.tell(late(version=2, total=900), corrects=(CorrectedDays(TODAY, TODAY + timedelta(days=1), owed=False),))
    await world.outcome(second, "sent", 1, channel="sms")
    world.clock.advance(timedelta(days=1))
    await world.tell(paid(version=3), corrects=CLEAR)
    assert len(await corrected(world)) == 2
    assert await open_work(world) == [("review", "contact_corrected")]


async def test_after_the_task_is_done_another_contact_without_ground_is_a_new_task(world: World) -> None:
    await contacted(world)
    await world.local(2, 10, 15)
    second = world.of("contact.requested")[-1]
    await world.tell(late(version=2, total=900), corrects=(CorrectedDays(TODAY, TODAY + timedelta(days=1), owed=False),))
    [task] = (await world.get("/tasks", state="open"))["items"]
    answer = await world.http.post(f"/v1/tasks/{task['task_id']}:complete", json={"note": "told the borrower"})
    assert answer.status_code == 200
    await world.outcome(second, "sent", 1, channel="sms")
    assert await open_work(world) == []
    world.clock.advance(timedelta(days=1))
    await world.tell(paid(version=3), corrects=CLEAR)
    assert await open_work(world) == [("review", "contact_corrected")]


async def test_a_correction_that_opens_a_new_spell_flags_the_contacts_of_the_one_before(world: World) -> None:
    await contacted(world)
    await world.tell(paid())
    await world.local(9, 12)
    assert (await world.case())["state"] == "closed"
    await world.tell(late(version=3), corrects=LESS)
    assert (await world.case())["spell"] == 2
    assert [entry["detail"]["step"] for entry in await corrected(world)] == ["gentle"]


async def test_the_corrections_of_many_borrowers_are_written_in_one_batch(world: World) -> None:
    names = [f"B{n}" for n in range(30)]
    await world.tell(*[late(f"L-{name}", name) for name in names])
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1, channel="sms")
    world.clock.advance(timedelta(days=1))
    await world.tell(*[paid(f"L-{name}", name) for name in names], corrects=CLEAR)
    assert [tuple(row) for row in await world.rows(FLAGS)] == [(True, CLEAR[0].from_on, True)] * len(names)
    assert len(await open_work(world)) == len(names)
