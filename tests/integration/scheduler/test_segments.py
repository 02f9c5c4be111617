"""Assignments by segment: the loan's at disbursement, or the borrower's current one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from libs.common.contracts.borrower_profiles import BorrowerErasure, BorrowerProfile
from libs.common.contracts.catalogue import PROFILES
from tests.integration.scheduler.policy_world import DOCUMENT, LOANWISE, Office
from tests.integration.scheduler.world import World, due_soon, late

CALM = DOCUMENT.replace("gentle-ones", "calm").replace("hello", "calm-hello").replace("day: 7", "day: 5")
AHEAD = '  - {id: ahead, at: {day: -5, between: "10:00-11:30"}, send: {template: due_soon, channels: [push]}}\n'


async def belongs(world: World, segment: str | None, borrower_id: str = "B1") -> None:
    """Publish a borrower's segment."""
    attributes = {} if segment is None else {"segment": segment}
    profile = BorrowerProfile(borrower_id=borrower_id, time=world.clock.now(), id=f"p-{segment}", key="k", attributes=attributes)
    await world.bus.publish([world.message("borrower.profile.v1", profile, topic=PROFILES)])


async def two_policies(world: World, **activation: Any) -> Office:
    office = Office(world)
    await office.activated()
    await office.activated(CALM, **activation)
    await office.assign({"policy": "calm", "segments": ["vip"]}, {"policy": "gentle-ones", "segments": ["usual", "new"]})
    await world.scheduler.pump()
    return office


def steps(world: World) -> list[tuple[str, str]]:
    return [(task.borrower_id, task.step) for task in world.of("contact.requested")]


async def test_a_borrower_s_segment_and_a_loan_s_choose_the_policy_and_without_any_the_built_in_one_rules(world: World) -> None:
    await two_policies(world)
    await belongs(world, "vip")
    await belongs(world, "strange", "B4")
    await world.tell(late(), late("L2", "B2", segment="new"), late("L3", "B3"), late("L4", "B4"))
    await world.settle()
    assert sorted(steps(world)) == [("B1", "calm-hello"), ("B2", "hello"), ("B3", "gentle"), ("B4", "gentle")]
    assert (await world.get("/coverage"))["reasons"] == {"scheduled": 4}
    assert (await world.get(f"/cases/{(await world.case())['case_id']}"))["debts"][0]["segments"] == ["vip"]


async def test_the_first_assignment_that_names_either_segment_holds(world: World) -> None:
    await two_policies(world)
    await belongs(world, "vip")
    await world.tell(late(segment="usual"))
    await world.settle()
    assert steps(world) == [("B1", "calm-hello")]


async def test_a_policy_meant_for_a_segment_is_passed_over_for_others(world: World) -> None:
    office = Office(world)
    await office.activated(DOCUMENT.replace("steps:", "applies_to: {segments: [vip]}\nsteps:"))
    await office.assign({"policy": "gentle-ones"})
    await world.tell(late(segment="vip"), late("L2", "B2", segment="usual"))
    await world.settle()
    assert sorted(steps(world)) == [("B1", "hello"), ("B2", "gentle")]


async def test_a_spell_that_runs_stays_where_it_is_though_its_borrower_changes_segment(world: World) -> None:
    await two_policies(world)
    await belongs(world, "usual")
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1)
    await belongs(world, "vip")
    await world.local(6, 10, 30)
    assert steps(world) == [("B1", "hello"), ("B1", "firm")]
    assert await world.rows("select * from scheduler.segment_changes") == []


async def test_a_new_segment_takes_a_running_spell_to_the_next_step_of_its_policy(world: World) -> None:
    await two_policies(world, in_flight="next_step")
    await belongs(world, "usual")
    await world.tell(late(), late("L2", "B2", segment="usual"))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "sent", 1)
    await belongs(world, "vip")
    await world.local(1, 10, 30)
    assert sorted(steps(world)) == [("B1", "hello"), ("B2", "hello")], "calm-hello stands where hello did"
    assert (await world.case())["policy"]["name"] == "calm"
    assert "case.policy_changed" in [entry["kind"] for entry in await world.story()]
    await world.local(4, 10, 30)
    assert steps(world)[2:] == [("B1", "firm")]
    assert (await world.case("B2"))["policy"]["name"] == "gentle-ones"


async def test_a_segment_that_is_told_after_the_debt_counts_as_long_as_nothing_was_said(world: World) -> None:
    await two_policies(world)
    await world.tell(late())
    await belongs(world, "vip")
    await world.settle()
    assert steps(world) == [("B1", "calm-hello")]


async def test_a_change_of_assignments_alone_moves_no_spell_that_runs(world: World) -> None:
    office = await two_policies(world, in_flight="restart")
    await belongs(world, "usual")
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1)
    await office.assign({"policy": "calm"})
    await world.local(1, 10, 30)
    assert (await world.case())["policy"]["name"] == "gentle-ones"


async def test_reminders_are_reckoned_anew_when_a_borrower_changes_segment(world: World) -> None:
    office = Office(world)
    await office.activated(DOCUMENT.replace("steps:\n", f"steps:\n{AHEAD}"))
    await office.assign({"policy": "gentle-ones", "segments": ["vip"]})
    await world.tell(due_soon(in_days=6), due_soon("L2", "B2", in_days=6))
    await belongs(world, "vip")
    await world.local(0, 12)
    await world.local(1, 10, 30)
    assert steps(world) == [("B1", "ahead")]


async def test_a_borrower_who_comes_to_a_segment_of_loans_apart_has_them_apart_from_the_next_lateness_on(world: World) -> None:
    office = Office(world)
    await office.activated(LOANWISE)
    await office.assign({"policy": "gentle-ones", "segments": ["vip"]})
    await world.tell(due_soon("L1", in_days=9), due_soon("L2", in_days=9))
    await belongs(world, "vip")
    await world.local(0, 12)
    assert [row.case_loan for row in await world.rows("select case_loan from scheduler.debts order by loan_id")] == ["L1", "L2"]
    await belongs(world, "usual")
    await world.local(0, 13)
    assert [row.case_loan for row in await world.rows("select case_loan from scheduler.debts order by loan_id")] == ["", ""]


async def test_an_erased_borrower_is_in_no_segment(world: World) -> None:
    await two_policies(world)
    await belongs(world, "vip")
    world.clock.advance(timedelta(seconds=1))
    erased = BorrowerErasure(borrower_id="B1", time=world.clock.now(), id="e1")
    await world.bus.publish([world.message("borrower.erased.v1", erased, topic=PROFILES)])
    await world.tell(late())
    await world.settle()
    assert (await world.get(f"/cases/{(await world.case())['case_id']}"))["debts"][0]["segments"] == []
