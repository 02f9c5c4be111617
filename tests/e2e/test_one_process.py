"""Whatever the order, the repeats and the bus's faults: the same state in the end, and nobody is wronged on the way."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.world import MORNING, World, borrower, late_loan, one_process, payment
from tests.support.postgres import Databases
from tests.support.wallet import Event

AMOUNT = 12050
DAYS = 3
EXAMPLE_WITHIN_S = 120.0
"""Far more than it takes even on a busy machine: it catches what would never end, and says nothing about speed."""
JUST_NOW = timedelta(seconds=2)
"""A payment acknowledged this long ago silences every contact."""


@dataclass(frozen=True)
class Debt:
    """A late loan and its payments: (hours after the start, amount)."""

    loan_id: str
    borrower_id: str
    days: int
    payments: tuple[tuple[int, int], ...]

    def owed(self, at: datetime) -> int:
        """Return what is owed at a moment, by the payments published by then."""
        return AMOUNT - sum(amount for hours, amount in self.payments if MORNING + timedelta(hours=hours) <= at)


@dataclass(frozen=True)
class Story:
    """What happens, and the seed of how it arrives."""

    debts: tuple[Debt, ...]
    seed: int

    def first(self) -> list[Event]:
        """Return what is published at the start."""
        people = sorted({debt.borrower_id for debt in self.debts})
        return [one for name in people for one in borrower(name)] + [late_loan(d.loan_id, d.borrower_id, days=d.days) for d in self.debts]

    def later(self) -> list[tuple[datetime, Event]]:
        """Return the payments with the moment at which each is published, earliest first."""
        moments = [(MORNING + timedelta(hours=h), d.loan_id, amount) for d in self.debts for h, amount in d.payments]
        return [(at, payment(loan_id, amount, at=at)) for at, loan_id, amount in sorted(moments)]


_payments = st.sampled_from([(), ((0, AMOUNT),), ((0, 5000),), ((1, AMOUNT),), ((20, 5000), (26, AMOUNT - 5000)), ((30, AMOUNT),)])


@st.composite
def stories(draw: st.DrawFn) -> Story:
    debts = []
    for b in range(draw(st.integers(1, 3))):
        debts += [Debt(f"L{b}-{n}", f"B{b}", draw(st.integers(1, 8)), draw(_payments)) for n in range(draw(st.integers(1, 2)))]
    return Story(tuple(debts), draw(st.integers(0, 2**16)))


async def play(world: World, story: Story, *, plainly: bool) -> None:
    """Publish the story: in order, or shuffled, with repeats and in pieces, between which the services may or may not work."""
    dice = random.Random(story.seed)
    first, later = story.first(), story.later()
    if plainly:
        await world.publish(*first)
    else:
        for piece in _pieces(first, dice):
            await world.publish(*piece)
            if dice.random() < 0.5:
                await world.platform.bus.step()
            if dice.random() < 0.3:
                await world.platform.settle()
    for at, paid in later:
        if at > world.clock.now():
            await world.pass_time(at)
        await world.publish(*[paid] * (1 if plainly else dice.choice((1, 1, 2))))
    await world.pass_time(MORNING + timedelta(days=DAYS))


def _pieces(events: Sequence[Event], dice: random.Random) -> list[list[Event]]:
    mixed = [*events, *dice.sample(events, dice.randint(0, len(events)))]
    dice.shuffle(mixed)
    pieces = []
    while mixed:
        size = dice.randint(1, len(mixed))
        pieces.append(mixed[:size])
        mixed = mixed[size:]
    return pieces


async def ending(world: World, story: Story) -> dict[str, tuple[Any, Any]]:
    """Return the state and the last fact of every loan, without what may differ."""
    found = {}
    for debt in story.debts:
        state = await world.get(f"/ingest/v1/loans/{debt.loan_id}")
        fact = world.facts.get(debt.loan_id)
        found[debt.loan_id] = state, fact and msgspec.structs.replace(fact, reason="event", caused_by=None)
    return found


async def check_nobody_was_wronged(world: World, story: Story) -> None:
    """Check that nobody who owed nothing was contacted, no step came twice, and nobody was forgotten."""
    deliveries = (await world.get("/notifier/v1/deliveries", limit=1000))["items"]
    steps = {d["task_id"]: (d["case_id"], d["step"]) for d in deliveries}
    sent = await world.messages()
    assert max(Counter(steps[message["task_id"]] for message in sent).values(), default=1) == 1
    for message in sent:
        before = datetime.fromisoformat(message["accepted_at"]) - JUST_NOW
        owed = sum(debt.owed(before) for debt in story.debts if debt.borrower_id == message["borrower_id"])
        assert owed > 0, message
    coverage = await world.get("/scheduler/v1/coverage")
    assert (coverage["uncontacted"], coverage["items"]) == (0, [])
    for name in {debt.borrower_id for debt in story.debts if debt.owed(world.clock.now()) > 0}:
        case = await world.case(name)
        planned = await world.get(f"/scheduler/v1/cases/{case['case_id']}/next-contact")
        assert planned["at"] or planned["reason"]
        assert [m for m in sent if m["borrower_id"] == name], "three mornings have passed in which something was owed"


@pytest.mark.timeout(600)
@settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)  # fmt: skip
@given(story=stories())
async def test_any_order_repetition_and_bad_day_of_the_bus_gives_the_same_end_and_wrongs_nobody(databases: Databases, story: Story) -> None:
    ends = []
    for seed in (None, story.seed):
        async with (
            databases.fresh("ingest", "scheduler", "notifier", pool_size=16) as engine,
            one_process(engine, seed=seed) as world,
        ):
            async with asyncio.timeout(EXAMPLE_WITHIN_S):
                await play(world, story, plainly=seed is None)
            ends.append(await ending(world, story))
            await check_nobody_was_wronged(world, story)
    for loan_id, (state, fact) in ends[0].items():
        other_state, other_fact = ends[1][loan_id]
        assert other_state == state
        if fact is None or other_fact is None:  # a debt settled before its first fact needs none
            assert state["overdue"]["total"] == 0
        else:
            assert other_fact == fact


async def test_the_same_seed_gives_the_same_messages(databases: Databases) -> None:
    story = Story((Debt("L0-0", "B0", 1, ((1, 5000),)), Debt("L1-0", "B1", 4, ()), Debt("L1-1", "B1", 7, ((20, 5000),))), seed=11)
    told = []
    for _ in range(2):
        async with databases.fresh("ingest", "scheduler", "notifier", pool_size=16) as engine, one_process(engine, seed=11) as world:
            await play(world, story, plainly=False)
            told.append([(m["task_id"], m["accepted_at"], m["channel"], m["body"]) for m in await world.messages()])
    told = [sorted(messages) for messages in told]
    assert told[0] == told[1]
    assert told[0] != []
