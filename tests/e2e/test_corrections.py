"""A payment that arrives late corrects past days, and messages sent on those days are flagged."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from libs.common.contracts.corrections import CorrectedDays
from tests.e2e.conftest import ALL
from tests.e2e.world import MORNING, TODAY, World, borrower, late_loan, one_process, payment
from tests.support.postgres import Databases


def lines(story: list[Any], kind: str) -> list[Any]:
    return [entry for entry in story if entry["kind"] == kind]


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_contact_of_day_3_is_flagged_once_its_debt_turns_out_to_have_been_paid_on_day_0(databases: Databases, seed: int) -> None:
    async with databases.fresh(*ALL, pool_size=16) as engine, one_process(engine, seed=seed) as world:
        await world.publish(*borrower("payer"), *borrower("witness"), late_loan("L1", "payer", days=0), late_loan("L2", "witness", days=0))
        await world.let_pass(days=3, hours=2)
        for name in ("payer", "witness"):
            assert [entry["detail"]["step"] for entry in lines(await world.story(name), "contact.sent")] == ["gentle", "firm"]
        paid = payment("L1", 12050, at=MORNING + timedelta(hours=8))
        await world.publish(paid, payment("L2", 50, at=world.clock.now()))
        await world.quiet()
        await corrected_once(world, paid["id"])
        await world.publish(paid)
        await world.let_pass(days=1)
        await corrected_once(world, paid["id"])


async def corrected_once(world: World, cause: str) -> None:
    """Check the state once the payment is known, however often it was sent."""
    assert world.corrected == {"L1": (CorrectedDays(TODAY, None, owed=False),)}
    story = await world.story("payer")
    flagged = lines(story, "contact.corrected")
    assert [(entry["reason"], entry["detail"]["step"]) for entry in flagged] == [("nothing_was_due", "gentle"), ("nothing_was_due", "firm")]
    asked = [entry["detail"]["task_id"] for entry in lines(story, "contact.requested")]
    for entry, task_id in zip(flagged, asked, strict=True):
        day = TODAY.isoformat()
        assert entry["detail"] == {
            "task_id": task_id, "step": entry["detail"]["step"], "loan_id": "L1", "corrects_from": day, "caused_by": cause,
        }  # fmt: skip
        assert datetime.fromisoformat(entry["at"]) > MORNING + timedelta(days=3)
    assert lines(await world.story("witness"), "contact.corrected") == []
    tasks = (await world.get("/scheduler/v1/tasks"))["items"]
    assert [(task["kind"], task["queue"], task["borrower_id"], task["state"]) for task in tasks] == [
        ("contact_corrected", "review", "payer", "open")
    ]
