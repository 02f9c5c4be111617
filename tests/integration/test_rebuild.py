"""Refolding stored loans: what a rebuild finds and repairs, and what a new release publishes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import DrivenClock, WallClock
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.overdue_facts import OverdueFact
from services.ingest import folding
from services.ingest.domain.events import LoanEvent
from services.ingest.domain.fold import FOLD
from services.ingest.domain.product import ProductLine
from services.ingest.rebuilding import Rebuild, Tally, TooManyUndigestedError, Upgrade
from services.ingest.store import rebuilding as store
from tests.integration.ingest_decisions.books import Books, waiting_for_a_lock
from tests.support.postgres import Databases
from tests.support.published import Wallet
from tests.support.running import running_ingest, until
from tests.support.wallet import instalment, loan, repayment
from tests.unit.ingest_domain.loans import FIRST, LAST, event_sets, products

TENANT = ("default",)
OTHER_FOLD = FOLD + 1


@pytest.fixture
async def engine(databases: Databases) -> AsyncIterator[AsyncEngine]:
    async with databases.fresh("ingest", pool_size=12) as made:
        yield made


async def rebuilt(books: Books, *, repair: bool = True, only: str | None = None) -> tuple[Tally, dict[str, tuple[str, ...]]]:
    """Return the summary of a rebuild, and which fields of which loans differed."""
    rebuild, stop, tally, found = Rebuild(books.engine, books.ledger, repair), asyncio.Event(), Tally(), {}
    async for step in rebuild.whole(TENANT, stop) if only is None else rebuild.one(TENANT, only, stop):
        tally.add(step)
        found.update({one.key[1]: one.fields for one in step.differences})
    return tally, found


async def change(books: Books, statement: str, **values: Any) -> None:
    async with books.engine.begin() as conn:
        await conn.execute(text(statement), values)


async def everything(books: Books) -> list[Any]:
    """Return every row of the ledger, with the transaction that wrote or locked it last."""
    tables = ("loans", "events", "borrower_loans", "parked", "outbox")
    return [await books.rows(f"select xmin, xmax, t.* from ingest.{table} t order by t.tableoid, t.ctid") for table in tables]


async def stored(books: Books) -> list[Any]:
    """Return the loans as stored, with decoded books."""
    rows = await books.rows("select * from ingest.loans order by tenant, loan_id")
    return [{**row._mapping, "book": row.book and msgspec.msgpack.decode(row.book)} for row in rows]


def but_for_the_occasion(fact: OverdueFact) -> OverdueFact:
    return msgspec.structs.replace(fact, reason="rebuild", caused_by=None)


async def a_book_of_three(engine: AsyncEngine) -> Books:
    books = Books(engine)
    await books.commit(loan("L1"), loan("L2"), loan("L3"), repayment("L2", 500, -3))
    await books.commit(repayment("L1", 5000, -2), repayment("L2", 100, -1))
    return books


DAMAGE = {
    "update ingest.loans set overdue_total = 7, bucket = 'M9' where loan_id = 'L2'": ("bucket", "overdue_total"),
    "update ingest.loans set anchor_on = null, currency = 'EUR' where loan_id = 'L2'": ("currency", "anchor_on"),
    "update ingest.loans set book = (select book from ingest.loans where loan_id = 'L1') where loan_id = 'L2'": ("book",),
    "update ingest.loans set book = '\\x00'::bytea where loan_id = 'L2'": ("book",),
    "update ingest.loans set book = null where loan_id = 'L2'": ("book",),
    "update ingest.loans set records = 99, accepted = 1 where loan_id = 'L2'": ("records", "accepted"),
    "update ingest.loans set next_at = null where loan_id = 'L2'": ("next_at",),
    "update ingest.loans set phase = 'what?' where loan_id = 'L2'": ("phase",),
    "update ingest.loans set published = false, phase = null where loan_id = 'L2'": ("published",),
    "update ingest.loans set fold_error = 'it failed once', doubt_since = now() where loan_id = 'L2'": ("fold_error",),
    "update ingest.loans set known = false where loan_id = 'L2'": ("known",),
    "update ingest.loans set parked = 1 where loan_id = 'L2'": ("parked",),
    "delete from ingest.borrower_loans where loan_id = 'L2'": ("borrower_loans",),
    "delete from ingest.loans where loan_id = 'L2'": ("row",),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_rebuild_names_and_mends_exactly_the_loan_that_is_not_what_its_events_make_it(engine: AsyncEngine, damage: str) -> None:
    books = await a_book_of_three(engine)
    before, said = await stored(books), await books.said()
    await change(books, damage)
    tally, found = await rebuilt(books)
    assert found == {"L2": DAMAGE[damage]}
    assert (tally.read, tally.differing, tally.repaired, tally.in_doubt) == (3, 1, 1, 0)
    assert await stored(books) == before
    [anew] = (await books.said())[len(said) :]
    last = [one for one in said if one.fact.loan_id == "L2"][-1]
    assert (anew.fact, anew.partition, anew.tenant) == (but_for_the_occasion(last.fact), last.partition, last.tenant)
    assert (await rebuilt(books))[1] == {}
    assert len(await books.said()) == len(said) + 1


async def test_a_rebuild_of_one_loan_leaves_the_others_as_they_are(engine: AsyncEngine) -> None:
    books = await a_book_of_three(engine)
    await change(books, "update ingest.loans set overdue_total = 7")
    tally, found = await rebuilt(books, only="L2")
    assert (tally.read, list(found)) == (1, ["L2"])
    assert [row.overdue_total for row in await books.rows("select overdue_total from ingest.loans order by loan_id")] == [7, 19400, 7]
    assert (await rebuilt(books, only="L4"))[0].read == 0


async def test_a_rebuild_of_a_book_as_it_should_be_takes_no_lock_and_writes_nothing(engine: AsyncEngine) -> None:
    books = await a_book_of_three(engine)
    before = await everything(books)
    assert (await rebuilt(books))[1] == {}
    assert await everything(books) == before


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_dry_run_names_the_same_and_writes_nothing(engine: AsyncEngine, damage: str) -> None:
    books = await a_book_of_three(engine)
    await change(books, damage)
    before = await everything(books)
    tally, found = await rebuilt(books, repair=False)
    assert (found, tally.repaired) == ({"L2": DAMAGE[damage]}, 0)
    assert await everything(books) == before


async def test_doubt_is_part_of_what_is_rebuilt(engine: AsyncEngine) -> None:
    books = Books(engine)
    paid = repayment("L1", 1000)
    await books.commit(loan("L1"), paid)
    await books.commit({**paid, "data": {**paid["data"], "amount": 9999}})
    assert await rebuilt(books) == (Tally(1, 0, 0, 1, ("default", "L1")), {})
    before, said = await stored(books), await books.said()
    await change(books, "update ingest.loans set parked = 0, doubt_since = null, records = 2")
    assert (await rebuilt(books))[1] == {"L1": ("records", "parked", "doubt_since")}
    assert await stored(books) == before
    assert (await books.said())[-1].fact == but_for_the_occasion(said[-1].fact)


async def test_a_loan_whose_events_cannot_be_folded_is_put_in_doubt_and_stays_what_it_was(engine: AsyncEngine) -> None:
    books = await a_book_of_three(engine)
    said = await books.said("L2")
    await change(books, "update ingest.events set data = '{}' where loan_id = 'L2' and type = 'wallet.repayment.received.v1'")
    tally, found = await rebuilt(books)
    assert (found, tally.in_doubt) == ({"L2": ("fold_error",)}, 1)
    anew = (await books.said("L2"))[len(said) :]
    assert [(one.fact.overdue, one.fact.doubt is not None) for one in anew] == [(said[-1].fact.overdue, True)]
    tally, found = await rebuilt(books)
    assert (found, tally.in_doubt) == ({}, 1)


async def test_a_timer_that_nobody_has_looked_at_yet_is_no_difference(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(loan("L1", instalment(1, -1), instalment(2, 3)), loan("L2", instalment(1, 3)))
    books.clock.advance(timedelta(days=40))
    assert (await rebuilt(books))[1] == {}
    await change(books, "update ingest.loans set outstanding_total = 1 where loan_id = 'L1'")
    assert (await rebuilt(books))[1] == {"L1": ("outstanding_total",)}
    await books.ticker.one_pass()
    assert (await rebuilt(books))[1] == {}
    assert [row.overdue_total for row in await books.rows("select overdue_total from ingest.loans order by loan_id")] == [18000, 9000]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    events=event_sets(), product=products(), day=st.integers(0, LAST), more=st.integers(0, 12),
    rests=st.lists(st.integers(0, 3), min_size=11, max_size=11), ticks=st.booleans(),
)  # fmt: skip
async def test_a_rebuild_gives_what_was_taken_in_live(  # noqa: PLR0917  # Hypothesis passes them by name
    engine: AsyncEngine, events: Sequence[LoanEvent], product: ProductLine, day: int, more: int, rests: list[int], *, ticks: bool
) -> None:
    books = Books(engine, DrivenClock(datetime.combine(FIRST + timedelta(days=day), time(15, 30), UTC)))
    for table in ("loans", "events", "borrower_loans", "parked", "outbox", "products"):
        await change(books, f"delete from ingest.{table}")
    async with engine.begin() as conn:
        await books.ledger.products.add(conn, "default", "line", settings=folding.encoded_line(product), now=books.clock.now())
    wallet = Wallet("L1", "line")
    books.ledger.products._kept.clear()
    for one, days in zip(events, rests, strict=False):
        await books.commit(wallet.event(one))
        books.clock.advance(timedelta(days=days))
        if ticks:
            await books.ticker.one_pass()
    books.clock.advance(timedelta(days=more))
    before, last = await stored(books), (await books.said())[-1:]
    assert (await rebuilt(books, repair=False))[1] == {}
    await change(books, "delete from ingest.loans")
    assert (await rebuilt(books))[1] == {"L1": ("row",)}
    if ticks and more == rests[len(events) - 1] == 0:
        now = await stored(books)
        assert [row["book"] for row in now] == [row["book"] for row in before]
        assert [but_for_the_occasion(one.fact) for one in last] == [one.fact for one in (await books.said())[-1:] if last]


async def test_events_that_come_in_between_are_in_what_a_rebuild_stores_and_says(engine: AsyncEngine) -> None:
    books, names = Books(engine), [f"L{n:03d}" for n in range(450)]
    await books.commit(*[loan(name) for name in names])
    await change(books, "update ingest.loans set overdue_total = 7")
    steps = 0
    async for _ in Rebuild(engine, books.ledger, repair=True).whole(TENANT, asyncio.Event()):
        steps += 1
        await books.commit(*[repayment(name, 100, -3) for name in names[::7]])
    assert steps == 3
    assert (await rebuilt(books))[1] == {}
    rows = await books.rows("select loan_id, accepted, records, overdue_total from ingest.loans order by loan_id")
    assert [tuple(row[1:]) for row in rows] == [(4, 4, 19700) if n % 7 == 0 else (1, 1, 20000) for n in range(450)]
    latest = {one.fact.loan_id: one.fact for one in await books.said()}
    assert {(one.version, one.overdue.total) for one in latest.values()} == {(4, 19700), (1, 20000)}


async def test_a_rebuild_waits_for_a_batch_that_is_being_taken_in_and_says_what_came_of_it(engine: AsyncEngine) -> None:
    books = await a_book_of_three(engine)
    await change(books, "update ingest.loans set overdue_total = 7 where loan_id = 'L2'")
    async with engine.begin() as conn:
        await books.take(conn, repayment("L2", 1000, -1))
        late = asyncio.create_task(rebuilt(books))
        await until(lambda: waiting_for_a_lock(engine), what="the rebuild to wait for the batch")
    tally, found = await late
    assert (tally.read, found) == (3, {})
    assert (await books.said("L2"))[-1].fact.overdue.total == 18400


async def test_a_rebuild_that_was_cut_off_is_completed_by_the_next(engine: AsyncEngine) -> None:
    books, names = Books(engine), [f"L{n:03d}" for n in range(450)]
    await books.commit(*[loan(name) for name in names])
    await change(books, "update ingest.loans set overdue_total = 7")
    stop, rebuild = asyncio.Event(), Rebuild(engine, books.ledger, repair=True)
    first = []
    async for step in rebuild.whole(TENANT, stop):
        first.append(step)
        stop.set()
    assert [step.repaired for step in first] == [200]
    rest = [step async for step in rebuild.whole(TENANT, asyncio.Event(), after=first[0].last)]
    assert [(step.read, step.repaired) for step in rest] == [(200, 200), (50, 50)]
    assert len(await books.said()) == 900
    assert (await rebuilt(books))[0] == Tally(450, 0, 0, 0, ("default", "L449"))


def command(engine: AsyncEngine, *words: str) -> subprocess.Popen[str]:
    url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
    environment = {**os.environ, "DUNWELL_DATABASE_URL": url, "DUNWELL_PARTITIONS": "4", "PYTHONUNBUFFERED": "1"}
    arguments = [sys.executable, "-m", "services.cli", "ingest", "rebuild", *words]
    return subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


async def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = await asyncio.to_thread(process.communicate, timeout=60)
    return process.returncode, out, err


async def test_the_command_reports_repairs_and_ends_with_one_when_something_differed(engine: AsyncEngine) -> None:
    books = Books(engine, DrivenClock(WallClock().now()))
    await books.commit(loan("L1"), loan("L2"), loan("L3"))
    said = await books.said()
    await change(books, "update ingest.loans set outstanding_total = 7 where loan_id = 'L2'")
    line = "default/L2: outstanding_total\n"
    assert await ended(command(engine, "--dry-run")) == (1, f"{line}3 loans read, 1 differed, 0 repaired, 0 in doubt\n", "")
    assert await ended(command(engine, "--loan", "L1")) == (0, "1 loans read, 0 differed, 0 repaired, 0 in doubt\n", "")
    assert await ended(command(engine)) == (1, f"{line}3 loans read, 1 differed, 1 repaired, 0 in doubt\n", "")
    assert await ended(command(engine, "--tenant", "default")) == (0, "3 loans read, 0 differed, 0 repaired, 0 in doubt\n", "")
    [anew] = (await books.said())[len(said) :]
    [last] = [one for one in said if one.fact.loan_id == "L2"]
    assert (anew.fact, anew.partition) == (but_for_the_occasion(last.fact), last.partition)


@pytest.mark.parametrize("words", [("--loan", "L9"), ("--after", "L1"), ("--after", "other/L1"), ("--what",)])
async def test_the_command_ends_with_two_when_it_is_asked_for_what_is_not_there(engine: AsyncEngine, words: tuple[str, ...]) -> None:
    code, _, err = await ended(command(engine, *words))
    assert (code, bool(err), "Traceback" in err) == (2, True, False)


@pytest.mark.chaos
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_the_command_may_be_ended_in_the_middle_and_run_again(engine: AsyncEngine, number: signal.Signals) -> None:
    books, names = Books(engine, DrivenClock(WallClock().now())), [f"L{n:03d}" for n in range(450)]
    await books.commit(*[loan(name) for name in names])
    await change(books, "update ingest.loans set outstanding_total = 7")
    async with engine.begin() as conn:
        await conn.execute(text("select 1 from ingest.loans where loan_id = 'L300' for update"))
        process = command(engine)
        await until(lambda: waiting_for_a_lock(engine), what="the second batch", within_s=60)
        process.send_signal(number)
        if number is signal.SIGKILL:
            await ended(process)
    if number is signal.SIGINT:
        code, out, err = await ended(process)
        assert (code, out.splitlines()[-1]) == (130, "400 loans read, 400 differed, 400 repaired, 0 in doubt")
        assert err == "ended early, continue with --after default/L399\n"
        code, out, _ = await ended(command(engine, "--after", "default/L399"))
        assert (code, out.splitlines()[-1]) == (1, "50 loans read, 50 differed, 50 repaired, 0 in doubt")
    else:
        code, out, _ = await ended(command(engine))
        assert (code, out.splitlines()[-1]) == (1, "450 loans read, 250 differed, 250 repaired, 0 in doubt")
    assert (await ended(command(engine)))[:2] == (0, "450 loans read, 0 differed, 0 repaired, 0 in doubt\n")
    assert len(await books.said()) == 900


async def none_outdated(books: Books) -> bool:
    return not await books.rows("select 1 from ingest.loans where fold <> :fold", fold=FOLD)


async def upgraded(books: Books) -> int:
    """Let a worker of this release make one pass, and return how many facts changed."""
    return await Upgrade(books.engine, books.ledger).one_pass(asyncio.Event())


async def test_a_running_service_folds_the_books_of_another_release_again_and_says_only_what_has_changed(databases: Databases) -> None:
    async with databases.fresh("ingest") as engine, running_ingest(engine, FACTS) as (running, heard):
        await running.post(loan("L1"), loan("L2"), loan("L3", instalment(1, 200)))
        books = Books(engine, running.clock)
        before, said = await stored(books), len(heard.of("debt.overdue.v1"))
        assert said == 2
        await change(books, "update ingest.loans set fold = :fold", fold=OTHER_FOLD)
        await change(books, "update ingest.loans set outstanding_total = 7 where loan_id in ('L2', 'L3')")
        stop, [worker] = asyncio.Event(), [one for one in running.service.workers if one.name == "upgrade"]
        work = asyncio.ensure_future(worker.run(stop))
        await until(lambda: none_outdated(books), what="the loans of this release")
        stop.set()
        await work
        await running.service.pump()
        [changed] = heard.of("debt.changed.v1")
        assert (changed.loan_id, changed.reason, changed.version, len(heard.of("debt.overdue.v1"))) == ("L2", "rebuild", 1, 2)
        assert await stored(books) == before


@pytest.mark.parametrize(("damage", "says"), [
    ("fold = 0", False), ("fold = 7", False), ("fold = -1", True), ("fold = 7, book = '\\x00'", True), ("fold = 7, bucket = 'M9'", True),
    ("fold = 7, book = (select book from ingest.loans where loan_id = 'L1')", True),
    ("fold = 7, next_at = next_at + interval '1 day'", True),
])  # fmt: skip
async def test_a_fact_is_said_anew_where_the_other_release_said_otherwise_or_nobody_can_know(
    engine: AsyncEngine, damage: str, *, says: bool
) -> None:
    books = await a_book_of_three(engine)
    before, said = await stored(books), await books.said()
    await change(books, f"update ingest.loans set {damage} where loan_id = 'L2'")
    assert await upgraded(books) == int(says)
    assert await stored(books) == before
    last = [one for one in said if one.fact.loan_id == "L2"][-1]
    assert [one.fact for one in (await books.said())[len(said) :]] == [but_for_the_occasion(last.fact)] * says


async def test_of_two_replicas_that_come_up_together_one_says_a_changed_fact(engine: AsyncEngine) -> None:
    books, names = Books(engine), [f"L{n:03d}" for n in range(450)]
    await books.commit(*[loan(name) for name in names])
    await change(books, "update ingest.loans set fold = :fold, bucket = 'M9'", fold=OTHER_FOLD)
    assert sum(await asyncio.gather(upgraded(books), upgraded(Books(engine)))) == 450
    assert len(await books.said()) == 900


async def test_a_loan_that_the_new_rules_cannot_fold_is_said_to_be_in_doubt_once(engine: AsyncEngine) -> None:
    books = await a_book_of_three(engine)
    said = await books.said()
    await change(books, "update ingest.events set data = '{}' where loan_id = 'L2' and type = 'wallet.repayment.received.v1'")
    await change(books, "update ingest.loans set fold = :fold", fold=OTHER_FOLD)
    worker = Upgrade(engine, books.ledger)
    assert [await worker.one_pass(asyncio.Event()) for _ in range(3)] == [1, 0, 0]
    assert await upgraded(books) == 0
    [anew] = (await books.said())[len(said) :]
    assert (anew.fact.loan_id, anew.fact.overdue.total, anew.fact.doubt is not None) == ("L2", 19400, True)


async def test_rules_that_fail_everywhere_stop_the_service_before_the_whole_book_is_in_doubt(engine: AsyncEngine) -> None:
    books = Books(engine)
    await books.commit(*[loan(f"L{n:03d}") for n in range(450)])
    await change(books, "update ingest.events set data = '{}'")
    await change(books, "update ingest.loans set fold = :fold", fold=OTHER_FOLD)
    with pytest.raises(TooManyUndigestedError):
        await upgraded(books)
    assert len(await books.rows("select 1 from ingest.loans where fold_error is not null")) == 200


async def test_loans_of_another_release_are_found_by_an_index_that_is_empty_but_for_them(engine: AsyncEngine) -> None:
    books = await a_book_of_three(engine)
    [row] = await books.rows("select pg_get_expr(indpred, indrelid) from pg_index where indexrelid = 'ingest.loans_outdated'::regclass")
    assert row[0] == f"(fold <> {FOLD})"
    async with engine.begin() as conn:
        asked = {"tenant": "", "loan_id": "", "failed": True, "limit": 9}
        plan = "\n".join((await conn.execute(text(f"explain {store._OUTDATED.text}"), asked)).scalars())
        assert ("loans_outdated" in plan, "pkey" in plan, "Seq Scan" in plan) == (True, False, False)
        assert await store.outdated(conn, ("", ""), failed=True, limit=9) == []
