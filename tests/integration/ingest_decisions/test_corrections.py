"""A fact that tells past days otherwise than those before it says which."""

from __future__ import annotations

import random
from datetime import timedelta

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.contracts.corrections import CorrectedDays
from tests.integration.ingest_decisions.books import Books, Said
from tests.support.postgres import Databases
from tests.support.wallet import NOON, TODAY, Event, event, instalment, loan, repayment

IN_3_DAYS = NOON + timedelta(days=3)


def since(days: int, *, until: int | None = None, owed: bool) -> CorrectedDays:
    return CorrectedDays(TODAY + timedelta(days=days), None if until is None else TODAY + timedelta(days=until), owed)


async def told(engine: AsyncEngine, *later: Event, known: tuple[Event, ...]) -> Said:
    """Take events in today and others in three days, and return the last fact."""
    books = Books(engine)
    await books.commit(*known)
    assert [one.corrects for one in await books.said()] == [()]
    books.clock.move_to(IN_3_DAYS)
    await books.commit(*later)
    return (await books.said())[-1]


async def test_a_payment_dated_back_corrects_the_days_since_it_was_made(engine: AsyncEngine) -> None:
    said = await told(engine, repayment("L1", 20000, 1), known=(loan("L1"),))
    assert said.corrects == (since(1, owed=False),)


async def test_a_payment_from_before_anything_was_said_corrects_the_days_since_that(engine: AsyncEngine) -> None:
    said = await told(engine, repayment("L1", 10000, -20), known=(loan("L1"),))
    assert said.corrects == (since(0, owed=True),)


async def test_a_payment_of_today_corrects_nothing(engine: AsyncEngine) -> None:
    assert (await told(engine, repayment("L1", 10000, 3), known=(loan("L1"),))).corrects == ()


async def test_of_several_payments_in_one_batch_each_corrects_its_days(engine: AsyncEngine) -> None:
    said = await told(engine, repayment("L1", 10000, 2), repayment("L1", 10000, 1), known=(loan("L1"),))
    assert said.corrects == (since(1, until=2, owed=True), since(2, owed=False))


async def test_a_reversal_corrects_the_days_since_the_payment_it_undoes(engine: AsyncEngine) -> None:
    paid = repayment("L1", 10000, -5)
    undone = event("repayment.reversed", recorded=IN_3_DAYS, loan_id="L1", repayment_id=paid["data"]["repayment_id"])
    assert (await told(engine, undone, known=(loan("L1"), paid))).corrects == (since(0, owed=True),)


async def test_a_reversal_of_what_was_paid_today_corrects_nothing(engine: AsyncEngine) -> None:
    paid = repayment("L1", 10000, 3)
    undone = event("repayment.reversed", recorded=IN_3_DAYS, loan_id="L1", repayment_id=paid["data"]["repayment_id"])
    assert (await told(engine, paid, undone, known=(loan("L1"),))).corrects == ()


async def test_a_retracted_disbursement_corrects_all_that_was_said(engine: AsyncEngine) -> None:
    made = loan("L1")
    undone = event("event.retracted", recorded=IN_3_DAYS, loan_id="L1")
    undone["data"]["event_id"] = made["id"]
    said = await told(engine, undone, known=(made,))
    assert (said.type, said.corrects) == ("debt.closed.v1", (since(0, owed=False),))


async def test_a_waiver_of_an_older_charge_corrects_the_days_since_it_was_due(engine: AsyncEngine) -> None:
    charge = event("charge.added", recorded=NOON - timedelta(days=9), loan_id="L1", charge_id="c1", kind="fee", amount=500,
                   due_on=(TODAY - timedelta(days=8)).isoformat())  # fmt: skip
    waived = event("charge.waived", recorded=NOON + timedelta(days=1), loan_id="L1", waiver_id="w1", charge_id="c1", amount=500)
    assert (await told(engine, waived, known=(loan("L1"), charge))).corrects == (since(0, owed=True),)


async def test_history_that_comes_after_the_first_fact_corrects_nothing_as_nothing_was_said_of_it(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1"))
    for days in (-30, -20, -5):
        await books.commit(repayment("L1", 1000, days))
    assert [one.corrects for one in await books.said()] == [()] * 4


async def test_days_are_corrected_since_the_first_fact_and_not_since_the_last(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1"))
    books.clock.move_to(NOON + timedelta(days=2))
    await books.commit(repayment("L1", 1000, 2))
    books.clock.move_to(IN_3_DAYS)
    await books.commit(repayment("L1", 1000, -3))
    assert (await books.said())[-1].corrects == (since(0, owed=True),)


async def test_a_prepayment_dated_back_corrects_the_days_on_which_the_instalment_was_said_to_be_due_soon(engine: AsyncEngine) -> None:
    said = await told(engine, repayment("L1", 5000, 1), known=(loan("L1", instalment(1, 5), instalment(2, 50)),))
    assert said.corrects == (since(1, owed=False),)


def a_life() -> list[Event]:
    """A loan with events of every kind that reaches back."""
    paid = repayment("L1", 7000, -8)
    undone = event("repayment.reversed", recorded=NOON - timedelta(days=2), loan_id="L1", repayment_id=paid["data"]["repayment_id"])
    charge = event("charge.added", recorded=NOON - timedelta(days=9), loan_id="L1", charge_id="c1", kind="fee", amount=500,
                   due_on=(TODAY - timedelta(days=8)).isoformat())  # fmt: skip
    waived = event("charge.waived", recorded=NOON - timedelta(days=1), loan_id="L1", waiver_id="w1", charge_id="c1")
    wrong = repayment("L1", 9, 1)
    taken_back = event("event.retracted", recorded=NOON + timedelta(days=2), loan_id="L1")
    taken_back["data"]["event_id"] = wrong["id"]
    return [loan("L1"), paid, undone, charge, waived, wrong, taken_back, repayment("L1", 4000, 1), repayment("L1", 2000, -30)]


@pytest.mark.parametrize("seed", range(8))
async def test_in_whatever_order_and_batches_events_come_the_data_of_the_last_fact_is_the_same(databases: Databases, seed: int) -> None:
    chance, events, last = random.Random(seed), a_life(), []
    for _ in range(2):
        chance.shuffle(events)
        cuts = sorted(chance.sample(range(1, len(events)), 3))
        async with databases.fresh("ingest", pool_size=2) as engine:
            books = Books(engine)
            for day, (begin, end) in enumerate(zip((0, *cuts), (*cuts, len(events)), strict=True)):
                books.clock.move_to(NOON + timedelta(days=day))
                await books.commit(*events[begin:end])
            last.append((await books.said())[-1].fact)
    same = [msgspec.structs.replace(fact, reason="event", caused_by=None) for fact in last]
    assert same[0] == same[1]
