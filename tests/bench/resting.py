"""What a pass of the ticker costs where nothing is due, beside one look into the index of what is due next."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable

import asyncpg

from libs.common.clock import DrivenClock
from libs.common.db.engine import make_engine
from services.scheduler.store import cases
from tests.bench import late, nine
from tests.bench.stack import Stack

PASSES = 200
_PROBE = "select next_at from scheduler.cases where next_at <= $1 order by next_at, case_id limit 1"


async def probed(stack: Stack, book: str) -> list[str]:
    """Return what a claim and a bare probe read in a book in which all wait, and the CPU of a pass and of a probe."""
    before = late.NINE - late.SETTLED
    async with stack.copied(book) as url:
        conn, engine = await asyncpg.connect(url), make_engine(url, application="scheduler")
        try:
            number = await conn.fetchval("select count(*) from scheduler.cases where next_at is not null")
            read = {name: await _buffers(conn, statement) for name, statement in _statements(before.isoformat()).items()}
            ticker = nine.ticker(engine, DrivenClock(before))
            await ticker.make_pass()
            passed = await _cpu_us(ticker.make_pass)
            await conn.fetch(_PROBE, before)
            bare = await _cpu_us(lambda: conn.fetch(_PROBE, before))
        finally:
            await conn.close()
            await engine.dispose()
    said = (
        f"  nothing due, {number:,} cases wait: a claim reads {read['claim']} buffers, a bare look into the index {read['probe']};"
        f" a pass of all timers takes {passed:.0f} us of the process, that look {bare:.0f}"
    )
    return [said]


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
