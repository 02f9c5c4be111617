"""The machine's limit: records read, key columns and body copied into a table without an index, offsets committed. Nothing else."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import asyncpg
import uvloop
from aiokafka import AIOKafkaConsumer

BATCH = 2_000


async def run(bootstrap: str, database: str, group: str, topic: str, events: int) -> None:
    """Copy so many records of a topic."""
    conn = await asyncpg.connect(database)
    await conn.execute("create table raw (loan_id text, event_id text, type text, time text, body bytea)")
    consumer = AIOKafkaConsumer(
        topic, bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False, auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )  # fmt: skip
    await consumer.start()
    while not consumer.assignment():  # noqa: ASYNC110  # there is no event to wait for
        await asyncio.sleep(0.01)
    print("begin", flush=True)
    taken = 0
    while taken < events:
        fetched = await consumer.getmany(timeout_ms=500, max_records=BATCH)
        rows = [_row(record) for records in fetched.values() for record in records]
        if rows:
            await conn.copy_records_to_table("raw", records=rows)
            await consumer.commit()
            taken += len(rows)
    print("end", flush=True)
    copied = await conn.fetchval("select count(distinct event_id) from raw")
    print(f"checked {copied}", flush=True)
    sys.stdin.read()
    await consumer.stop()
    await conn.close()


def _row(record: Any) -> tuple[str, str, str, str, bytes]:
    headers = dict(record.headers)
    return record.key.decode(), headers["ce_id"].decode(), headers["ce_type"].decode(), headers["ce_time"].decode(), record.value


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5])))
