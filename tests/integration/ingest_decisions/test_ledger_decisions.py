"""Decisions about the ledger that cannot be changed later, each by its name."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.bus.ports import partition_of
from libs.common.db import lineage, positions
from libs.common.db.positions import Place
from libs.common.errors import PositionMovedError
from services.ingest.store import loans
from services.ingest.store.events import Adding
from tests.integration.ingest_decisions.books import Books, waiting_for_a_lock
from tests.support.postgres import Databases
from tests.support.running import unpublished, until
from tests.support.wallet import NOON, instalment, loan, repayment


@pytest.mark.parametrize("payment_first", [True, False])
async def test_a_payment_and_its_disbursement_in_two_open_transactions_are_both_folded(engine: AsyncEngine, *, payment_first: bool) -> None:
    one, other = Books(engine), Books(engine)
    events = [repayment("L1", 10000, -30), loan("L1")]
    first, second = events if payment_first else events[::-1]
    async with engine.begin() as conn:
        await one.take(conn, first)
        late = asyncio.create_task(other.commit(second))
        await until(lambda: waiting_for_a_lock(engine), what="the second transaction to wait for the first")
    await late
    [row] = await one.rows("select known, accepted, records, overdue_total from ingest.loans")
    assert tuple(row) == (True, 2, 2, 10000)
    last = (await one.said("L1"))[-1].fact
    assert (last.version, last.overdue.total) == (2, 10000)


async def test_many_open_transactions_over_the_same_loans_end_without_a_deadlock_and_fold_everything(engine: AsyncEngine) -> None:
    replicas = [Books(engine) for _ in range(4)]
    names = [f"L{n}" for n in range(6)]
    batches = [[loan(name) for name in names], *[[repayment(name, 100, -3) for name in names[::step]] for step in (1, -1, 1, -1, 1)]]
    await asyncio.gather(*[replicas[n % 4].commit(*batch) for n, batch in enumerate(batches)])
    rows = await replicas[0].rows("select accepted, overdue_total from ingest.loans")
    assert [tuple(row) for row in rows] == [(6, 19500)] * 6


async def test_a_loan_whose_stored_book_cannot_be_read_is_folded_from_its_events(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1"), repayment("L1", 100), loan("L2"))
    await broken(engine, "update ingest.loans set book = '\\x00' where loan_id = 'L1'")
    await books.commit(repayment("L1", 10), repayment("L2", 10))
    assert {said.fact.loan_id: said.fact.overdue.total for said in await books.said()} == {"L1": 20000 - 110, "L2": 20000 - 10}
    assert (await books.said("L1"))[-1].fact.doubt is None


async def test_time_passes_for_a_loan_whose_stored_book_cannot_be_read(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1", instalment(1, -25), instalment(2, 5)))
    await broken(engine, "update ingest.loans set book = '\\x00'")
    books.clock.advance(timedelta(days=7))
    assert await books.ticker.one_pass() == 1
    assert (await books.said("L1"))[-1].fact.overdue.total == 2 * 9000


async def test_a_stored_event_that_cannot_be_read_leaves_its_loan_in_doubt_until_it_is_mended(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1"), repayment("L1", 100, -1), loan("L2"))
    await broken(engine, "update ingest.events set data = '{' || data where type like '%repayment%'")
    await books.commit(repayment("L1", 10, -20), repayment("L2", 10, -20))
    assert ((await books.said("L1"))[-1].fact.doubt is not None, (await books.said("L2"))[-1].fact.overdue.total) == (True, 20000 - 10)
    await books.commit(repayment("L1", 1))
    assert (await books.said("L1"))[-1].fact.doubt is not None, "an event that comes last does not end it"
    await broken(engine, "update ingest.events set data = substr(data, 2) where type like '%repayment%' and substr(data, 1, 2) = '{{'")
    await books.commit(repayment("L1", 1))
    last = (await books.said("L1"))[-1].fact
    assert (last.doubt, last.overdue.total) == (None, 20000 - 112)


async def broken(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(statement))


async def test_the_next_offset_is_written_by_compare_and_set(engine: AsyncEngine) -> None:
    place = Place("g", "t", 0)
    async with engine.begin() as conn:
        assert await positions.start(conn, "ingest", place, bus_offset=7) == 7
        await positions.move(conn, "ingest", place, expected=7, next_offset=9, record_at=NOON)
    with pytest.raises(PositionMovedError) as moved:
        async with engine.begin() as conn:
            await positions.move(conn, "ingest", place, expected=7, next_offset=12, record_at=NOON)
    assert moved.value.next_offset == 9
    async with engine.begin() as conn:
        assert await positions.find(conn, "ingest", place) == 9
        assert await positions.start(conn, "ingest", place, bus_offset=0) == 9


async def test_of_two_that_move_the_same_position_at_once_one_moves_it(engine: AsyncEngine) -> None:
    place = Place("g", "t", 0)
    async with engine.begin() as conn:
        await positions.start(conn, "ingest", place, bus_offset=0)

    async def move(to: int) -> bool:
        try:
            async with engine.begin() as conn:
                await positions.move(conn, "ingest", place, expected=0, next_offset=to, record_at=NOON)
        except PositionMovedError:
            return False
        return True

    assert sum(await asyncio.gather(*[move(to) for to in range(1, 9)])) == 1


async def test_the_version_is_the_number_of_records_about_the_loan(engine: AsyncEngine) -> None:
    books = Books(engine)
    paid = repayment("L1", 1000, -3)
    conflict = {**paid, "data": {**paid["data"], "amount": 1}}
    await books.commit(loan("L1"))
    await books.commit(paid)
    await books.commit(paid)
    await books.commit(conflict)
    await books.commit(conflict)
    assert [one.fact.version for one in await books.said("L1")] == [1, 2, 3]
    [row] = await books.rows("select records, accepted, parked from ingest.loans")
    assert tuple(row) == (3, 2, 1)


async def test_a_batch_and_its_events_one_by_one_give_the_same_version_and_state(databases: Databases) -> None:
    events = [loan("L1"), repayment("L1", 1000, -3), repayment("L1", 2000, -2)]
    seen: list[Any] = []
    for batches in ([events], [[one] for one in events], [[one] for one in reversed(events)]):
        async with databases.fresh("ingest") as engine:
            books = Books(engine)
            for batch in batches:
                await books.commit(*batch)
            seen.append((await books.said("L1"))[-1].fact)
    assert seen[0].version == 3
    assert all((f.version, f.overdue, f.outstanding, f.anchor) == (3, seen[0].overdue, seen[0].outstanding, seen[0].anchor) for f in seen)


async def test_after_a_restore_the_epoch_rises_and_every_published_fact_is_said_anew_under_it(engine: AsyncEngine) -> None:
    books = Books(engine)
    not_yet = loan("quiet", instalment(1, 40))
    await books.commit(loan("L1"), loan("L2"), not_yet)
    before = len(await books.said())
    async with engine.begin() as conn:
        await lineage.check(conn, "ingest")
        await lineage.raise_epoch(conn, "ingest")
        assert await loans.wake_published(conn, NOON) == 2
    assert await books.ticker.one_pass() == 2
    anew = (await books.said())[before:]
    assert {(one.fact.loan_id, one.fact.epoch, one.fact.version) for one in anew} == {("L1", 2, 1), ("L2", 2, 1)}
    assert await books.ticker.one_pass() == 0


async def test_an_epoch_that_one_replica_has_begun_is_the_epoch_of_what_the_others_say(engine: AsyncEngine) -> None:
    """Else the facts of the others stay below what was said before the restore, and nobody believes them."""
    one, other = Books(engine), Books(engine)
    async with engine.begin() as conn:
        await lineage.check(conn, "ingest")
    await other.commit(loan("L1"))
    async with engine.begin() as conn:
        await lineage.raise_epoch(conn, "ingest")
        await loans.wake_published(conn, NOON)
    await other.ticker.one_pass()
    await other.commit(repayment("L1", 1000, -3))
    assert [said.fact.epoch for said in await one.said("L1")] == [1, 2, 2]


async def test_every_fact_is_on_its_borrowers_partition_and_under_its_loans_key(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(*[loan(f"L{n}", borrower_id="B1") for n in range(6)])
    messages = await unpublished(engine, "ingest")
    assert {message.partition for message in messages} == {partition_of("default", "B1", 4)}
    assert {message.key for message in messages} == {f"default/L{n}".encode() for n in range(6)}


async def test_the_same_event_id_from_two_sources_is_two_events(engine: AsyncEngine) -> None:
    books = Books(engine)
    one = repayment("L1", 1000, -3)
    other = {**repayment("L1", 2000, -3), "id": one["id"], "source": "another wallet"}
    counted = [await books.commit(loan("L1"), one), await books.commit(other), await books.commit(one, other)]
    assert [(c.accepted, c.repeats, c.parked) for c in counted] == [(2, 0, 0), (1, 0, 0), (0, 2, 0)]
    [row] = await books.rows("select accepted, overdue_total from ingest.loans")
    assert tuple(row) == (3, 17000)


@pytest.mark.parametrize("least", [1, 100])
async def test_a_batch_that_is_copied_in_counts_as_one_that_is_inserted(engine: AsyncEngine, least: int) -> None:
    books = Books(engine)
    books.ledger = dataclasses.replace(books.ledger, adding=Adding(least))
    one, two, three = (repayment("L1", amount, -3) for amount in (1000, 2000, 4000))
    batches = [
        (loan("L1"), one),
        (two, one, {**two, "id": "again"}),
        (three, {**three, "data": {**three["data"], "amount": 9}}),
        (loan("L2"),),
    ]
    counted = [await books.commit(*batch) for batch in batches]
    assert [(c.accepted, c.repeats, c.parked) for c in counted] == [(2, 0, 0), (1, 2, 0), (1, 0, 1), (1, 0, 0)]
    rows = await books.rows("select loan_id, accepted, overdue_total from ingest.loans order by loan_id")
    assert [tuple(row) for row in rows] == [("L1", 4, 13000), ("L2", 1, 20000)]
    assert len(await books.rows("select event_id from ingest.events")) == 5


async def test_the_same_loan_id_of_two_tenants_is_two_loans(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1"))
    await books.commit(loan("L1"), tenant="acme")
    await books.commit(repayment("L1", 5000, -3), tenant="acme")
    rows = await books.rows("select tenant, accepted, overdue_total from ingest.loans order by tenant")
    assert [tuple(row) for row in rows] == [("acme", 2, 15000), ("default", 1, 20000)]
    assert {(one.tenant, one.fact.overdue.total) for one in await books.said("L1")} == {
        ("default", 20000), ("acme", 20000), ("acme", 15000),
    }  # fmt: skip


async def test_a_loan_that_is_locked_during_a_pass_is_found_by_the_next(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1", instalment(1, 20)), loan("L2", instalment(1, 20)))
    before = len(await books.said())
    books.clock.advance(timedelta(days=21))
    async with engine.begin() as conn:
        await conn.execute(text("select 1 from ingest.loans where loan_id = 'L1' for update"))
        assert await books.ticker.one_pass() == 1
    assert await books.ticker.one_pass() == 1
    assert sorted(one.fact.loan_id for one in (await books.said())[before:] if one.type == "debt.overdue.v1") == ["L1", "L2"]
    assert await books.ticker.one_pass() == 0


async def test_a_loan_that_becomes_due_behind_the_bound_of_a_pass_is_found_by_the_next(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1", instalment(1, 20)))
    async with engine.begin() as conn:
        await conn.execute(text("update ingest.loans set next_at = :earlier"), {"earlier": NOON - timedelta(days=400)})
    assert await books.ticker.one_pass() == 1
    [row] = await books.rows("select next_at > :now as later from ingest.loans", now=NOON)
    assert row.later


async def test_two_tickers_at_once_say_each_fact_once(engine: AsyncEngine) -> None:
    replicas = [Books(engine), Books(engine)]
    names = [f"L{n}" for n in range(1200)]
    await replicas[0].commit(*[loan(name, instalment(1, 20)) for name in names])
    for books in replicas:
        books.clock.advance(timedelta(days=21))
    taken = await asyncio.gather(*[books.ticker.one_pass() for books in replicas])
    late = [one.fact.loan_id for one in await replicas[0].said() if one.type == "debt.overdue.v1"]
    assert sorted(late) == sorted(names)
    assert sum(taken) == len(names)


async def test_a_payment_that_is_taken_in_while_the_ticker_looks_is_in_the_last_fact(engine: AsyncEngine) -> None:
    """The aggregate's row is locked before its outbox row is written: the order of facts is that of commits."""
    books, ticking = Books(engine), Books(engine)
    for replica in (books, ticking):
        replica.clock.advance(timedelta(days=21))
    await books.commit(loan("L1", instalment(1, 20)), loan("L2", instalment(1, 20)))
    async with engine.begin() as conn:
        await conn.execute(text("update ingest.loans set next_at = :now"), {"now": NOON})
    paid = [repayment(name, 9000, 20) for name in ("L1", "L2")]
    await asyncio.gather(ticking.ticker.one_pass(), *[books.commit(one) for one in paid])
    await ticking.ticker.one_pass()
    for name in ("L1", "L2"):
        said = await books.said(name)
        assert said[-1].fact.overdue.total == 0
        assert [one.fact.order for one in said] == sorted(one.fact.order for one in said)
