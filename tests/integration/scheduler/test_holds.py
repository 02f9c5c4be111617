"""Holds: contacts pause, the clock too if asked, and what ends them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.ports import Record, Subscription
from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC
from tests.integration.scheduler.desk import case_of, post, settled
from tests.integration.scheduler.policy_world import DOCUMENT, Office
from tests.integration.scheduler.simulating import introduce
from tests.integration.scheduler.world import World, late, paid
from tests.support.running import until


async def hold(world: World, **asked: Any) -> Any:
    return await post(world, f"/cases/{await case_of(world)}/holds", asked)


async def end(world: World, held: Any, reason: str = "no_longer_needed", *, status: int = 200) -> Any:
    answered = await world.http.delete(f"/v1/cases/{held['case_id']}/holds/{held['hold_id']}", params={"reason": reason})
    assert answered.status_code == status, answered.text
    return answered.json()


def hours(world: World, number: float) -> str:
    """The moment this many hours from now."""
    return (world.clock.now() + timedelta(hours=number)).isoformat()


@asynccontextmanager
async def ingest_listening(world: World) -> AsyncIterator[list[tuple[str, Any]]]:
    """What arrives on the wallet's topic meanwhile."""
    heard: list[tuple[str, Any]] = []

    async def hear(_: AsyncConnection, records: Sequence[Record]) -> None:
        heard.extend(((r.header("ce_type") or "").removesuffix(".v1"), msgspec.json.decode(r.value or b"")) for r in records)

    ear = world.bus.consume(Subscription("ingest-ear", (LOAN_EVENTS_TOPIC.name,), hear, world.engine, "scheduler"))
    running = asyncio.create_task(ear.run())
    try:
        yield heard
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_hold_takes_back_what_was_asked_for_and_its_end_lets_it_be_said(world: World) -> None:
    await world.tell(late())
    await world.settle()
    (asked,) = world.of("contact.requested")
    held = await hold(world, stop="manual", until=hours(world, 0.5), reason="the borrower is at the desk")
    await world.scheduler.pump()
    assert [(task.task_id, task.reason) for task in world.of("contact.cancelled")] == [(asked.task_id, "manual")]
    (told,) = world.of("case.hold_set")
    assert (told.stop, told.contacts, told.loan_id, told.until.isoformat()) == ("manual", "limited", None, hours(world, 0.5))
    assert (await world.next_contact())["reason"] == "manual"
    assert (await world.get("/coverage"))["uncontacted"] == 0
    await world.at(world.clock.now() + timedelta(minutes=31))
    assert [event.reason for event in world.of("case.released")] == ["until"]
    assert [event.hold_id for event in world.of("case.hold_ended")] == [held["hold_id"]]
    assert (await world.next_contact())["step"] is not None


async def test_a_person_ends_a_hold_without_an_end_and_the_case_goes_on_at_once(world: World) -> None:
    case = await settled(world)
    held = await post(world, f"/cases/{case}/holds", {"stop": "vulnerable"})
    await world.scheduler.pump()
    answer = await world.next_contact()
    (task,) = (await world.get("/tasks"))["items"]
    assert (answer["at"], answer["reason"], answer["ends_with"]) == (None, "vulnerable", task["task_id"])
    ended = await end(world, held, "spoke with the family")
    assert (ended["end_reason"], ended["ended_by"]) == ("spoke with the family", "mei")
    assert (await world.get(f"/tasks/{task['task_id']}"))["state"] == "done"
    await world.scheduler.pump()
    assert (await world.next_contact())["at"] is not None
    assert (await end(world, held))["end_reason"] == "spoke with the family"


async def test_a_hold_in_the_future_stops_nothing_until_it_begins(world: World) -> None:
    await world.tell(late())
    await world.settle()
    await hold(world, stop="manual", **{"from": hours(world, 24), "until": hours(world, 94)})
    await world.local(0, 11)
    assert len(world.of("contact.requested")) == 1
    await world.local(2, 10, 15)
    assert len(world.of("contact.requested")) == 1
    assert (await world.next_contact())["reason"] == "manual"
    await world.local(4, 10, 15)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]


async def test_of_overlapping_holds_the_last_one_to_end_decides(world: World) -> None:
    await world.tell(late())
    await world.settle()
    first, second = await hold(world, stop="manual", until=hours(world, 2)), await hold(world, stop="vulnerable", until=hours(world, 9))
    assert (await world.next_contact())["reason"] == "vulnerable"
    await end(world, second)
    assert (await world.next_contact())["reason"] == "manual"
    await end(world, first)
    assert (await world.next_contact())["reason"] not in {"manual", "vulnerable"}


async def test_a_hold_of_one_debt_lets_the_others_be_spoken_of(world: World) -> None:
    await world.local(1, 8)
    await world.tell(late(), late("L2", days=1))
    await world.settle()
    await hold(world, stop="fraud_victim", loan_id="L1", contacts="none", end={"person": True})
    await world.local(1, 10, 15)
    (task,) = world.of("contact.requested")
    assert [debt.loan_id for debt in task.debts] == ["L2"]


async def test_what_a_hold_of_a_channel_leaves_is_known_to_the_next_contact(world: World) -> None:
    office = Office(world)
    await office.activated(DOCUMENT.replace("template: gentle", "template: gentle, purpose: notice"))
    await office.assign({"policy": "gentle-ones"})
    await world.local(0, 22)
    await introduce(world)
    await world.tell(late())
    await world.settle()
    held = await hold(world, stop="complaint", channel="sms", contacts="limited")
    assert (await world.next_contact())["lawful"]["channel"] == "sms"
    await end(world, held)
    await hold(world, stop="complaint", channel="sms", contacts="none")
    assert (await world.next_contact())["lawful"]["channel"] == "email"


async def test_a_hold_that_ends_with_an_event_ends_with_it(world: World) -> None:
    await world.tell(late())
    await world.settle()
    (task,) = world.of("contact.requested")
    await hold(world, stop="manual", end={"event": "contact.replied"})
    await world.scheduler.pump()
    answer = await world.next_contact()
    assert (answer["reason"], answer["ends_with"], answer["until"]) == ("manual", "contact.replied", None)
    assert (await world.get("/coverage"))["uncontacted"] == 0
    await world.outcome(task, "replied", 3, channel="sms")
    await world.scheduler.pump()
    assert [event.reason for event in world.of("case.released")] == ["contact.replied"]
    await hold(world, stop="manual", end={"event": "debt.cured"})
    await world.tell(paid())
    await world.settle()
    assert [event.reason for event in world.of("case.released")] == ["contact.replied", "debt.cured"]


@pytest.mark.parametrize("event", [None, "contact.replied", "debt.cured"])
async def test_the_clock_rests_with_the_hold_and_goes_on_with_its_early_end(world: World, event: str | None) -> None:
    await world.tell(late())
    await world.settle()
    async with ingest_listening(world) as heard:
        held = await hold(world, stop="hardship", pause=True, end={"event": event} if event else {"person": True})
        assert held["paused"] == ["L1"]
        await world.local(3, 12)
        match event:
            case "contact.replied":
                await world.outcome(world.of("contact.requested")[0], "replied", 3)
            case "debt.cured":
                await world.tell(paid())
            case _:
                await end(world, held)
        await world.settle()
        await until(lambda: len(heard) == 3, "what ingest is told")
    first = {"loan_id": "L1", "from": "2026-11-24", "until": None}
    assert heard[:2] == [("wallet.loan.paused", first), ("wallet.loan.paused", {**first, "until": "2026-11-27"})]
    assert heard[2][0] == "wallet.event.retracted"


async def test_a_request_that_is_sent_again_sets_one_hold(world: World) -> None:
    case = await settled(world)
    body = {"stop": "manual", "until": hours(world, 5)}
    first = await post(world, f"/cases/{case}/holds", body, key="k1")
    again = await post(world, f"/cases/{case}/holds", body, key="k1")
    assert first == again
    assert len((await world.get(f"/cases/{case}/holds"))["items"]) == 1
    await world.scheduler.pump()
    assert len(world.of("case.held")) == 1


async def test_what_cannot_be_a_hold_is_refused(world: World) -> None:
    path = f"/cases/{await settled(world)}/holds"
    in_one, in_two = hours(world, 1), hours(world, 2)
    for body in (
        {"stop": "promise"}, {"stop": "sleepy"}, {"stop": "opt_out"}, {"stop": "manual", "until": hours(world, -1)},
        {"stop": "manual", "until": in_two, "end": {"person": True}}, {"stop": "manual", "until": "2026-12-01T10:00:00"},
        {"stop": "manual", "loan_id": "L9"}, {"stop": "manual", "scope": "debt"}, {"stop": "manual", "end": {"event": "rain"}},
        {"stop": "manual", "untill": in_one}, {"stop": "manual", "from": in_two, "until": in_one},
    ):  # fmt: skip
        await post(world, path, body, status=422)
    await post(world, "/cases/c-unknown/holds", {"stop": "manual"}, status=404)
    assert (await world.get(path))["items"] == []


async def test_holds_of_many_cases_are_counted_confirmed_and_set(world: World) -> None:
    await world.tell(*(late(f"L{n}", f"B{n}") for n in range(7)), late("X", "BX", product="other"))
    await world.settle()
    asked = {"filter": {"products": ["cash-loan"]}, "hold": {"stop": "moratorium", "until": hours(world, 240)}}
    assert (await post(world, "/holds", asked, status=200))["count"] == 7
    assert (await post(world, "/holds", {**asked, "confirm": 8}, status=409))["count"] == 7
    begun = await post(world, "/holds", {**asked, "confirm": 7}, status=202)
    await world.scheduler.pump()
    batch = await world.get(f"/holds/{begun['batch_id']}")
    assert (batch["number"], batch["done"], batch["ended_at"] is None) == (7, 7, False)
    assert len(world.of("case.hold_set")) == 7
    assert len(world.of("contact.cancelled")) == 7
    assert (await world.next_contact("BX"))["reason"] != "moratorium"
