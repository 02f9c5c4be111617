"""Agreements with a borrower, through all three services: they silence, are measured by payments, and stop the clock."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.e2e.world import MORNING, World, borrower, late_loan, payment


async def do(world: World, borrower_id: str, what: str, body: Any) -> Any:
    """Write to the borrower's case, wait until all is settled, and return the answer."""
    case = (await world.case(borrower_id))["case_id"]
    answer = await world.http.post(f"/scheduler/v1/cases/{case}/{what}", json=body)
    assert answer.status_code == 201, answer.text
    await world.quiet()
    return answer.json()


async def fate(world: World, borrower_id: str) -> list[Any]:
    case = (await world.case(borrower_id))["case_id"]
    items = (await world.get(f"/scheduler/v1/cases/{case}/promises"))["items"]
    return [(one["state"], one["paid"]) for one in items]


async def two_late(world: World) -> None:
    """Two borrowers a day late, who have not been contacted."""
    await world.publish(*borrower("B1"), *borrower("witness"), late_loan("L1", "B1"), late_loan("L2", "witness"))
    await world.quiet()


async def test_a_promise_silences_and_is_kept_by_a_payment_that_ends_the_loan(world: World) -> None:
    await two_late(world)
    await do(world, "B1", "promises", {"amount": 12050, "due_on": "2026-11-26"})
    await world.let_pass(days=1)
    assert (await world.messages("B1"), len(await world.messages("witness"))) == ([], 1)
    await world.publish(payment("L1", 12050, at=world.clock.now()))
    await world.let_pass(minutes=1)
    assert await fate(world, "B1") == [("kept", 12050)]
    assert (await world.get("/scheduler/v1/coverage"))["uncontacted"] == 0


async def test_a_broken_promise_is_followed_by_the_message_whose_day_it_is(world: World) -> None:
    await two_late(world)
    await do(world, "B1", "promises", {"amount": 12050, "due_on": "2026-11-25"})
    await world.publish(payment("L1", 2050, at=MORNING))
    await world.let_pass(days=1)
    assert await fate(world, "B1") == [("open", 2050)]
    await world.let_pass(days=2)
    assert await fate(world, "B1") == [("partly_kept", 2050)]
    [message] = await world.messages("B1")
    assert "100.00" in message["body"]


async def test_a_hold_that_pauses_the_clock_is_known_to_ingest_until_it_ends(world: World) -> None:
    await two_late(world)
    held = await do(world, "B1", "holds", {"stop": "hardship", "pause": True})
    await world.let_pass(days=3)
    assert [pause["until"] for pause in (await world.get("/ingest/v1/loans/L1"))["pauses"]] == [None]
    ended = await world.http.delete(f"/scheduler/v1/cases/{held['case_id']}/holds/{held['hold_id']}")
    assert ended.status_code == 200
    await world.let_pass(days=2)
    state = await world.get("/ingest/v1/loans/L1")
    assert (state["past_due_days"], state["paused_days"]) == (6, 3)
    assert await world.messages("B1") != []


async def test_a_wrong_number_leaves_the_other_channel(world: World) -> None:
    await two_late(world)
    await do(world, "B1", "contacts", {"channel": "call", "result": "wrong_number"})
    await world.let_pass(hours=1)
    assert [message["channel"] for message in await world.messages("B1")] == ["email"]
    assert [message["channel"] for message in await world.messages("witness")] == ["sms"]


async def test_a_call_is_in_the_ledger_of_contacts_that_caps_count(world: World) -> None:
    await two_late(world)
    made = await do(world, "B1", "contacts", {"channel": "call", "result": "right_party", "loan_id": "L1"})
    [contact] = (await world.get("/notifier/v1/borrowers/B1/contacts"))["items"]
    assert (contact["contact_id"], contact["channel"], contact["result"]) == (made["contact_id"], "call", "conversation")


async def test_a_dispute_of_one_loan_leaves_it_out_of_the_message(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"), late_loan("L2", "B1", amount=5000))
    await world.quiet()
    await do(world, "B1", "disputes", {"loan_id": "L1"})
    await world.let_pass(hours=1)
    [message] = await world.messages("B1")
    assert "50.00" in message["body"]
    assert "120.50" not in message["body"]
    assert "170.50" not in message["body"]


async def test_a_claimed_call_has_the_answer_of_the_gate_or_no_leave_to_dial(world: World) -> None:
    await two_late(world)
    await do(world, "B1", "complaints", {"note": "too many messages"})
    await world.let_pass(minutes=1)
    [task] = (await world.get("/scheduler/v1/tasks", queue="complaints"))["items"]
    claimed = (await world.http.post(f"/scheduler/v1/tasks/{task['task_id']}:claim")).json()
    assert (claimed["claimed_by"], claimed["gate"]) == ("dev", None)
    await world.pass_time(MORNING + timedelta(days=2, hours=1))
    [late] = [line for line in await world.story("B1") if line["kind"] == "case.task_overdue"]
    assert late["detail"]["task_id"] == task["task_id"]
