"""Policies simulated before anybody approves them."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.common import auth
from services.scheduler.store.simulations import LOST_AFTER
from tests.integration.scheduler.policy_world import DOCUMENT, OTHER_KEY, YAML, Office
from tests.integration.scheduler.simulating import ask, introduce, simulated, simulator
from tests.integration.scheduler.world import MORNING, World, due_soon, late, paid, scheduling
from tests.support.postgres import Databases

NIGHTLY = DOCUMENT.replace("gentle-ones", "nightly").replace('between: "10:00-11:30"', 'between: "04:00-06:00"')
FALLING = [{"day": 3, "share": 9}, {"day": 2, "share": 9}]
SMS_PRICES = {"currency": "CNY", "millionths": {"sms": 50_000}, "sms_parts": {"firm": 2}}


async def late_and_told(world: World, *borrowers: str) -> None:
    """Overdue borrowers who had their first message today."""
    for name in borrowers:
        await introduce(world, name)
    await world.tell(*(late(f"L-{name}", name) for name in borrowers))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "delivered", 1, channel="sms")
    await world.settle()


async def test_a_document_is_played_forward_from_the_present_book(world: World) -> None:
    await late_and_told(world, "B1")
    done = await simulated(world, document=DOCUMENT, prices=SMS_PRICES)
    assert (done["state"], done["progress"]) == ("done", {"done": 1, "total": 1})
    result = done["result"]
    assert result["contacts"]["days"] == [
        {"on": "2026-11-25", "channel": "sms", "number": 1}, {"on": "2026-11-30", "channel": "sms", "number": 1},
    ]  # fmt: skip
    assert [(step["step"], step["done"]) for step in result["steps"]] == [("firm", 1), ("hello", 1)]
    assert result["cost"] == {"currency": "CNY", "millionths": 150_000, "by_channel": {"sms": 150_000}}
    assert result["tasks"] == [{"queue": "phone", "kind": "call", "number": 1}]
    assert (result["uncontacted"]["number"], result["never_reached"]["number"]) == (0, 0)
    assert [step["step"] for step in result["active"]["steps"]] == ["final", "firm"]
    assert (result["difference"]["contacts"], result["difference"]["tasks"]) == (0, 0)


async def test_what_the_gate_refuses_is_counted_by_rule_with_its_citation_and_leaves_somebody_unreached(world: World) -> None:
    await introduce(world)
    await world.tell(late())
    result = (await simulated(world, document=NIGHTLY, days=5))["result"]
    [refusal] = result["refusals"]
    assert (refusal["rule"], bool(refusal["cite"]), refusal["number"]) == ("zz-hours", True, 5 * 2)
    hello = next(step for step in result["steps"] if step["step"] == "hello")
    assert (hello["asked"], hello["expired"], hello["deferred_by"]) == (5, 5, {"zz-hours": 5})
    assert result["never_reached"] == {"number": 1, "reasons": {"zz-hours": 1}}


async def test_a_stated_behaviour_pays_and_the_same_seed_pays_the_same(world: World) -> None:
    await late_and_told(world, *(f"B{n}" for n in range(12)))
    behaviour = {"share_paying_after_contact": 50, "cured_by_day": [{"day": 10, "share": 20}], "seed": 7}
    first, second = [await simulated(world, document=DOCUMENT, behaviour=behaviour) for _ in range(2)]
    other = await simulated(world, document=DOCUMENT, behaviour={**behaviour, "seed": 8})
    assert 0 < first["result"]["cured"] < 12
    assert first["hash"] == second["hash"] != other["hash"]
    assert first["result"]["paid"] == second["result"]["paid"]


async def test_reminders_and_instalments_that_come_due_are_played_for_borrowers_without_a_case(world: World) -> None:
    await introduce(world)
    await world.tell(due_soon(in_days=5))
    await world.settle()
    reminding = DOCUMENT.replace(
        "steps:\n", 'steps:\n  - {id: soon, at: {day: -3, between: "10:00-11:30"}, send: {template: due_soon, channels: [sms]}}\n'
    )
    result = (await simulated(world, document=reminding))["result"]
    assert [(day["on"], day["number"]) for day in result["contacts"]["days"]] == [("2026-11-26", 1), ("2026-11-30", 1), ("2026-12-06", 1)]
    assert result["opened"] == 1
    kept = await simulated(world, document=reminding, behaviour={"share_paying_when_due": 100})
    assert [(day["on"], day["number"]) for day in kept["result"]["contacts"]["days"]] == [("2026-11-26", 1)]


async def test_the_recorded_past_is_played_with_what_was_known_then(world: World) -> None:
    await introduce(world)
    await world.tell(late())
    await world.settle()
    for day in range(1, 10):
        await world.local(day, 12)
        if day == 5:
            await world.tell(paid())
    asked: dict[str, Any] = {"mode": "past", "days": None, "from": MORNING.isoformat(), "to": (MORNING + timedelta(days=9)).isoformat()}
    result = (await simulated(world, document=DOCUMENT, **asked))["result"]
    assert [(day["on"], day["number"]) for day in result["contacts"]["days"]] == [("2026-11-24", 1)], "firm was never due: it was paid"
    assert (result["opened"], result["cured"]) == (1, 1)
    assert [step["step"] for step in result["active"]["steps"]] == ["firm", "gentle"]


async def test_an_approval_is_pinned_to_the_result_that_was_seen(world: World) -> None:
    office = Office(world)
    await office.hire(OTHER_KEY, "ola")
    await office.draft()
    path = "/policies/gentle-ones/versions/1"
    done = await simulated(world, policy="gentle-ones", version=1)
    assert (await office.ask("POST", f"{path}:submit")).status_code == 200
    approved = await office.ask("POST", f"{path}:approve", key=OTHER_KEY, json={"simulation": done["simulation_id"]})
    assert approved.status_code == 200, approved.text
    pinned = {"simulation_id": done["simulation_id"], "hash": done["hash"]}
    assert approved.json()["simulation"] == pinned
    link = (await world.get("/policies/gentle-ones/history"))["items"][-1]
    assert link["detail"] == {"comment": None, "simulation": pinned["simulation_id"], "simulation_hash": pinned["hash"]}


async def test_a_draft_that_was_changed_since_makes_its_simulation_stale(world: World) -> None:
    office = Office(world)
    await office.hire(OTHER_KEY, "ola")
    await office.draft()
    path = "/policies/gentle-ones/versions/1"
    done = await simulated(world, policy="gentle-ones", version=1)
    put = await office.ask("PUT", path, content=DOCUMENT.replace("day: 7", "day: 6"), headers={**YAML, "If-Match": "*"})
    assert put.status_code == 200, put.text
    await office.ask("POST", f"{path}:submit")
    refused = await office.ask("POST", f"{path}:approve", key=OTHER_KEY, json={"simulation": done["simulation_id"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "stale_simulation")
    waiting = await ask(world, policy="gentle-ones", version=1)
    refused = await office.ask("POST", f"{path}:approve", key=OTHER_KEY, json={"simulation": waiting["simulation_id"]})
    assert (refused.status_code, refused.json()["code"]) == (409, "simulation_not_done")


async def test_one_that_waits_can_be_ended_and_one_that_has_ended_cannot(world: World) -> None:
    made = await ask(world, document=DOCUMENT)
    ended = await world.http.delete(f"/v1/simulations/{made['simulation_id']}")
    assert (ended.status_code, ended.json()["state"]) == (200, "cancelled")
    assert not await simulator(world.engine, world.clock).run_one(asyncio.Event())
    done = await simulated(world, document=DOCUMENT)
    refused = await world.http.delete(f"/v1/simulations/{done['simulation_id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "wrong_state")
    items = (await world.get("/simulations", policy="gentle-ones"))["items"]
    assert sorted(item["state"] for item in items) == ["cancelled", "done"]


async def test_one_that_is_ended_while_it_runs_stays_ended(world: World) -> None:
    await world.tell(*(late(f"L{n}", f"B{n}") for n in range(200)))
    path = f"/simulations/{(await ask(world, document=DOCUMENT))['simulation_id']}"
    playing = asyncio.create_task(simulator(world.engine, world.clock, borrowers=1).run_one(asyncio.Event()))
    async with asyncio.timeout(20):
        while not (await world.get(path))["progress"]["done"]:
            assert not playing.done()
    assert (await world.http.delete(f"/v1{path}")).status_code == 200
    assert await playing
    ended = await world.get(path)
    assert (ended["state"], ended["result"]) == ("cancelled", None)
    assert 0 < ended["progress"]["done"] < 200


async def test_one_whose_process_is_gone_is_interrupted_and_says_so(world: World) -> None:
    made = await ask(world, document=DOCUMENT)
    async with world.engine.begin() as conn:
        await conn.exec_driver_sql("update scheduler.simulations set state = 'running', seen_at = '2026-11-24T00:00:00Z'")
    world.clock.advance(LOST_AFTER)
    assert not await simulator(world.engine, world.clock).run_one(asyncio.Event())
    lost = await world.get(f"/simulations/{made['simulation_id']}")
    assert (lost["state"], lost["reason"]) == ("interrupted", "process_gone")


async def test_the_same_request_again_is_the_same_simulation_and_nobody_else_sees_it(world: World) -> None:
    headers = {"Idempotency-Key": "k" * 255}
    asked = {"mode": "forward", "days": 3, "document": DOCUMENT}
    made, again = [await world.http.post("/v1/simulations", json=asked, headers=headers) for _ in range(2)]
    first, second = made.json(), again.json()
    assert made.headers["Location"] == f"/v1/simulations/{first['simulation_id']}"
    assert first["simulation_id"] == second["simulation_id"]
    await Office(world).hire("dw_foreign", "eve", tenant="foreign", scopes=frozenset(auth.SCOPES))
    found = await Office(world).ask("GET", f"/simulations/{first['simulation_id']}", key="dw_foreign")
    assert found.status_code == 404


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({"mode": "forward", "days": 181, "document": DOCUMENT}, 422),
        ({"mode": "forward", "days": 3}, 422),
        ({"mode": "past", "from": "2026-11-24T00:00:00Z", "to": "2026-11-23T00:00:00Z", "document": DOCUMENT}, 422),
        ({"mode": "forward", "days": 3, "document": "policy: x"}, 422),
        ({"mode": "forward", "days": 3, "policy": "none", "version": 1}, 404),
        ({"mode": "forward", "days": 3, "document": DOCUMENT, "behaviour": {"cured_by_day": FALLING}}, 422),
    ],
)  # fmt: skip
async def test_what_cannot_be_simulated_is_refused(world: World, asked: dict[str, Any], status: int) -> None:
    assert (await world.http.post("/v1/simulations", json=asked)).status_code == status


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(portions=st.lists(st.integers(1, 9), min_size=2, max_size=4), seed=st.integers(0, 2**40), days=st.integers(1, 60))
async def test_however_the_book_is_cut_the_result_has_the_same_hash(
    databases: Databases, portions: list[int], seed: int, days: int
) -> None:
    async with databases.fresh("scheduler") as engine, scheduling(engine) as world:
        await late_and_told(world, *(f"B{n}" for n in range(7)))
        behaviour = {"share_paying_after_contact": 30, "cured_by_day": [{"day": 9, "share": 40}], "seed": seed}
        hashes = {
            (await simulated(world, borrowers=number, days=days, document=DOCUMENT, behaviour=behaviour))["hash"] for number in portions
        }
    assert len(hashes) == 1


async def test_processes_of_their_own_give_the_same_hash_as_none(world: World) -> None:
    await late_and_told(world, *(f"B{n}" for n in range(5)))
    alone, apart = [await simulated(world, processes=n, borrowers=2, document=DOCUMENT) for n in (0, 2)]
    assert (apart["state"], apart["hash"]) == ("done", alone["hash"]), apart["reason"]
