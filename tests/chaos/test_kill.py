"""What is left when processes, the broker and the database are killed: everything once, nobody contacted twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import pytest

from services.notifier.domain.restoring import CLOCKS_APART
from tests.chaos.stage import AMOUNT, Stage
from tests.support.apart import SERVICES
from tests.support.kafka import Broker
from tests.support.running import until
from tests.support.wallet import Event

pytestmark = [pytest.mark.chaos, pytest.mark.kafka, pytest.mark.timeout(240)]
eventually = partial(until, look_every_s=0.2)
"""Rarely enough: the services polled are busy with what is awaited."""
SEED = 20261124
BORROWERS = 50
WORKS = {
    "ingest": "select count(*) from ingest.events", "scheduler": "select count(*) from scheduler.cases",
    "notifier": "select count(*) from notifier.deliveries",
}  # fmt: skip
"""What a service has done so far."""
OPEN = ("in_flight", "unknown")
"""States of a delivery that may or may not have gone out."""


async def test_services_and_broker_are_killed_under_load_and_nothing_is_lost_or_done_twice(stage: Stage, broker: Broker) -> None:
    dice = random.Random(SEED)
    names = [f"b{n}" for n in range(BORROWERS)]
    paid = {name for name in names if dice.random() < 0.3}
    victims = [*SERVICES, dice.choice(SERVICES)]
    dice.shuffle(victims)
    *shares, last = [names[n :: len(victims) + 1] for n in range(len(victims) + 1)]
    for victim, share in zip(victims, shares, strict=True):
        async with _under_load(stage, victim, _shuffled(stage, share, paid, dice), works=dice.randint(1, 3)):
            await asyncio.to_thread(stage.apart.kill, victim)
            await asyncio.to_thread(stage.apart.start, victim)
    async with _under_load(stage, "ingest", _shuffled(stage, last, paid, dice), works=dice.randint(1, 3)):
        if broker.killable:
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.restart)
    await eventually(stage.all_taken_in, what="every event in the ledger", within_s=60)
    owing = set(names) - paid
    await eventually(lambda: _reached(stage, owing), what="a contact with everybody who owes", within_s=90)
    rows = await stage.rows("select loan_id, overdue_total from ingest.loans")
    assert {row[0]: row[1] for row in rows} == {f"loan-{n}": 0 if n in paid else AMOUNT for n in names}
    assert await stage.rows("select 1 from ingest.parked") == []
    await _nobody_was_contacted_twice(stage)


def _shuffled(stage: Stage, names: Sequence[str], paid: set[str], dice: random.Random) -> list[Event]:
    """Return these borrowers' events, with loans and payments, each borrower's in any order and some of them twice."""
    flow = []
    for name in names:
        events = [*stage.borrower(name), stage.late_loan(name), *([stage.payment(name)] if name in paid else [])]
        dice.shuffle(events)
        flow += [one for one in events for _ in range(dice.choice((1, 1, 1, 2)))]
    return flow


@asynccontextmanager
async def _under_load(stage: Stage, service: str, flow: Sequence[Event], *, works: int) -> AsyncIterator[None]:
    """Publish these while the body runs, which begins once the service has done so much more work and is busy with the next."""
    [[before]] = await stage.rows(WORKS[service])

    async def publish() -> None:
        for one in flow:
            await stage.publish(one)

    async def at_work() -> bool:
        [[done]] = await stage.rows(WORKS[service])
        return bool(done >= before + works)

    publishing = asyncio.create_task(publish())
    try:
        await until(at_work, f"work of {service}", within_s=60, look_every_s=0.05)
        yield
    finally:
        await publishing


async def _reached(stage: Stage, names: set[str]) -> bool:
    contacted = {message["borrower_id"] for message in await stage.messages()}
    open_ones = {delivery["borrower_id"] for delivery in await stage.deliveries() if delivery["state"] in OPEN}
    return names <= contacted | open_ones


async def _nobody_was_contacted_twice(stage: Stage) -> None:
    steps = {d["task_id"]: (d["case_id"], d["step"]) for d in await stage.deliveries()}
    sent = Counter(steps[message["task_id"]] for message in await stage.messages())
    assert {step: number for step, number in sent.items() if number > 1} == {}


async def test_a_database_put_back_to_an_earlier_moment_takes_everything_in_again_and_contacts_nobody_again(stage: Stage) -> None:
    before, after = [f"early{n}" for n in range(6)], [f"later{n}" for n in range(6)]
    for name in before:
        await stage.publish(*stage.borrower(name), stage.late_loan(name))
    await eventually(lambda: _reached(stage, set(before)), what="the first contacts", within_s=60)
    await asyncio.to_thread(stage.apart.stop)
    await stage.copy_database(copy := f"{stage.database}_copy")
    await asyncio.to_thread(stage.apart.start)
    for name in after:
        await stage.publish(*stage.borrower(name), stage.late_loan(name))
    await stage.publish(stage.payment(before[0]))
    await eventually(lambda: _reached(stage, set(after)), what="the later contacts", within_s=60)
    await eventually(stage.all_taken_in, what="the payment", within_s=30)
    witness = await stage.messages()
    assert {m["borrower_id"] for m in witness} >= {*before, *after}
    await asyncio.to_thread(stage.apart.stop)
    await stage.put_back(copy)
    assert await stage.counted() != stage.expected()
    await asyncio.to_thread(stage.apart.start)
    await eventually(stage.all_taken_in, what="every event in the ledger again", within_s=60)
    await eventually(lambda: _every_case_is_settled(stage, set(after)), what="cases for those who came after the copy", within_s=60)
    await eventually(lambda: _clocks_cannot_confuse(stage), what="the first seconds of the new epoch", within_s=30)
    await stage.publish(*stage.borrower("witness"), stage.late_loan("witness"))
    await eventually(lambda: _reached(stage, {"witness"}), what="a contact after the restore", within_s=90)
    assert [row[0] >= 2 for row in await stage.rows("select epoch from ingest.lineage")] == [True]
    known = {message["id"] for message in witness}
    again = [message for message in await stage.messages() if message["id"] not in known]
    assert {message["borrower_id"] for message in again} == {"witness"}
    assert {row[0] for row in await stage.rows("select overdue_total from ingest.loans where loan_id = 'loan-early0'")} == {0}


async def _clocks_cannot_confuse(stage: Stage) -> bool:
    """Tell whether a request made now surely belongs to the new epoch: one that could be from the lost time is held as unknown."""
    [row] = await stage.rows(f"select clock_timestamp() > since + interval '{CLOCKS_APART.total_seconds()} s' from notifier.lineage")
    return bool(row[0])


async def _every_case_is_settled(stage: Stage, names: set[str]) -> bool:
    """Tell whether each of these has a delivery that will not go out."""
    found = {d["borrower_id"]: d["state"] for d in await stage.deliveries()}
    return names <= {name for name, state in found.items() if state not in ("waiting", "in_flight")}
