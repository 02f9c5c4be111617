"""What a pass of the ticker costs where nothing is due, beside one look into the index of what is due next, over the same driver."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

import asyncpg

from libs.common.clock import DrivenClock
from libs.common.db.engine import make_engine
from services.scheduler.changing import LET_FACTS_BY
from services.scheduler.store import watch
from tests.bench import late, nine
from tests.bench.machine import cpu_s
from tests.bench.stack import Stack

PASSES = 2_000
_PROBE = "select next_at from scheduler.cases where next_at <= $1 order by next_at, case_id limit 1"


async def probed(stack: Stack, book: str) -> list[str]:
    """Return what the look of a pass and a bare probe read in a book in which all wait, and the CPU of a pass and of a probe."""
    before = late.NINE - late.SETTLED
    async with stack.copied(book) as url:
        conn, engine = await asyncpg.connect(url), make_engine(url, application="scheduler")
        try:
            number = await conn.fetchval("select count(*) from scheduler.cases where next_at is not null")
            read = {name: await _buffers(conn, statement) for name, statement in _statements(before.isoformat()).items()}
            ticker = nine.ticker(engine, DrivenClock(before))
            await ticker.make_pass()
            passed = await _cpu_us(ticker.make_pass, stack.postgres_pid)
            await conn.fetch(_PROBE, before)
            bare = await _cpu_us(lambda: conn.fetch(_PROBE, before), stack.postgres_pid)
        finally:
            await conn.close()
            await engine.dispose()
    said = (
        f"  nothing due, {number:,} cases wait: the look at all timers reads {read['look']} buffers, a bare one into one index"
        f" {read['probe']}; a pass takes {passed[0]:.0f} us of the process and {passed[1]:.0f} of PostgreSQL, that look {bare[0]:.0f} and"
        f" {bare[1]:.0f}"
    )
    return [said]


def _statements(now: str) -> dict[str, str]:
    look = str(watch.LOOK).replace(":now", f"'{now}'").replace(":facts_first", f"'{LET_FACTS_BY.total_seconds()} s'")
    return {"look": look, "probe": _PROBE.replace("$1", f"'{now}'")}


async def _buffers(conn: asyncpg.Connection, statement: str) -> int:
    """Return how many buffers a statement reads once its plan is warm."""
    for _ in range(2):
        found = await conn.fetchval(f"explain (analyze, buffers, format json) {statement}")
    plan = json.loads(found)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def _cpu_us(do: Callable[[], Awaitable[object]], postgres: int) -> tuple[float, float]:
    """Return the microseconds of CPU that it takes each time: of this process, and of PostgreSQL, whose clock ticks 100 times a second."""
    began, theirs = time.process_time(), cpu_s(postgres)
    for _ in range(PASSES):
        await do()
    return (time.process_time() - began) / PASSES * 1e6, (cpu_s(postgres) - theirs) / PASSES * 1e6
