"""The machine's limit for due cases: the rows claimed and rescheduled, one step per case, one copy into the outbox. Nothing else."""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta

import asyncpg
import uvloop

from tests.bench.late import NINE, SECOND

BATCH = 1_000
_MOVE = (
    "with due as (select tenant, borrower_id, case_id, next_at from scheduler.cases where next_at <= $3"
    f" and (next_at, case_id) > ($1::timestamptz, $2) order by next_at, case_id limit {BATCH} for update skip locked)"
    " update scheduler.cases c set next_at = d.next_at + interval '7 days', moved_at = $3 from due d"
    " where (c.tenant, c.borrower_id, c.case_id) = (d.tenant, d.borrower_id, d.case_id)"
    " returning d.next_at, c.case_id, c.tenant, c.borrower_id, c.spell"
)
_STEP = [
    "tenant", "borrower_id", "task_id", "case_id", "spell", "step", "purpose", "occurrence", "state", "requested_at", "expires_at", "debts",
]  # fmt: skip


async def run(database: str) -> None:
    """Reschedule everything that is due."""
    conn = await asyncpg.connect(database)
    moved, after = 0, (await conn.fetchval("select min(next_at) - interval '1 day' from scheduler.cases"), "")
    print("begin", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    while True:
        async with conn.transaction():
            rows = await conn.fetch(_MOVE, *after, NINE)
            if not rows:
                break
            ends = NINE + timedelta(hours=2)
            steps = [(r[2], r[3], f"t-{r[1]}", r[1], r[4], SECOND, "dunning", 1, "requested", NINE, ends, b"[]") for r in rows]
            await conn.copy_records_to_table("case_steps", schema_name="scheduler", columns=_STEP, records=steps)
            said = [(len(rows), repr(steps).encode())]
            await conn.copy_records_to_table("outbox", schema_name="scheduler", columns=["messages", "bundle"], records=said)
        moved, after = moved + len(rows), max(tuple(row)[:2] for row in rows)
    print(f"end {moved}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await conn.close()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1]))
