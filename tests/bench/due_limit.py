"""The machine's limit for due loans: the rows claimed and rescheduled, their content copied into the outbox once. Nothing else."""

from __future__ import annotations

import asyncio
import sys

import asyncpg
import uvloop

BATCH = 1_000
_MOVE = (
    "with due as (select tenant, loan_id from ingest.loans where next_at <= now()"
    f" and (next_at, tenant, loan_id) > ($1::timestamptz, $2, $3) order by next_at, tenant, loan_id limit {BATCH} for update skip locked)"
    " update ingest.loans l set next_at = l.next_at + interval '30 days' from due d where l.tenant = d.tenant and l.loan_id = d.loan_id"
    " returning l.next_at - interval '30 days', l.tenant, l.loan_id, l.book"
)


async def run(database: str) -> None:
    """Reschedule everything that is due."""
    conn = await asyncpg.connect(database)
    moved, after = 0, (await conn.fetchval("select min(next_at) - interval '1 day' from ingest.loans"), "", "")
    print("begin", flush=True)
    while True:
        async with conn.transaction():
            rows = await conn.fetch(_MOVE, *after)
            if not rows:
                break
            said = [(1, row[3]) for row in rows]
            await conn.copy_records_to_table("outbox", schema_name="ingest", columns=["messages", "bundle"], records=said)
        moved, after = moved + len(rows), max(tuple(row)[:3] for row in rows)
    print(f"end {moved}", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await conn.close()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1]))
