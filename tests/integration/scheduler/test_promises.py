"""Promises to pay: contacts pause, and the facts decide what becomes of them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.scheduler.desk import case_of, post, promise, settled
from tests.integration.scheduler.world import World, late, paid


async def state(world: World) -> list[Any]:
    """The promises of the case."""
    return [(one["state"], one["paid"]) for one in (await world.get(f"/cases/{await case_of(world)}/promises"))["items"]]


async def test_contacts_rest_while_a_promise_is_open_and_go_on_at_once_when_it_is_broken(world: World) -> None:
    await settled(world)
    made = await promise(world, in_days=2)
    await world.scheduler.pump()
    assert [task.reason for task in world.of("contact.cancelled")] == ["promise"]
    assert [(held.stop, held.loan_id) for held in world.of("case.hold_set")] == [("promise", "L1")]
    answer = await world.next_contact()
    assert (answer["at"], answer["reason"], answer["until"]) == (None, "promise", made["until"])
    assert (await world.get("/coverage"))["uncontacted"] == 0
    await world.local(3, 23)
    assert len(world.of("contact.requested")) == 1
    await world.local(4, 0, 1)
    assert [event.detail["promise_id"] for event in world.of("case.promise_broken")] == [made["promise_id"]]
    assert [event.reason for event in world.of("case.released")] == ["promise_broken"]
    await world.local(4, 10, 15)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]
    assert await state(world) == [("broken", 0)]


async def test_a_promise_is_kept_by_what_is_paid_even_when_that_ends_the_debt(world: World) -> None:
    await settled(world)
    await promise(world)
    await world.tell(paid(received=12050))
    await world.settle()
    assert await state(world) == [("kept", 12050)]
    (event,) = world.of("case.promise_kept")
    assert (event.detail["amount"], event.detail["paid"]) == (12050, 12050)
    assert [ended.hold_id for ended in world.of("case.hold_ended")] == [held.hold_id for held in world.of("case.hold_set")]


async def test_a_part_that_is_paid_in_time_partly_keeps_it(world: World) -> None:
    await settled(world)
    await promise(world, in_days=2)
    await world.tell(late(version=2, total=7050, received=5000))
    await world.settle()
    assert await state(world) == [("open", 5000)]
    await world.local(4, 0, 1)
    assert await state(world) == [("partly_kept", 5000)]


async def test_a_payment_that_is_taken_back_breaks_a_kept_promise(world: World) -> None:
    await settled(world)
    await promise(world, 5000)
    await world.tell(late(version=2, total=7050, received=5000))
    await world.settle()
    await world.tell(late(version=3, total=12050, received=0))
    await world.settle()
    assert await state(world) == [("broken", 0)]
    assert [len(world.of(f"case.promise_{name}")) for name in ("made", "kept", "broken")] == [1, 1, 1]


async def test_a_debt_that_is_waived_leaves_nothing_to_keep(world: World) -> None:
    await settled(world)
    await promise(world)
    await world.tell(paid(received=0))
    await world.settle()
    assert await state(world) == [("invalidated", 0)]


async def test_one_payment_keeps_one_promise_the_older_one_first(world: World) -> None:
    await settled(world)
    await promise(world, 6000, in_days=5)
    await world.local(0, 11)
    await promise(world, 6000, in_days=3)
    await world.tell(late(version=2, total=4050, received=8000))
    await world.settle()
    assert sorted(await state(world)) == [("kept", 6000), ("open", 2000)]
    first = next(one for one in (await world.get(f"/cases/{await case_of(world)}/promises"))["items"] if one["state"] == "kept")
    assert first["due_on"] == "2026-11-29"


async def test_a_promise_about_one_debt_lets_the_other_be_spoken_of(world: World) -> None:
    await world.local(1, 8)
    await settled(world, late(received=0), late("L2", received=0))
    await promise(world, loans=["L1"], in_days=4)
    await world.local(1, 10, 15)
    assert [[debt.loan_id for debt in task.debts] for task in world.of("contact.requested")] == [["L2"]]


async def test_a_promise_can_be_taken_back_and_the_case_goes_on(world: World) -> None:
    await settled(world)
    made = await promise(world, in_days=9)
    path = f"/cases/{made['case_id']}/promises/{made['promise_id']}:cancel"
    assert (await post(world, path, {"reason": "mistyped"}, status=200))["state"] == "cancelled"
    assert (await post(world, path, status=200))["state"] == "cancelled"
    await world.local(2, 10, 15)
    assert [task.step for task in world.of("contact.requested")] == ["gentle", "firm"]
    assert [event.reason for event in world.of("case.promise_cancelled")] == ["mistyped"]


@pytest.mark.parametrize(("amount", "in_days", "limit"), [(12051, 3, "overdue"), (100, 32, "max_days"), (100, -1, "max_days")])
async def test_a_promise_beyond_the_limits_is_refused(world: World, amount: int, in_days: int, limit: str) -> None:
    await settled(world)
    refused = await promise(world, amount, in_days=in_days, status=409)
    assert (refused["code"], refused["limit"]) == ("promise_refused", limit)


async def test_fifty_is_not_taken_for_fifty_cents_nor_a_text_for_a_number(world: World) -> None:
    path = f"/cases/{await settled(world)}/promises"
    for amount in (50.0, "50"):
        refused = await post(world, path, {"amount": amount, "due_on": "2026-11-26"}, status=422)
        assert refused["detail"] == "body.amount: a whole number belongs here"


async def test_open_promises_together_are_of_no_more_than_is_late(world: World) -> None:
    await settled(world)
    made = await promise(world, 9000)
    refused = await promise(world, 3051, status=409)
    assert (refused["code"], refused["limit"], refused["allowed"]) == ("promise_refused", "overdue", 3050)
    await promise(world, 3050)
    await post(world, f"/cases/{made['case_id']}/promises/{made['promise_id']}:cancel", status=200)
    await promise(world, 9000)


async def test_only_so_many_promises_are_open_at_once(world: World) -> None:
    await settled(world)
    for _ in range(3):
        await promise(world, 1000)
    assert (await promise(world, 1000, status=409))["limit"] == "max_open"


async def test_a_promise_that_is_sent_again_is_made_once(world: World) -> None:
    case = await settled(world)
    body = {"amount": 500, "due_on": "2026-11-26"}
    first, again = [await post(world, f"/cases/{case}/promises", body, key="p" * 255) for _ in range(2)]
    assert first == again
    other = await post(world, f"/cases/{case}/promises", {**body, "amount": 600}, key="p" * 255, status=422)
    assert other["code"] == "idempotency_key_reused"
    assert await state(world) == [("open", 0)]
