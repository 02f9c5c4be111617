"""A midnight on which many loans fall due: nothing else stands still, nobody is forgotten, nothing is said twice."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import stopwatch
from libs.common.contracts.catalogue import FACTS
from libs.common.lifecycle import Service
from services.ingest import ticker
from services.ingest.store import loans as store
from services.ingest.ticker import ASK_EVERY_S, BATCH, GIVES_WAY_S, UNSAID, UNTAKEN
from tests.integration.ingest_decisions.books import Books
from tests.support.postgres import Databases
from tests.support.running import NDJSON, Running, running_ingest, until
from tests.support.wallet import NOON, Event, instalment, loan, repayment

STORM = 8 * BATCH
PASSED = timedelta(days=21)
"""From noon of the day on which the loans are taken in to behind their due date, 20 days later."""


def storm(number: int) -> list[Event]:
    return [loan(f"T{n:05d}", instalment(1, 20)) for n in range(number)]


async def post(running: Running, *events: Event) -> None:
    """Publish events as a wallet does, and do nothing else for the service."""
    answer = await running.client.post("/v1/events", content=b"\n".join(map(msgspec.json.encode, events)), headers=NDJSON)
    assert answer.status_code == 202, answer.text


async def due(running: Running) -> int:
    async with running.engine.connect() as conn:
        statement = text("select count(*) from ingest.loans where next_at <= :now")
        return int((await conn.execute(statement, {"now": running.clock.now()})).scalar_one())


@asynccontextmanager
async def at_work(service: Service, *names: str) -> AsyncIterator[None]:
    """Let these workers of a service run."""
    stop = asyncio.Event()
    running = [asyncio.ensure_future(worker.run(stop)) for worker in service.workers if worker.name in names]
    try:
        yield
    finally:
        stop.set()
        await asyncio.gather(*running)


async def test_a_payment_is_taken_in_and_said_while_a_storm_of_due_loans_is_still_drained(databases: Databases) -> None:
    async with databases.fresh("ingest", pool_size=12) as engine, running_ingest(engine, FACTS) as (running, heard):
        events = storm(STORM)
        for at in range(0, STORM, BATCH):
            await post(running, *events[at : at + BATCH])
        await post(running, loan("paid"))
        running.clock.advance(PASSED)
        assert await due(running) == STORM + 1
        async with at_work(running.service, "ticker", "relay"):
            await until(lambda: any(fact.loan_id.startswith("T") for fact in heard.of("debt.overdue.v1")), what="the storm's first fact")
            await post(running, repayment("paid", 4000, 21))
            assert await due(running) > 0, "the storm was over before the payment was in"
            said = [fact for fact in heard.of("debt.changed.v1") if fact.loan_id == "paid" and fact.reason == "event"]
            assert [fact.version for fact in said] == [2]
            await until(lambda: _none_is_due(running), what="the end of the storm", within_s=60)
            await until(lambda: len(heard.of("debt.overdue.v1")) >= STORM, what="the last fact")
        late = Counter(fact.loan_id for fact in heard.of("debt.overdue.v1") if fact.loan_id != "paid")
        assert late == {event["data"]["loan_id"]: 1 for event in events}


async def test_two_tickers_share_a_storm_and_say_each_fact_once(engine: AsyncEngine) -> None:
    replicas, events = [Books(engine), Books(engine)], storm(4 * BATCH)
    await replicas[0].commit(*events)
    for books in replicas:
        books.clock.advance(PASSED)
    taken = await asyncio.gather(*[books.ticker.one_pass() for books in replicas])
    assert sum(taken) == len(events)
    assert min(taken) > 0
    late = Counter(one.fact.loan_id for one in await replicas[0].said() if one.type == "debt.overdue.v1")
    assert late == {event["data"]["loan_id"]: 1 for event in events}


async def test_a_storm_waits_for_what_is_to_be_published_and_goes_on_slowly_where_nobody_does(engine: AsyncEngine) -> None:
    """Else the fact of a payment stands in the outbox behind a million others."""
    books, events = Books(engine), storm(UNSAID + BATCH)
    await books.commit(*events)
    books.clock.advance(PASSED)
    began = stopwatch()
    assert await books.ticker.one_pass(asyncio.Event()) == len(events)
    assert stopwatch() - began > GIVES_WAY_S


async def test_a_storm_waits_for_those_who_read_its_facts_and_goes_on_without_them_where_they_stand_still(
    engine: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a payment reaches the notifier behind a million others."""
    books, looks = Books(engine), itertools.chain(range(UNTAKEN + 5, UNTAKEN - 1, -1), itertools.repeat(UNTAKEN + 1))
    monkeypatch.setattr(ticker, "WAITS_FOR_READERS_S", 2 * ASK_EVERY_S)
    await books.commit(*storm(2))
    books.clock.advance(PASSED)

    async def untaken() -> int:
        return next(looks)

    monkeypatch.setattr(ticker, "BATCH", 1)
    monkeypatch.setattr(ticker, "HANDS", 1)
    monkeypatch.setattr(ticker, "ASK_AGAIN_S", 0)
    began = stopwatch()
    assert await dataclasses.replace(books.ticker, untaken=untaken).one_pass(asyncio.Event()) == 2
    assert next(looks) == UNTAKEN + 1, "it did not wait until they had come near"
    assert stopwatch() - began >= (5 + 2) * ASK_EVERY_S


@pytest.mark.parametrize("column", ["records", "accepted", "book", "borrower_id", "settings", "product_version"])
async def test_time_alone_changes_nothing_that_only_an_event_may_change(engine: AsyncEngine, column: str) -> None:
    books = Books(engine)
    await books.commit(loan("L1", instalment(1, 20)), repayment("L1", 1000, -3))
    before = await books.rows(f"select {column} from ingest.loans")
    books.clock.advance(PASSED)
    assert await books.ticker.one_pass() == 1
    assert await books.rows(f"select {column} from ingest.loans") == before
    [row] = await books.rows("select phase, overdue_total from ingest.loans")
    assert tuple(row) == ("overdue", 8000)


async def _none_is_due(running: Running) -> bool:
    return not await due(running)


async def test_what_wakes_is_found_by_its_index_and_nobody_else_is_read(engine: AsyncEngine) -> None:
    """Five loans are due among twenty thousand: the claim touches those five."""
    async with engine.begin() as conn:
        await conn.execute(
            text(
                "insert into ingest.loans (tenant, loan_id, next_at)"
                " select 'default', 'L' || n, cast(:noon as timestamptz) + n * interval '1 hour' from generate_series(-4, 20000) as n"
            ),
            {"noon": NOON},
        )
    async with engine.connect() as conn:
        await conn.execution_options(isolation_level="AUTOCOMMIT")
        await conn.execute(text("analyze ingest.loans"))
    at, tenant, loan_id = store.BEGINNING
    given = {"now": NOON, "at": at, "tenant": tenant, "loan_id": loan_id, "limit": 500}
    async with engine.begin() as conn:
        plan = (await conn.execute(text(f"explain (analyze, format json) {store._DUE.text}"), given)).scalar_one()
    scans = list(_scans(plan[0]["Plan"]))
    assert {scan["Node Type"] for scan in scans} <= {"Index Scan", "Index Only Scan"}
    assert sum(scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0) for scan in scans) == 5


def _scans(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "Scan" in plan["Node Type"]:
        yield plan
    for part in plan.get("Plans", ()):
        yield from _scans(part)
