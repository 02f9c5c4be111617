"""What is stored and cannot be read: one case is set aside for a person, and the rest goes on."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.integration.scheduler.desk import post, tasks
from tests.integration.scheduler.policy_world import DOCUMENT, loanwise
from tests.integration.scheduler.world import World, late, paid, scheduling

LOST = "scheduler.debt_facts set fact = substr(fact, 2) where borrower_id = 'B1'"
FOUND = "scheduler.debt_facts set fact = '{'::bytea || fact where borrower_id = 'B1'"


async def change(world: World, what: str) -> None:
    async with world.engine.begin() as conn:
        await conn.execute(text(f"update {what}"))


async def doubts(world: World) -> dict[str, str]:
    """Why cases are in doubt, by borrower."""
    return {row.borrower_id: row.in_doubt for row in await world.rows("select * from scheduler.cases where in_doubt is not null")}


def asked(world: World) -> list[str]:
    return [task.borrower_id for task in world.of("contact.requested")]


async def own_policy(world: World) -> None:
    """A policy of the tenant's own for one product."""
    await loanwise(world, DOCUMENT.replace("cure:", "applies_to: {products: [cash-loan]}\ncure:"))


async def test_a_case_whose_fact_cannot_be_read_is_parked_and_the_others_are_planned(world: World) -> None:
    await world.tell(late(), late("L2", "B2"), late("L3", "B3"))
    await change(world, LOST)
    await world.settle()
    assert asked(world) == ["B2", "B3"]
    assert list(await doubts(world)) == ["B1"]
    assert [task["kind"] for task in await tasks(world)] == ["in_doubt"]


async def test_a_case_that_could_not_be_read_goes_on_when_a_person_has_seen_to_it(world: World) -> None:
    await world.tell(late())
    await change(world, LOST)
    await world.settle()
    task = (await tasks(world))[0]["task_id"]
    await post(world, f"/tasks/{task}:claim", status=200)
    await post(world, f"/tasks/{task}:complete", {"note": "not mended yet"}, status=200)
    await world.settle()
    assert (asked(world), list(await doubts(world))) == ([], ["B1"])
    await change(world, FOUND)
    task = next(one["task_id"] for one in await tasks(world) if one["state"] == "open")
    await post(world, f"/tasks/{task}:claim", status=200)
    await post(world, f"/tasks/{task}:complete", {"note": "mended"}, status=200)
    await world.settle()
    assert (asked(world), await doubts(world)) == (["B1"], {})


async def test_facts_are_taken_in_for_a_borrower_one_of_whose_facts_cannot_be_read(world: World) -> None:
    await world.tell(late())
    await change(world, LOST)
    await world.tell(late("L9"), late("L2", "B2"))
    await world.settle()
    assert (asked(world), list(await doubts(world))) == (["B2"], ["B1"])


async def test_a_newer_fact_in_the_place_of_one_that_could_not_be_read_lets_the_case_go_on(world: World) -> None:
    await world.tell(late())
    await change(world, LOST)
    await world.settle()
    await world.tell(late(version=2))
    await world.settle()
    assert (asked(world), await doubts(world)) == (["B1"], {})


async def test_a_case_whose_row_cannot_be_read_is_parked_and_its_row_stays_as_it_was(world: World) -> None:
    await world.tell(late(), late("L2", "B2"))
    await change(world, "scheduler.cases set state = 'of-a-later-release', trial = 'nothing known' where borrower_id = 'B1'")
    await world.settle()
    await world.tell(paid())
    await world.settle()
    assert (asked(world), list(await doubts(world))) == (["B2"], ["B1"])
    assert [tuple(row) for row in await world.rows("select state, trial, spell from scheduler.cases where borrower_id = 'B1'")] == [
        ("of-a-later-release", "nothing known", 1)
    ]


async def test_a_tenant_whose_assignments_cannot_be_read_has_its_cases_parked(world: World) -> None:
    await own_policy(world)
    await world.tell(late())
    await change(world, "scheduler.assignments set items = 'x'::bytea")
    await world.tell(late("L2", "B2"))
    await world.settle()
    assert (asked(world), sorted(await doubts(world))) == ([], ["B1", "B2"])


async def test_a_policy_that_cannot_be_read_parks_the_cases_that_are_pinned_to_it(engine: AsyncEngine) -> None:
    async with scheduling(engine) as before:
        await own_policy(before)
        await before.tell(late(), late("L2", "B2", product="other"))
        await change(before, "scheduler.policy_versions set document = 'x'::bytea")
    async with scheduling(engine) as world:
        await world.settle()
        assert (asked(world), list(await doubts(world))) == (["B2"], ["B1"])


async def test_a_batch_of_holds_that_cannot_be_read_ends_and_the_next_one_is_set(world: World) -> None:
    await world.tell(late(), late("L2", "B2"))
    await world.settle()
    asked_for = {"filter": {"borrower_ids": ["B1"]}, "hold": {"stop": "moratorium"}}
    lost = await post(world, "/holds", {**asked_for, "confirm": 1}, status=202)
    await change(world, "scheduler.hold_batches set asked = 'x'::bytea")
    await post(world, "/holds", {**asked_for, "filter": {"borrower_ids": ["B2"]}, "confirm": 1}, status=202)
    await world.scheduler.pump()
    batch = await world.get(f"/holds/{lost['batch_id']}")
    assert (batch["number"], batch["done"], batch["ended_at"] is None) == (1, 0, False)
    assert [held.borrower_id for held in world.of("case.hold_set")] == ["B2"]
