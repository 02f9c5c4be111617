"""From an event to a message, and from a payment to silence, on a clock that is moved by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.e2e.world import MORNING, TODAY, World, borrower, late_loan, one_process, payment
from tests.support.postgres import Databases
from tests.support.wallet import event


async def test_a_loan_one_day_late_gets_one_message_that_names_what_is_owed(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(minutes=30)
    [message] = await world.messages("B1")
    assert message["to"].startswith("+8613")
    assert "120.50" in message["body"]
    await world.let_pass(hours=20)
    assert len(await world.messages("B1")) == 1


async def test_two_late_loans_of_one_borrower_are_one_message_that_names_their_sum(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"), late_loan("L2", "B1", days=3))
    await world.let_pass(hours=20)
    [message] = await world.messages("B1")
    assert "241.00" in message["body"]


async def test_two_loans_that_come_apart_within_the_rest_of_a_case_are_one_message(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(seconds=1)
    await world.publish(late_loan("L2", "B1"))
    await world.let_pass(hours=1)
    [message] = await world.messages("B1")
    assert "241.00" in message["body"]


async def test_a_loan_that_is_paid_gets_no_message_while_another_gets_one(world: World) -> None:
    await world.publish(
        *borrower("payer"), *borrower("witness"), late_loan("L1", "payer"), payment("L1", 12050), late_loan("L2", "witness")
    )
    await world.let_pass(hours=20)
    assert len(await world.messages("witness")) == 1
    assert await world.messages("payer") == []


async def test_a_payment_just_before_the_message_silences_it(world: World) -> None:
    await world.publish(*borrower("payer"), *borrower("witness"), late_loan("L1", "payer"))
    await world.let_pass(seconds=1.9)
    await world.publish(payment("L1", 12050), late_loan("L2", "witness"))
    await world.let_pass(hours=20)
    assert len(await world.messages("witness")) == 1
    assert await world.messages("payer") == []


async def test_the_message_names_what_is_still_owed_after_a_part_was_paid(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"), payment("L1", 5000))
    await world.let_pass(hours=1)
    [message] = await world.messages("B1")
    assert "70.50" in message["body"]
    assert "120.50" not in message["body"]


@pytest.mark.parametrize("status", ["deceased", "insolvent", "cease"])
async def test_whoever_must_be_left_in_peace_is(world: World, status: str) -> None:
    stopped = event(
        "borrower.status", recorded=MORNING, borrower_id="B1", status_id="s1", status=status, **{"from": "2026-11-24T00:00:00+00:00"}
    )
    await world.publish(*borrower("B1"), stopped, *borrower("witness"), late_loan("L1", "B1"), late_loan("L2", "witness"))
    await world.let_pass(days=4)
    assert await world.messages("B1") == []
    assert len(await world.messages("witness")) >= 1
    assert (await world.get("/scheduler/v1/coverage"))["uncontacted"] == 0


async def test_at_night_nobody_is_contacted_and_the_next_moment_is_ten_in_the_morning(databases: Databases) -> None:
    night = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    async with databases.fresh("ingest", "scheduler", "notifier", pool_size=16) as engine, one_process(engine, start=night) as world:
        await world.publish(*borrower("B1"), late_loan("L1", "B1"))
        await world.let_pass(minutes=5)
        planned = await world.get(f"/scheduler/v1/cases/{(await world.case('B1'))['case_id']}/next-contact")
        at = datetime.fromisoformat(planned["at"])
        assert (at.date(), at.hour) == (TODAY, 10)
        await world.pass_time(at - timedelta(seconds=1))
        assert await world.messages("B1") == []
        await world.let_pass(hours=1)
        [message] = await world.messages("B1")
        assert datetime.fromisoformat(message["accepted_at"]) >= at


async def test_a_case_tells_its_story_in_order(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(hours=1)
    await world.publish(payment("L1", 12050, at=world.clock.now()))
    await world.let_pass(hours=1)
    story = await world.story("B1")
    moments = [datetime.fromisoformat(entry["at"]) for entry in story]
    assert moments == sorted(moments)
    kinds = [entry["kind"] for entry in story]
    assert kinds.index("case.opened") < kinds.index("contact.requested") < kinds.index("contact.sent") < kinds.index("case.cured")


async def test_the_ladder_is_climbed_once_a_step_and_ends_with_work_for_a_person(world: World) -> None:
    await world.publish(*borrower("B1"), late_loan("L1", "B1"))
    await world.let_pass(days=15)
    templates = [entry["detail"]["step"] for entry in await world.story("B1") if entry["kind"] == "contact.requested"]
    assert templates == ["gentle", "firm", "final"]
    assert len(await world.messages("B1")) == 3
    [task] = (await world.get("/scheduler/v1/tasks"))["items"]
    assert (task["queue"], task["borrower_id"]) == ("review", "B1")
    assert (await world.get("/scheduler/v1/coverage"))["uncontacted"] == 0
