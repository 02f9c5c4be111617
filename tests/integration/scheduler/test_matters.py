"""What borrowers raise: contacts pause, a person answers, and the case continues."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.integration.scheduler.desk import case_of, post, settled, tasks
from tests.integration.scheduler.world import World, late, paid


async def bring_up(world: World, path: str, **asked: Any) -> Any:
    return await post(world, f"/cases/{await case_of(world)}/{path}", asked)


async def resolve(world: World, path: str, matter: Any, outcome: str, *, status: int = 200) -> Any:
    return await post(world, f"/cases/{matter['case_id']}/{path}/{matter['matter_id']}:resolve", {"outcome": outcome}, status=status)


@pytest.mark.parametrize(
    ("path", "stop", "contacts", "queue"),
    [("complaints", "complaint", "limited", "complaints"), ("hardships", "hardship", "limited", "hardship")],
)
async def test_contacts_of_the_person_rest_until_it_is_answered(world: World, path: str, stop: str, contacts: str, queue: str) -> None:
    await settled(world)
    matter = await bring_up(world, path, note="called twice a day", channel="call")
    await world.scheduler.pump()
    assert [(held.stop, held.contacts, held.loan_id) for held in world.of("case.hold_set")] == [(stop, contacts, None)]
    (task,) = await tasks(world, queue=queue)
    answer = await world.next_contact()
    assert (answer["at"], answer["reason"], answer["ends_with"]) == (None, stop, task["task_id"])
    assert (await resolve(world, path, matter, "upheld"))["state"] == "resolved"
    assert (await resolve(world, path, matter, "upheld"))["outcome"] == "upheld"
    assert [one["done_by"] for one in await tasks(world, queue=queue, state="done")] == ["mei"]
    await resolve(world, path, matter, "rejected", status=409)
    await world.local(2, 10, 15)
    assert [one.step for one in world.of("contact.requested")] == ["gentle", "firm"]
    assert [event.reason for event in world.of(f"case.{stop}_resolved")] == ["upheld"]


async def test_a_complaint_has_its_person_even_when_nothing_is_owed_any_more(world: World) -> None:
    await settled(world)
    await world.tell(paid())
    await world.settle()
    await bring_up(world, "complaints")
    await world.scheduler.pump()
    assert [task["kind"] for task in await tasks(world)] == ["complaint"]


async def test_a_dispute_of_a_borrower_who_owes_nothing_has_its_person_too_and_the_same_one_in_the_next_spell(world: World) -> None:
    await settled(world)
    await world.tell(paid())
    await world.settle()
    await bring_up(world, "disputes", note="the last message was wrong")
    await world.scheduler.pump()
    assert [task["kind"] for task in await tasks(world)] == ["dispute"]
    await world.local(8, 9)
    await world.tell(late(version=3, days=-7))
    await world.settle()
    assert (await world.case())["spell"] == 2
    assert [task["kind"] for task in await tasks(world)] == ["dispute"]


async def test_a_dispute_stops_what_is_said_of_that_debt_only(world: World) -> None:
    await world.local(1, 8)
    await settled(world, late(), late("L2"))
    dispute = await bring_up(world, "disputes", loan_id="L1", line="charge:c7", note="this fee was waived")
    await world.local(1, 10, 15)
    assert [[debt.loan_id for debt in task.debts] for task in world.of("contact.requested")] == [["L2"]]
    assert [(held.stop, held.contacts, held.loan_id) for held in world.of("case.hold_set")] == [("dispute", "none", "L1")]
    assert [(event.detail["loan_id"], event.detail["line"]) for event in world.of("case.dispute_opened")] == [("L1", "charge:c7")]
    (task,) = await tasks(world)
    assert (task["kind"], task["priority"]) == ("dispute", 60)
    await post(world, f"/tasks/{task['task_id']}:complete", {"outcome": "rejected", "note": "it is owed"}, status=200)
    (resolved,) = (await world.get(f"/cases/{dispute['case_id']}/disputes"))["items"]
    assert (resolved["outcome"], resolved["answer"], resolved["resolved_by"]) == ("rejected", "it is owed", "mei")
    await world.local(2, 10, 15)
    assert {debt.loan_id for debt in world.of("contact.requested")[-1].debts} == {"L1", "L2"}


async def test_a_task_that_was_not_answered_comes_again(world: World) -> None:
    await settled(world)
    await bring_up(world, "disputes", loan_id="L1")
    await world.scheduler.pump()
    (task,) = await tasks(world)
    await post(world, f"/tasks/{task['task_id']}:complete", {"note": "asked the branch"}, status=200)
    await world.scheduler.pump()
    assert await tasks(world, state="open") == []
    assert (await world.get("/coverage"))["uncontacted"] == 0
    await world.at(world.clock.now() + timedelta(days=2))
    assert [one["occurrence"] for one in await tasks(world, state="open")] == [2]


async def test_a_complaint_that_the_notifier_hears_is_opened_once(world: World) -> None:
    await settled(world)
    (asked,) = world.of("contact.requested")
    for _ in range(2):
        await world.outcome(asked, "complained", 4, channel="email")
    await world.scheduler.pump()
    (complaint,) = (await world.get(f"/cases/{await case_of(world)}/complaints"))["items"]
    assert (complaint["state"], complaint["channel"], complaint["opened_by"]) == ("open", "email", "borrower")
    assert len(world.of("case.complaint_opened")) == 1
    assert [held.stop for held in world.of("case.hold_set")] == ["complaint"]
    assert (await world.next_contact())["reason"] == "complaint"
    assert [task["kind"] for task in await tasks(world)] == ["complaint"]


async def test_a_status_of_the_borrower_acts_by_its_default(world: World) -> None:
    await settled(world)
    await world.stop("deceased")
    await world.scheduler.pump()
    assert [task.reason for task in world.of("contact.cancelled")] == ["deceased"]
    (task,) = await tasks(world)
    assert ((await world.next_contact())["reason"], task["kind"]) == ("deceased", "stop_without_end")


async def test_what_is_about_no_debt_of_the_case_is_refused(world: World) -> None:
    await settled(world)
    await post(world, f"/cases/{await case_of(world)}/disputes", {"loan_id": "L9"}, status=422)
    await post(world, f"/cases/{await case_of(world)}/quarrels", {}, status=404)
    await post(world, f"/cases/{await case_of(world)}/disputes/m-nothing:resolve", {"outcome": "upheld"}, status=404)
