"""An alternative for due cases: a job per case in pgqueuer, which locks it, takes the next step, marks it and writes the next date.

Runs in the virtual environment of the peers, without any of our code. It checks no stops, plans nothing, writes no timeline and no message.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timedelta

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode

CONNECTIONS, BATCH, ENQUEUED = 16, 100, 1_000
STEPS = (("gentle", 1), ("firm", 2), ("last", 9))
_LOCK = "select next_at, spell from scheduler.cases where tenant = $1 and borrower_id = $2 and case_id = $3 for update"
_SAID = "select step from scheduler.case_steps where tenant = $1 and borrower_id = $2 and case_id = $3"
_MARK = (
    "insert into scheduler.case_steps (tenant, borrower_id, task_id, case_id, spell, step, purpose, occurrence, state, requested_at,"
    " expires_at, debts)"
    " values ($1, $2, $3, $4, $5, $6, 'dunning', 1, 'requested', $7, $8, '')"
)
_MOVE = "update scheduler.cases set next_at = $4, moved_at = $5 where tenant = $1 and borrower_id = $2 and case_id = $3"


async def run(url: str, number: int, now: datetime) -> None:
    """Process so many of the due cases on the first line of standard input."""
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        queries = Queries.from_asyncpg_pool(pool)
        await queries.install()
        rows = await pool.fetch("select tenant, borrower_id, case_id from scheduler.cases where next_at <= $1 limit $2", now, number)
        jobs = [json.dumps(list(row)).encode() for row in rows]
        for at in range(0, len(jobs), ENQUEUED):
            some = jobs[at : at + ENQUEUED]
            await queries.enqueue(["due"] * len(some), some, [0] * len(some))
        await pool.execute("vacuum analyze")
        print("begin", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await _work(pool, now)
        print(f"end {len(jobs)}", flush=True)
        await asyncio.to_thread(sys.stdin.read)


async def _work(pool: asyncpg.Pool, now: datetime) -> None:
    worker = PgQueuer.from_asyncpg_pool(pool)

    @worker.entrypoint("due")  # type: ignore[untyped-decorator]  # it is not installed where types are checked
    async def due(job: Job) -> None:
        key = json.loads(job.payload or b"[]")
        async with pool.acquire() as conn, conn.transaction():
            case = await conn.fetchrow(_LOCK, *key)
            if case is None or case["next_at"] is None or case["next_at"] > now:
                return
            said = {row["step"] for row in await conn.fetch(_SAID, *key)}
            left = [step for step in STEPS if step[0] not in said]
            name, day = left[0]
            following = now + timedelta(days=left[1][1] - day) if len(left) > 1 else None
            await conn.execute(_MARK, key[0], key[1], f"q-{key[2]}", key[2], case["spell"], name, now, now + timedelta(hours=2))
            await conn.execute(_MOVE, *key, following, now)

    await worker.run(batch_size=BATCH, mode=QueueExecutionMode.drain)


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], int(sys.argv[2]), datetime.fromisoformat(sys.argv[3])))
