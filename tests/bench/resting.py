"""What a pass of the ticker costs where nothing is due, beside one look into the index of what is due next."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

import asyncpg

from libs.common.clock import DrivenClock
from libs.common.db.engine import make_engine
from services.scheduler.store import cases
from services.scheduler.tables import cases as table
from tests.bench import late, nine
from tests.bench.machine import cpu_s
from tests.bench.stack import Stack

PASSES = 200
FEW = 100
_COPIED = [column.name for column in table.c if column.name not in ("borrower_id", "case_id", "next_at", "covered_until")]
_GROW = (
    f"insert into scheduler.cases (borrower_id, case_id, next_at, {', '.join(_COPIED)})"
    " select 'w' || lpad(n.n::text, 8, '0'), 'w-' || n.n, c.next_at + interval '1 second' + n.n * interval '1 millisecond',"
    f" {', '.join('c.' + name for name in _COPIED)}"
    " from (select * from scheduler.cases where next_at is not null order by case_id limit 1) c, generate_series(1, $1::int) n"
)
_FETCHED = "select blks_hit + blks_read from pg_stat_database where datname = current_database()"
_PROBE = "select next_at from scheduler.cases where next_at <= $1 order by next_at, case_id limit 1"


async def probed(stack: Stack, book: str) -> list[str]:
    """Return what a pass costs in a copy of this book, in which all wait."""
    async with stack.copied(book) as url:
        return [await _looked_at(stack, url)]


async def waiting(stack: Stack, number: int) -> list[str]:
    """Return what a pass costs where so many cases wait: copies of a real one, each with a moment of its own."""
    async with stack.database("scheduler") as url:
        await late.fill(url, FEW)
        conn = await asyncpg.connect(url)
        try:
            await conn.execute(_GROW, number - FEW, timeout=None)
            await conn.execute("vacuum analyze scheduler.cases", timeout=None)
        finally:
            await conn.close()
        return [await _looked_at(stack, url)]


async def _looked_at(stack: Stack, url: str) -> str:
    """Return what a claim and a bare probe read, and what a pass and a probe read and take of both processes."""
    before = late.NINE - late.SETTLED
    conn, engine = await asyncpg.connect(url), make_engine(url, application="scheduler")
    try:
        number = await conn.fetchval("select count(*) from scheduler.cases where next_at is not null")
        read = {name: await _buffers(conn, statement) for name, statement in _statements(before.isoformat()).items()}
        ticker = nine.ticker(engine, DrivenClock(before))
        await ticker.make_pass()
        await engine.dispose()
        fetched, database = await conn.fetchval(_FETCHED), cpu_s(stack.postgres_pid)
        passed = await _cpu_us(ticker.make_pass)
        await engine.dispose()  # a connection that ends tells what it has read
        fetched, database = await conn.fetchval(_FETCHED) - fetched, cpu_s(stack.postgres_pid) - database
        await conn.fetch(_PROBE, before)
        bare = await _cpu_us(lambda: conn.fetch(_PROBE, before))
    finally:
        await conn.close()
        await engine.dispose()
    return (
        f"  nothing due, {number:,} cases wait: a claim reads {read['claim']} buffers, a bare look into the index {read['probe']};"
        f" a pass of all timers reads {fetched / PASSES:.0f} and takes {passed:.0f} us of the process and {database / PASSES * 1e6:.0f} of"
        f" PostgreSQL, that look {bare:.0f} of the process"
    )


def _statements(now: str) -> dict[str, str]:
    values = {"now": now, "after_at": cases.BEGINNING[0].isoformat(), "after_id": "", "limit": "500"}
    claim = str(cases.CLAIM)
    for name, value in values.items():
        claim = claim.replace(f":{name}", value if name == "limit" else f"'{value}'")
    return {"claim": claim, "probe": _PROBE.replace("$1", f"'{now}'")}


async def _buffers(conn: asyncpg.Connection, statement: str) -> int:
    """Return how many buffers a statement reads once its plan is warm."""
    for _ in range(2):
        found = await conn.fetchval(f"explain (analyze, buffers, format json) {statement}")
    plan = json.loads(found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _cpu_us(do: Callable[[], Awaitable[object]]) -> float:
    began = time.process_time()
    for _ in range(PASSES):
        await do()
    return (time.process_time() - began) / PASSES * 1e6
