"""Work for people: one person holds it, the claim lapses, it is overdue, and its result takes effect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer
from tests.integration.scheduler.desk import day, post, settled, tasks
from tests.integration.scheduler.policy_world import OTHER_KEY, Office
from tests.integration.scheduler.world import KEY, World, late, paid, scheduling

POLICY = """\
policy: by-phone
steps:
  - {id: hello, at: {day: 1, between: "10:00-11:30"}, send: {template: gentle, channels: [sms]}}
  - {id: call, at: {day: 2}, task: {queue: phone, kind: call, sla: 4h, script: "Ask for a date."}}
  - {id: vip-call, at: {day: 2}, when: "debt.total >= 50000", task: {queue: phone, kind: call, sla: 1d, priority: 90}}
"""


async def called_for(world: World, *facts: Any) -> list[Any]:
    """The calls these facts lead to."""
    office = Office(world)
    await office.activated(POLICY)
    await office.assign({"policy": "by-phone"})
    await settled(world, *(facts or (late(days=2, received=0),)))
    return await tasks(world, queue="phone")


def notifier(said: Any, *, status: int = 200, heard: list[Any] | None = None) -> httpx.AsyncClient:
    """A notifier that gives this answer to the question whether a person may make a contact."""
    app = FastAPI()

    @app.post("/v1/contacts:authorize")
    async def authorize(request: Request) -> Response:
        if heard is not None:
            heard.append((await request.json(), request.headers["authorization"]))
        return answer(said, status)

    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://notifier")


@asynccontextmanager
async def beside(engine: AsyncEngine, client: httpx.AsyncClient) -> AsyncIterator[World]:
    """A scheduler connected to this notifier."""
    async with client, scheduling(engine, notifier=client) as world:
        yield world


async def test_the_most_urgent_task_comes_first_and_pages_follow_each_other(world: World) -> None:
    office = Office(world)
    await office.activated(POLICY)
    await office.assign({"policy": "by-phone"})
    await world.tell(*(late(f"L{n}", f"B{n}", days=2) for n in range(3)), late("LX", "BX", days=2, total=60000))
    await world.settle()
    whole = await tasks(world, queue="phone")
    assert whole[0]["borrower_id"] == "BX"
    assert [task["priority"] for task in whole] == [90, 50, 50, 50, 50]
    paged, cursor = [], None
    for _ in range(5):
        page = await world.get("/tasks", queue="phone", limit=1, **({"cursor": cursor} if cursor else {}))
        paged += page["items"]
        cursor = page["next"]
    assert (paged, cursor) == (whole, None)


async def test_of_two_persons_who_claim_the_same_task_one_gets_it(world: World) -> None:
    (task,) = await called_for(world)
    path = f"/v1/tasks/{task['task_id']}:claim"
    asked = [world.http.post(path, headers={"Authorization": f"Bearer {key}"}) for key in (KEY, OTHER_KEY)]
    answers = await asyncio.gather(*asked)
    assert sorted(one.status_code for one in answers) == [200, 409]
    refused = next(one.json() for one in answers if one.status_code == 409)
    holder = next(one.json() for one in answers if one.status_code == 200)["claimed_by"]
    assert (refused["code"], refused["claimed_by"]) == ("conflict", holder)


async def test_a_claim_lapses_and_its_holder_can_renew_it(world: World) -> None:
    (task,) = await called_for(world)
    path = f"/tasks/{task['task_id']}"
    other = {"Authorization": f"Bearer {OTHER_KEY}"}
    await post(world, f"{path}:claim", status=200)
    world.clock.advance(timedelta(minutes=20))
    await post(world, f"{path}:claim", status=200)
    world.clock.advance(timedelta(minutes=20))
    await post(world, f"{path}:claim", status=409, **other)
    assert await tasks(world, queue="phone", state="open") == []
    world.clock.advance(timedelta(minutes=10))
    assert [one["state"] for one in await tasks(world, queue="phone", state="open")] == ["open"]
    assert (await post(world, f"{path}:claim", status=200, **other))["claimed_by"] == "ola"
    await post(world, f"{path}:complete", {}, status=409)


async def test_a_task_is_given_back_by_its_holder_only(world: World) -> None:
    (task,) = await called_for(world)
    path = f"/tasks/{task['task_id']}"
    await post(world, f"{path}:claim", status=200)
    await post(world, f"{path}:release", status=409, Authorization=f"Bearer {OTHER_KEY}")
    assert (await post(world, f"{path}:release", status=200))["state"] == "open"
    assert (await post(world, f"{path}:release", status=200))["state"] == "open"
    kinds = [line["kind"] for line in await world.story()]
    assert (kinds.count("task.claimed"), kinds.count("task.released")) == (1, 1)


async def test_a_claim_comes_with_the_debts_and_the_answer_of_the_gate(engine: AsyncEngine) -> None:
    heard: list[Any] = []
    said = {"decision": "allow", "reservation": "r-1", "until": "2026-11-24T02:30:00Z"}
    async with beside(engine, notifier(said, heard=heard)) as world:
        (task,) = await called_for(world)
        claimed = await post(world, f"/tasks/{task['task_id']}:claim", status=200)
    assert claimed["gate"] == {**said, "may_contact": True, "channel": "call"}
    assert [(debt["loan_id"], debt["overdue"]) for debt in claimed["context"]["debts"]] == [("L1", 12050)]
    assert heard == [({"borrower_id": "B1", "debt": "L1", "channel": "call", "by": "mei"}, f"Bearer {KEY}")]


@pytest.mark.parametrize(
    ("said", "status", "may", "why"),
    [({"decision": "deny", "earliest": None, "rules": []}, 200, False, None), ({}, 200, False, "the notifier answers 200"),
     ({"decision": "allow"}, 503, False, "the notifier answers 503"), (["allow"], 200, False, "the notifier answers 200")],
)  # fmt: skip
async def test_whoever_gets_no_leave_from_the_gate_may_not_dial(
    engine: AsyncEngine, said: Any, status: int, may: bool, why: str | None
) -> None:
    async with beside(engine, notifier(said, status=status)) as world:
        (task,) = await called_for(world)
        gate = (await post(world, f"/tasks/{task['task_id']}:claim", status=200))["gate"]
    assert (gate["may_contact"], gate.get("why")) == (may, why)


async def test_where_nobody_can_be_asked_the_claim_is_given_without_leave_to_dial(world: World) -> None:
    (task,) = await called_for(world)
    claimed = await post(world, f"/tasks/{task['task_id']}:claim", status=200)
    assert (claimed["state"], claimed["gate"]["may_contact"]) == ("claimed", False)
    assert "DUNWELL_NOTIFIER_URL" in claimed["gate"]["why"]


async def test_a_completed_call_is_recorded_with_its_promise(world: World) -> None:
    (task,) = await called_for(world)
    path = f"/tasks/{task['task_id']}:complete"
    body = {"result": "promise", "promise": {"amount": 12050, "due_on": day(4)}, "reason": "illness", "note": "pays on Friday"}
    done = await post(world, path, body, status=200)
    assert (done["state"], done["result"], done["done_by"]) == ("done", "promise", "mei")
    assert (await post(world, path, body, status=200))["result"] == "promise"
    await world.scheduler.pump()
    (told,) = world.of("contact.recorded")
    assert (told.channel, told.result) == ("call", "promise")
    assert len(world.of("case.promise_made")) == 1
    assert (await world.next_contact())["reason"] == "promise"


async def test_a_task_is_not_given_an_outcome_or_a_promise_that_it_cannot_have(world: World) -> None:
    (task,) = await called_for(world)
    path = f"/tasks/{task['task_id']}:complete"
    await post(world, path, {"outcome": "upheld"}, status=422)
    await post(world, path, {"promise": {"amount": 1, "due_on": day(1)}}, status=422)
    await post(world, path, {"result": "promise"}, status=422)
    await post(world, path, {"result": "promise", "promise": {"amount": 10**9, "due_on": day(1)}}, status=409)
    assert [one["state"] for one in await tasks(world)] == ["open"]
    await post(world, "/tasks/h-unknown:claim", status=404)


async def test_a_task_that_is_not_done_in_time_is_said_to_be_late_once(world: World) -> None:
    (task,) = await called_for(world)
    await world.at(world.clock.now() + timedelta(hours=4, minutes=1))
    await world.scheduler.pump()
    (event,) = world.of("case.task_overdue")
    assert (event.reason, event.detail["task_id"], event.detail["queue"]) == ("call", task["task_id"], "phone")
    assert (await tasks(world, queue="phone"))[0]["breached_at"] is not None
    assert b"tasks_breached_total 1.0" in world.scheduler.app.state.metrics.exposed()


async def test_a_task_that_was_done_in_time_is_never_late(world: World) -> None:
    (task,) = await called_for(world)
    await post(world, f"/tasks/{task['task_id']}:complete", {"result": "no_answer"}, status=200)
    await world.at(world.clock.now() + timedelta(hours=9))
    assert world.of("case.task_overdue") == []


async def test_a_task_is_read_with_what_its_person_is_to_say_and_the_context_of_its_case(world: World) -> None:
    (task,) = await called_for(world)
    read = await world.get(f"/tasks/{task['task_id']}")
    assert (read["script"], read["context"]["debts"][0]["loan_id"], read["state"]) == ("Ask for a date.", "L1", "open")
    assert "gate" not in read, "asking the gate holds a slot: it is asked by who claims"
    claimed = await post(world, f"/tasks/{task['task_id']}:claim", status=200)
    assert (claimed["script"], claimed["context"]) == (read["script"], read["context"])
    assert (await world.http.get("/v1/tasks/nope")).status_code == 404


async def test_work_that_no_policy_words_says_by_itself_what_is_to_be_done(world: World) -> None:
    await settled(world)
    await world.local(15, 12)
    (task,) = await tasks(world, queue="review")
    assert "Every message of the policy was sent" in (await world.get(f"/tasks/{task['task_id']}"))["script"]


async def test_work_about_late_money_is_withdrawn_when_nothing_is_late_any_more(world: World) -> None:
    (task,) = await called_for(world)
    await world.tell(paid(received=12050))
    await world.settle()
    (told,) = world.of("case.task_withdrawn")
    assert (told.reason, told.detail["task_id"], told.detail["about"]) == ("nothing_owed", task["task_id"], "call")
    read = await world.get(f"/tasks/{task['task_id']}")
    assert (read["state"], read["result"], read["done_by"]) == ("done", "withdrawn", "policy")
    assert "case.task_withdrawn" in [line["kind"] for line in await world.story()]
    await post(world, f"/tasks/{task['task_id']}:claim", status=409)
    await world.local(3, 12)
    assert (world.of("case.task_overdue"), len(world.of("case.task_withdrawn"))) == ([], 1)


async def test_work_that_was_withdrawn_is_given_again_when_money_is_late_again_in_the_spell(world: World) -> None:
    (task,) = await called_for(world)
    await world.tell(paid(received=12050))
    await world.settle()
    await world.tell(late(days=2, version=3, received=0))
    await world.settle()
    (again,) = await tasks(world, queue="phone", state="open")
    assert (again["about"], again["occurrence"], again["task_id"] != task["task_id"]) == ("call", 2, True)


async def test_a_call_made_while_its_task_was_withdrawn_is_recorded(world: World) -> None:
    (task,) = await called_for(world)
    await post(world, f"/tasks/{task['task_id']}:claim", status=200)
    await world.tell(paid(received=12050))
    await world.settle()
    path = f"/tasks/{task['task_id']}:complete"
    assert (await post(world, path, {"note": "nothing to do"}, status=200))["result"] == "withdrawn"
    assert (await post(world, path, {"result": "no_answer"}, status=200))["result"] == "no_answer"
    assert (await post(world, path, {"result": "no_answer"}, status=200))["result"] == "no_answer"
    await world.scheduler.pump()
    assert [told.channel for told in world.of("contact.recorded")] == ["call"]


async def test_work_about_a_stop_or_a_reply_stays_when_the_money_has_come(world: World) -> None:
    case = await settled(world)
    await world.outcome(world.of("contact.requested")[0], "replied", 1, reason="help")
    await post(world, f"/cases/{case}/holds", {"stop": "manual"})
    await world.scheduler.pump()
    await world.tell(paid(received=12050))
    await world.settle()
    assert sorted(task["kind"] for task in await tasks(world, state="open")) == ["reply", "stop_without_end"]
    assert world.of("case.task_withdrawn") == []
