"""Policies written over HTTP, applied to cases."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy import text

from tests.integration.scheduler.policy_world import DOCUMENT, Office
from tests.integration.scheduler.world import World, due_soon, late, paid
from tests.support.running import until

SECOND = DOCUMENT.replace("id: hello, at: {day: 1", "id: hello-again, at: {day: 1").replace("day: 7", "day: 5")


async def steps(world: World) -> list[tuple[str, str, int]]:
    return [(task.step, task.policy.name, task.policy.version) for task in world.of("contact.requested")]


async def test_a_new_spell_begins_under_the_first_assignment_that_fits(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.activated(DOCUMENT.replace("gentle-ones", "car-loans").replace("hello", "car-hello"))
    await office.assign({"policy": "car-loans", "products": ["car-loan"]}, {"policy": "gentle-ones", "jurisdictions": ["ZZ"]})
    await world.tell(late("L1", "B1"), late("L2", "B2", product="car-loan"), late("L3", "B3", jurisdictions=("CN",)))
    await world.settle()
    assert sorted(await steps(world)) == [("car-hello", "car-loans", 1), ("gentle", "built-in", 1), ("hello", "gentle-ones", 1)]
    assert (await world.case("B2"))["policy"] == {"name": "car-loans", "version": 1}


async def test_what_a_policy_says_of_missing_receipts_and_unknown_contacts_goes_to_the_notifier(world: World) -> None:
    office = Office(world)
    await office.activated(
        DOCUMENT.replace("channels: [sms, email]}", "channels: [sms, email], fallback_after: 4h, on_unknown: next_channel}")
    )
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late())
    await world.settle()
    [task] = world.of("contact.requested")
    assert (task.step, task.fallback_after, task.on_unknown) == ("hello", timedelta(hours=4), "next_channel")


async def test_a_policy_is_passed_over_for_debts_it_is_not_meant_for(world: World) -> None:
    office = Office(world)
    await office.activated(DOCUMENT.replace("steps:", "applies_to: {products: [car-loan]}\nsteps:"))
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late())
    await world.settle()
    assert await steps(world) == [("gentle", "built-in", 1)]


async def test_a_spell_that_runs_stays_pinned_and_the_next_one_is_new(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late())
    await world.settle()
    await office.activated(SECOND, in_flight="pin")
    await world.local(4, 10, 30)
    await world.local(6, 10, 30)
    assert await steps(world) == [("hello", "gentle-ones", 1), ("firm", "gentle-ones", 1)]
    await world.tell(paid())
    await world.settle()
    await world.local(14, 10, 0)
    await world.tell(late(version=3, days=-13))
    await world.local(14, 10, 15)
    assert (await steps(world))[2:] == [("hello-again", "gentle-ones", 2)]


async def test_at_the_next_step_the_new_version_goes_on_where_the_old_one_was(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1)
    await office.activated(SECOND, in_flight="next_step")
    await world.local(1, 10, 30)
    assert await steps(world) == [("hello", "gentle-ones", 1)], "hello-again stands where hello did"
    assert (await world.case())["policy"]["version"] == 2
    assert (await world.next_contact())["step"] == "firm"
    await world.local(4, 10, 30)
    assert (await steps(world))[1:] == [("firm", "gentle-ones", 2)]
    kinds = [entry["kind"] for entry in await world.story()]
    assert "case.policy_changed" in kinds


async def test_a_restart_begins_the_new_ladder_and_repeats_no_step(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late(), late("L2", "B2", days=7))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1)
    await office.activated(SECOND, in_flight="restart")
    await world.local(1, 10, 30)
    said = [(task.borrower_id, task.step) for task in world.of("contact.requested")]
    assert sorted(said) == [("B1", "hello"), ("B1", "hello-again"), ("B2", "firm")]


async def test_what_is_under_way_ends_before_its_case_moves_on(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late())
    await world.settle()
    await office.activated(SECOND, in_flight="restart")
    await world.scheduler.pump()
    assert (await world.case())["policy"]["version"] == 1
    await world.outcome(world.of("contact.requested")[0], "delivered", 1)
    await world.scheduler.pump()
    assert (await world.case())["policy"]["version"] == 2
    assert len(await steps(world)) == 1, "one message a day"


async def test_a_version_that_comes_into_force_later_wakes_the_spells_then(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1)
    await office.activated(SECOND, in_flight="next_step", effective_at=(world.clock.now() + timedelta(days=2)).isoformat())
    await world.local(1, 10, 30)
    assert (await world.case())["policy"]["version"] == 1
    await world.local(3, 9, 0)
    assert (await world.case())["policy"]["version"] == 2
    assert await world.rows("select * from scheduler.policy_changes") == []


async def test_a_fact_that_is_taken_in_while_its_policy_changes_is_reckoned_by_the_new_one(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late())
    await world.settle()
    reminder = '  - {id: ahead, at: {day: -5, between: "10:00-11:30"}, send: {template: due_soon, channels: [push]}}\n'
    soon = (world.clock.now() + timedelta(seconds=1)).isoformat()
    await office.activated(DOCUMENT.replace("steps:\n", f"steps:\n{reminder}"), effective_at=soon)

    async def waits() -> bool:
        return bool(await world.rows("select 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%scheduler.cases%'"))

    async with world.engine.connect() as other:
        await other.execute(text("select 1 from scheduler.cases for update"))
        telling = asyncio.create_task(world.tell(due_soon("L2", in_days=6)))
        await until(waits, "the fact that waits for its case", look_every_s=0.005)
        world.clock.advance(timedelta(seconds=1))
        await world.scheduler.pump()
        await other.rollback()
    await telling
    await world.settle()
    [debt] = await world.rows("select wake_at from scheduler.debts where loan_id = 'L2'")
    assert debt.wake_at == datetime(2026, 11, 25, 2, tzinfo=UTC)


async def test_reminders_are_reckoned_anew_by_the_policy_that_now_rules(world: World) -> None:
    office = Office(world)
    await world.tell(due_soon(in_days=3), due_soon("L2", "B2", in_days=6))
    reminder = '  - {id: ahead, at: {day: -5, between: "10:00-11:30"}, send: {template: due_soon, channels: [push]}}\n'
    await office.activated(DOCUMENT.replace("steps:\n", f"steps:\n{reminder}"))
    await office.assign({"policy": "gentle-ones"})
    await world.scheduler.pump()
    await world.local(1, 10, 30)
    said = sorted((task.borrower_id, task.step, task.purpose) for task in world.of("contact.requested"))
    assert said == [("B1", "ahead", "reminder"), ("B2", "ahead", "reminder")]


async def test_a_flag_is_raised_once_in_a_spell(world: World) -> None:
    office = Office(world)
    await office.activated(DOCUMENT.replace("task: {queue: phone", "flag: high_risk, task: {queue: phone"))
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late(days=14))
    await world.settle()
    await world.tell(late(version=2, days=14, total=9000))
    await world.settle()
    flagged = world.of("case.flagged")
    assert [(event.reason, event.detail["step"]) for event in flagged] == [("high_risk", "call")]
    assert [task["queue"] for task in (await world.get("/tasks"))["items"]] == ["phone"]


async def test_a_condition_decides_which_message_is_said(world: World) -> None:
    office = Office(world)
    await office.activated(DOCUMENT.replace("at: {day: 7", 'when: "debt.total >= 20000", at: {day: 7'))
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late("L1", "B1", days=7), late("L2", "B2", days=7, total=30_000))
    await world.settle()
    assert sorted((task.borrower_id, task.step) for task in world.of("contact.requested")) == [("B1", "hello"), ("B2", "firm")]
