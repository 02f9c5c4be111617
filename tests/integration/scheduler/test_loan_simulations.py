"""Simulations of policies that separate loans, and of assignments by segment."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from libs.common.contracts.borrower_profiles import BorrowerProfile, ConsentState, SealedAddress
from libs.common.contracts.catalogue import PROFILES
from tests.integration.scheduler.policy_world import DOCUMENT, LOANWISE, Office, loanwise
from tests.integration.scheduler.simulating import introduce, simulated
from tests.integration.scheduler.world import MORNING, World, due_soon, late


def counted(result: Any) -> dict[str, int]:
    """How often each step was done."""
    return {step["step"]: step["done"] for step in result["steps"] if "done" in step}


async def reached_apart(world: World) -> None:
    """Two loans of a borrower, each in its own case and each mentioned once."""
    await loanwise(world)
    await introduce(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    for task in world.of("contact.requested"):
        await world.outcome(task, "delivered", 1, channel="sms")


async def test_loans_that_come_due_are_spoken_of_apart_where_the_simulated_policy_parts_them(world: World) -> None:
    await introduce(world)
    await world.tell(due_soon("L1"), due_soon("L2"))
    await world.settle()
    result = (await simulated(world, document=LOANWISE))["result"]
    assert counted(result) == {"hello": 2, "firm": 2}
    assert counted(result["active"]) == {"gentle": 1, "firm": 1, "final": 1}
    assert (result["opened"], result["active"]["opened"], result["uncontacted"]["number"]) == (2, 1, 0)


async def test_a_spell_that_runs_keeps_its_debts_together_in_a_simulation_as_it_does_live(world: World) -> None:
    await introduce(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    await world.outcome(world.of("contact.requested")[0], "delivered", 1, channel="sms")
    await world.settle()
    result = (await simulated(world, document=LOANWISE))["result"]
    assert counted(result) == {"hello": 1, "firm": 1}


async def test_cases_of_loans_that_run_are_played_on_one_by_one(world: World) -> None:
    await reached_apart(world)
    await world.settle()
    result = (await simulated(world, policy="gentle-ones", version=1))["result"]
    assert counted(result) == counted(result["active"]) == {"firm": 2}


async def test_a_past_that_was_together_is_played_apart_and_one_that_was_apart_together(world: World) -> None:
    await introduce(world)
    await world.tell(late("L1"), late("L2"))
    await world.settle()
    await world.local(2, 12)
    span: dict[str, Any] = {"mode": "past", "days": None, "from": MORNING.isoformat(), "to": world.clock.now().isoformat()}
    apart = (await simulated(world, document=LOANWISE, **span))["result"]
    assert (counted(apart), counted(apart["active"])) == ({"hello": 2}, {"gentle": 1, "firm": 1})
    office = Office(world)
    await office.activated(LOANWISE)
    await office.assign({"policy": "gentle-ones"})
    together = (await simulated(world, document=DOCUMENT, **span))["result"]
    assert (counted(together), counted(together["active"])) == ({"hello": 1}, {"hello": 2})


async def test_what_was_said_of_a_loan_before_the_past_begins_is_not_said_again_in_whatever_case_it_is_played(world: World) -> None:
    await reached_apart(world)
    world.clock.advance(timedelta(minutes=5))
    begins = world.clock.now()
    await world.local(8, 12)
    span: dict[str, Any] = {"mode": "past", "days": None, "from": begins.isoformat(), "to": world.clock.now().isoformat()}
    result = (await simulated(world, document=DOCUMENT, **span))["result"]
    assert (counted(result), counted(result["active"])) == ({"firm": 1}, {"firm": 2})


async def test_assignments_by_segment_rule_in_a_simulation_too(world: World) -> None:
    office = Office(world)
    await office.activated()
    await office.assign({"policy": "gentle-ones", "segments": ["vip"]})
    await world.scheduler.pump()
    for borrower, segment in (("B1", "vip"), ("B2", "usual")):
        address = SealedAddress(channel="sms", sealed="s", lookup=f"sms-{borrower}")
        profile = BorrowerProfile(
            borrower_id=borrower, time=world.clock.now(), id="p", key="k", addresses=(address,), attributes={"segment": segment}
        )
        consent = ConsentState(
            borrower_id=borrower, time=world.clock.now(), id="c", channel="sms", purpose="dunning", granted=True, at=world.clock.now()
        )
        await world.bus.publish([
            world.message("borrower.profile.v1", profile, topic=PROFILES), world.message("borrower.consent.v1", consent, topic=PROFILES),
        ])  # fmt: skip
        await world.tell(due_soon(f"L-{borrower}", borrower))
    await world.settle()
    result = (await simulated(world, document=DOCUMENT.replace("hello", "other"), days=20))["result"]
    assert counted(result) == {"other": 1, "gentle": 1, "firm": 2, "final": 1}
    assert counted(result["active"]) == {"hello": 1, "gentle": 1, "firm": 2, "final": 1}
