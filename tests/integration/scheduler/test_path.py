"""From a fact to a request, and from a payment to silence."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

from libs.common.contracts.overdue_facts import Doubt
from tests.integration.scheduler.world import MORNING, SETTLED, World, due_soon, late, paid


async def test_a_fact_becomes_one_request(world: World) -> None:
    await world.tell(late(), kind="debt.overdue.v1")
    await world.settle()
    (task,) = world.of("contact.requested")
    assert (task.step, task.template, task.purpose, task.channels) == ("gentle", "gentle", "dunning", ("sms", "email", "push"))
    assert [(debt.loan_id, debt.fact_version, debt.fact_as_of) for debt in task.debts] == [("L1", 1, date(2026, 11, 24))]
    assert task.expires_at == datetime(2026, 11, 24, 3, 30, tzinfo=UTC)
    assert task.jurisdictions == ("ZZ",)
    assert len(world.of("case.opened")) == 1
    assert [entry["kind"] for entry in await world.story()] == ["debt.overdue", "case.opened", "contact.requested"]


async def test_the_same_facts_again_in_any_order_ask_for_nothing_new(world: World) -> None:
    facts = [late(), late(version=2, total=9000), late("L2")]
    await world.tell(*facts)
    await world.settle()
    first = [task.task_id for task in world.of("contact.requested")]
    for order in itertools.permutations(facts):
        await world.tell(*order)
        await world.settle()
    assert len(first) == 1
    assert [task.task_id for task in world.of("contact.requested")] == first
    case = await world.get(f"/cases/{(await world.case())['case_id']}")
    assert {debt["loan_id"]: debt["overdue"] for debt in case["debts"]} == {"L1": 9000, "L2": 12050}


async def test_two_debts_that_become_late_together_are_one_request(world: World) -> None:
    await world.tell(late("L1"))
    world.clock.advance(timedelta(seconds=1))
    await world.tell(late("L2"))
    await world.scheduler.pump()
    assert world.of("contact.requested") == []
    await world.settle()
    (task,) = world.of("contact.requested")
    assert {debt.loan_id for debt in task.debts} == {"L1", "L2"}


async def test_a_case_waits_for_the_watermark_of_its_facts(world: World) -> None:
    await world.tell(late())
    world.clock.advance(SETTLED)
    await world.scheduler.pump()
    assert world.of("contact.requested") == []
    assert await world.scheduler.next_due() == world.clock.now() + timedelta(seconds=0.5)
    assert (await world.next_contact())["step"] == "gentle"
    await world.complete()
    world.clock.advance(timedelta(seconds=1))
    await world.scheduler.pump()
    assert len(world.of("contact.requested")) == 1


async def test_a_case_that_keeps_changing_rests_ten_times_settle_at_most(world: World) -> None:
    for version in range(1, 22):
        await world.tell(late(version=version))
        await world.complete()
        await world.scheduler.pump()
        world.clock.advance(timedelta(seconds=1))
    assert len(world.of("contact.requested")) == 1


async def test_a_payment_before_the_case_has_settled_leaves_nothing_to_say(world: World) -> None:
    await world.tell(late())
    world.clock.advance(timedelta(seconds=1))
    await world.tell(paid())
    await world.settle()
    assert world.of("contact.requested") == []
    assert (len(world.of("case.opened")), len(world.of("case.cured"))) == (1, 1)


async def test_a_payment_after_the_request_takes_it_back(world: World) -> None:
    await world.tell(late())
    await world.settle()
    await world.tell(paid())
    await world.scheduler.pump()
    (asked,), (cancelled,) = world.of("contact.requested"), world.of("contact.cancelled")
    assert cancelled.task_id == asked.task_id
    kinds = [entry["kind"] for entry in await world.story()]
    assert kinds.index("contact.requested") < kinds.index("case.cured") < kinds.index("contact.cancelled")


async def test_what_was_sent_is_not_taken_back(world: World) -> None:
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1, channel="sms")
    await world.tell(paid())
    await world.settle()
    assert world.of("contact.cancelled") == []


async def test_a_cure_is_announced_once_and_the_spell_ends_after_the_cool_down(world: World) -> None:
    await world.tell(late())
    await world.settle()
    for version in (2, 3, 4):
        await world.tell(paid(version=version))
        await world.settle()
    assert len(world.of("case.cured")) == 1
    await world.local(7, 9)
    assert (await world.case())["state"] == "cured"
    await world.local(7, 12)
    assert (await world.case())["state"] == "closed"
    assert (len(world.of("case.cured")), len(world.of("case.closed"))) == (1, 1)
    again = date(2026, 12, 5)
    await world.local(12, 10, 5)
    await world.tell(late(version=9, as_of=again, past_due_days_from=again, delinquent_from=again))
    await world.settle()
    assert [opened.spell for opened in world.of("case.opened")] == [1, 2]
    first, second = world.of("contact.requested")
    assert (first.step, second.step) == ("gentle", "gentle")
    assert first.task_id != second.task_id


async def test_overdue_again_inside_the_cool_down_opens_no_step_of_the_spell_again(world: World) -> None:
    await world.tell(late())
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "sent", 1, channel="sms")
    await world.tell(paid())
    await world.settle()
    await world.local(1, 10, 30)
    await world.tell(late(version=3))
    await world.settle()
    assert [task.step for task in world.of("contact.requested")] == ["gentle"]
    assert ((await world.case())["state"], (await world.case())["spell"]) == ("open", 1)
    await world.local(2, 10, 30)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]
    assert len(world.of("case.opened")) == 1


async def test_a_partial_payment_opens_no_step_again(world: World) -> None:
    await world.tell(late())
    await world.settle()
    await world.tell(late(version=2, total=100))
    await world.settle()
    assert len(world.of("contact.requested")) == 1
    assert world.of("contact.cancelled") == []


async def test_the_ladder_goes_up_and_ends_with_a_person(world: World) -> None:
    await world.tell(late())
    await world.settle()
    for day in range(1, 13):
        await world.local(day, 10, 10)
    assert (await world.get("/coverage"))["uncontacted"] == 1, "nothing was heard of any contact"
    assert (await world.next_contact())["reason"] == "ladder_ended"
    for day in range(13, 40):
        await world.local(day, 0, 0)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm", "final"]
    (created,) = world.of("case.task_created")
    assert created.at == datetime(2026, 12, 6, 16, tzinfo=UTC)
    planned = await world.next_contact()
    assert (planned["at"], planned["reason"]) == (None, "task_open")
    assert (await world.get("/coverage"))["uncontacted"] == 0, "a person has the case"


async def test_after_a_downtime_only_the_latest_message_goes_out(world: World) -> None:
    await world.tell(late(days=9))
    await world.settle()
    assert [task.step for task in world.of("contact.requested")] == ["final"]


async def test_a_case_that_opens_at_night_waits_for_the_morning(world: World) -> None:
    await world.local(0, 22)
    await world.tell(late())
    planned = await world.next_contact()
    assert (planned["step"], datetime.fromisoformat(planned["at"])) == ("gentle", MORNING + timedelta(hours=23, minutes=45))
    await world.settle()
    assert world.of("contact.requested") == []
    await world.local(1, 10)
    (task,) = world.of("contact.requested")
    assert task.not_before == MORNING + timedelta(hours=23, minutes=45)


async def test_a_debt_in_doubt_rests_and_says_so(world: World) -> None:
    await world.tell(late(doubt=Doubt(since=MORNING, parked=("e1",))))
    await world.settle()
    assert world.of("contact.requested") == []
    assert (await world.next_contact())["reason"] == "in_doubt"
    coverage = await world.get("/coverage")
    assert (coverage["uncontacted"], coverage["reasons"]) == (0, {"in_doubt": 1})


async def test_a_payment_under_way_lets_contacts_rest_until_its_moment(world: World) -> None:
    until = MORNING + timedelta(minutes=20)
    await world.tell(late(resting_until=until))
    await world.settle()
    planned = await world.next_contact()
    assert (planned["reason"], datetime.fromisoformat(planned["until"])) == ("pending_payment", until)
    await world.at(until)
    assert len(world.of("contact.requested")) == 1


async def test_what_is_written_off_is_not_asked_for(world: World) -> None:
    await world.tell(late(status="written_off"))
    await world.settle()
    assert world.published == []


async def test_a_reminder_opens_its_case_when_it_is_due_and_no_earlier(world: World) -> None:
    await world.tell(due_soon(in_days=5), kind="debt.due_soon.v1")
    await world.settle()
    assert (await world.get("/cases"))["items"] == []
    assert await world.scheduler.next_due() == datetime(2026, 11, 26, 2, tzinfo=UTC)
    await world.local(2, 10)
    (task,) = world.of("contact.requested")
    assert (task.step, task.purpose, task.channels) == ("due-soon", "reminder", ("push", "inbox"))
    assert ((await world.case())["state"], (await world.case())["stage"]) == ("open", "pre_due")
    assert world.of("case.opened") == []
    for version in (2, 3):
        await world.tell(due_soon(in_days=5, version=version))
        await world.settle()
    await world.local(3, 10)
    assert len(world.of("contact.requested")) == 1


async def test_a_reminder_of_what_has_been_paid_is_taken_back(world: World) -> None:
    await world.tell(due_soon())
    await world.settle()
    await world.tell(paid(version=2))
    await world.settle()
    (asked,), (cancelled,) = world.of("contact.requested"), world.of("contact.cancelled")
    assert asked.task_id == cancelled.task_id
    assert (await world.case())["state"] == "closed"
