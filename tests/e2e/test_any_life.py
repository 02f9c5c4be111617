"""Whatever happens to borrowers, and whenever the process dies: what was sent was owed, lawful and sent once, and all services agree."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.e2e.audit import Evidence, Sent, Step, collected, faults, unrest
from tests.e2e.conftest import ALL
from tests.e2e.life import PLACES, Life, Loan, Person, Told, lived
from tests.e2e.world import MORNING, late_loan, payment
from tests.support.postgres import Databases
from tests.support.wallet import Event, event
from tests.unit.ingest_domain.stories import BOUNDS, ENTRIES


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.chaos) for seed in range(2, 8))])
async def test_an_audit_of_any_life_finds_nothing(databases: Databases, seed: int) -> None:
    async with databases.fresh(*ALL, pool_size=16) as engine, lived(engine, seed, people=4, days=6) as (life, world):
        seen = await collected(life, world)
        assert faults(seen) == []
        assert await unrest(life, world) == []
        assert seen.sent, "a life of which there is something to judge"


LINE = {
    "grace_days": 0, "tolerance": {"amount": 0, "percent": 0}, "buckets": {"by": "past_due_days", "none": "M0", "bounds": BOUNDS},
    "allocation": {
        "mode": "horizontal", "order": ENTRIES, "future_instalments": {"default": "next"}, "charge_class_by": "instalment_due_date",
        "charges_known": "from_their_date", "chargeback_split": ["principal"], "chargeback_skips_down_payment": True,
    },
}  # fmt: skip
NOON = MORNING + timedelta(hours=2)


def an_honest_message() -> Evidence:
    """The evidence of one message about one debt."""
    life, person, loan = Life(random.Random(1), 1), Person("B1", "GB"), Loan("L1", PLACES["GB"], LINE)
    late = late_loan("L1", "B1", zone=loan.zone)
    late["data"]["jurisdictions"] = ["GB"]
    loan.told = [Told(MORNING, late)]
    person.loans, person.told = [loan], [Told(MORNING, life.profile_of(person))]
    life.people = [person]
    sent = Sent(NOON, "t1", "B1", "email", "We have not yet received CNY 120.50.", ("L1",))
    return Evidence(life, [sent], {"t1": {"state": "sent"}}, {"t1": Step("c1", 1, "gentle", "done")}, {"B1": []})


def told(seen: Evidence, **changes: object) -> Evidence:
    return replace(seen, sent=[replace(seen.sent[0], **changes)])  # type: ignore[arg-type]  # names of its fields


def twice(seen: Evidence) -> Evidence:
    return replace(seen, sent=[*seen.sent, *seen.sent])


def of_one_step(seen: Evidence) -> Evidence:
    again = replace(seen.sent[0], task_id="t2", at=NOON + timedelta(days=1))
    return replace(
        seen,
        sent=[*seen.sent, again],
        deliveries={**seen.deliveries, "t2": seen.deliveries["t1"]},
        steps=dict.fromkeys(("t1", "t2"), seen.steps["t1"]),
    )


def paid_before(seen: Evidence) -> Evidence:
    seen.life.loans[0].told.append(Told(NOON, payment("L1", 12050)))
    return seen


def dead_before(seen: Evidence) -> Evidence:
    status: Event = {"status_id": "s1", "status": "deceased", "from": MORNING.isoformat(), "until": None}
    seen.life.people[0].told.append(Told(NOON, event("borrower.status", borrower_id="B1", **status)))
    return seen


def held_before(seen: Evidence) -> Evidence:
    hold = {"stop": "manual", "loan_id": None, "set_at": NOON.isoformat(), "from": NOON.isoformat(), "until": None, "ended_at": None}
    return replace(seen, holds={"B1": [hold]})


def unknown_to_the_scheduler(seen: Evidence) -> Evidence:
    return replace(seen, steps={"t1": replace(seen.steps["t1"], state="expired")})


@pytest.mark.parametrize(
    "forged",
    [
        twice, of_one_step, paid_before, dead_before, held_before, unknown_to_the_scheduler,
        lambda seen: told(seen, body="We have not yet received CNY 120.51."), lambda seen: told(seen, at=NOON + timedelta(hours=11)),
    ],
)  # fmt: skip
def test_the_audit_finds_what_was_done_wrong(forged: Callable[[Evidence], Evidence]) -> None:
    assert faults(an_honest_message()) == []
    assert faults(forged(an_honest_message())) != []
