"""The cost of a ticker pass when nothing is due, beside a single probe of the index of what is due next, over the same driver."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

import asyncpg

from libs.common.clock import DrivenClock
from libs.common.db.engine import make_engine
from services.scheduler.changing import LET_FACTS_BY
from services.scheduler.store import watch
from services.scheduler.tables import cases as table
from tests.bench import late, nine
from tests.bench.machine import cpu_s
from tests.bench.stack import Stack

PASSES = 2_000
FEW = 100
_COPIED = [column.name for column in table.c if column.name not in ("borrower_id", "case_id", "next_at", "covered_until")]
_GROW = (
    f"insert into scheduler.cases (borrower_id, case_id, next_at, {', '.join(_COPIED)})"
    " select 'w' || lpad(n.n::text, 8, '0'), 'w-' || n.n, c.next_at + interval '1 second' + n.n * interval '1 millisecond',"
    f" {', '.join('c.' + name for name in _COPIED)}"
    " from (select * from scheduler.cases where next_at is not null order by case_id limit 1) c, generate_series(1, $1::int) n"
)
_PROBE = "select next_at from scheduler.cases where next_at <= $1 order by next_at, case_id limit 1"


async def probed(stack: Stack, book: str) -> list[str]:
    """Return the cost of a pass over a copy of this book, in which every case waits."""
    async with stack.copied(book) as url:
        return [await _looked_at(stack, url)]


async def waiting(stack: Stack, number: int) -> list[str]:
    """Return the cost of a pass when so many cases wait: copies of a real one, each with its own due moment."""
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
    """Return what the query of a pass and a bare probe read, and the CPU that a pass and a probe use in both processes."""
    before = late.NINE - late.SETTLED
    conn, engine = await asyncpg.connect(url), make_engine(url, application="scheduler")
    try:
        number = await conn.fetchval("select count(*) from scheduler.cases where next_at is not null")
        read = {name: await _buffers(conn, statement) for name, statement in _statements(before.isoformat()).items()}
        ticker = nine.ticker(engine, DrivenClock(before))
        async with watch.looking(engine) as look:
            await ticker.make_pass(look)
            passed = await _cpu_us(lambda: ticker.make_pass(look), stack.postgres_pid)
        await conn.fetch(_PROBE, before)
        bare = await _cpu_us(lambda: conn.fetch(_PROBE, before), stack.postgres_pid)
    finally:
        await conn.close()
        await engine.dispose()
    return (
        f"  nothing due, {number:,} cases wait: the look at all timers reads {read['look']} buffers, a bare one into one index"
        f" {read['probe']}; a pass takes {passed[0]:.0f} us of the process and {passed[1]:.0f} of PostgreSQL, that look {bare[0]:.0f} and"
        f" {bare[1]:.0f}"
    )


def _statements(now: str) -> dict[str, str]:
    look = watch.LOOK.replace("$1", f"'{now}'").replace("$2", f"'{LET_FACTS_BY.total_seconds()} s'")
    return {"look": look, "probe": _PROBE.replace("$1", f"'{now}'")}


async def _buffers(conn: asyncpg.Connection, statement: str) -> int:
    """Return how many buffers a statement reads once its plan is warm."""
    for _ in range(2):
        found = await conn.fetchval(f"explain (analyze, buffers, format json) {statement}")
    plan = json.loads(found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _cpu_us(do: Callable[[], Awaitable[object]], postgres: int) -> tuple[float, float]:
    """Return the microseconds of CPU per call: of this process, and of PostgreSQL, whose CPU clock ticks 100 times a second."""
    began, theirs = time.process_time(), cpu_s(postgres)
    for _ in range(PASSES):
        await do()
    return (time.process_time() - began) / PASSES * 1e6, (cpu_s(postgres) - theirs) / PASSES * 1e6
