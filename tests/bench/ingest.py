"""From the topic to the committed ledger and the published facts: the limit, ours and an alternative, side by side in rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.common.contracts.catalogue import FACTS, LOAN_EVENTS_TOPIC
from libs.common.contracts.overdue_facts import OverdueFact
from tests.bench.events import PARTITIONS, Book
from tests.bench.loading import post_all
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess, fine, measured, spread, whole
from tests.bench.stack import Stack
from tests.support.kafka import free_port

AT_ONCE = 16


@dataclass
class Rounds:
    """The results of each round."""

    limit: list[Measured] = field(default_factory=list)
    ours: list[Measured] = field(default_factory=list)
    peer: list[Measured] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the figures: medians with minimum and maximum."""
        return [
            *[
                f"  {name:<14} {spread([m.rate for m in rows], whole)} events/s, {spread([m.cpu_ms for m in rows], fine)} ms of CPU an"
                f" event ({rows[-1].cpu_parts} us)"
                for name, rows in (("limit", self.limit), ("ours", self.ours), ("another's way", self.peer))
            ],
            compared("limit", self.ours, self.limit),
            compared("other", self.ours, self.peer),
        ]


async def run(stack: Stack, book: Book, few: Book, rounds: int) -> Rounds:
    """Measure in rounds; the first pass of the limit only warms the broker up."""
    found = Rounds()
    await limit(stack, book, 0)
    for number in range(1, rounds + 1):
        found.limit.append(await limit(stack, book, number))
        found.ours.append(await _ours(stack, book))
        found.peer.append(await _peer(stack, few))
    return found


async def limit(stack: Stack, book: Book, number: int) -> Measured:
    """Copy the events into a table: the most that the machine can do."""
    async with stack.database() as url:
        words = [stack.broker.bootstrap, url, f"limit-{number}", LOAN_EVENTS_TOPIC.name, str(len(book.events))]
        return measured("limit", words, items=len(book.events), trees=stack.trees)


async def _ours(stack: Stack, book: Book) -> Measured:
    before = await fact_ends(stack)
    async with stack.database("ingest") as url:
        words = [stack.broker.bootstrap, url, str(len(book.events)), "1"]
        result = measured("ours", words, items=len(book.events), trees=stack.trees)
        await check_ledger(url, book)
        await check_facts(stack, url, before)
    return result


async def _peer(stack: Stack, few: Book) -> Measured:
    async with stack.database() as url:
        port = free_port()
        worker = WorkerProcess("peer", url, str(port))
        try:
            worker.wait_for("ready")
            bodies = [sent.structured for sent in few.events]
            watch = Stopwatch({"server": worker.process.pid, "postgres": stack.postgres_pid})
            at, disbursed = f"http://127.0.0.1:{port}/events", few.loans
            for part in (bodies[:disbursed], bodies[disbursed:]):
                await post_all(at, part, headers={"Content-Type": "application/json"}, at_once=AT_ONCE)
            result = watch.stop(len(bodies))
        finally:
            worker.end()
        found = await one_row(url, "select (select count(*) from event), (select count(*) from outgoing), sum(scheduled - paid) from loan")
        require("another's way", tuple(map(int, found)), (len(bodies), len(bodies), few.outstanding))
    return result


async def check_ledger(url: str, book: Book) -> None:
    """Compare the ledger with what was sent."""
    found = await one_row(
        url,
        "select (select count(*) from ingest.events), count(*), sum(outstanding_total), count(*) filter (where overdue_total > 0),"
        " sum(records), (select count(*) from ingest.parked) from ingest.loans",
    )
    events = len(book.events)
    require("the ledger", tuple(map(int, found)), (events, book.loans, book.outstanding, book.overdue_loans, events, 0))


async def check_facts(stack: Stack, url: str, before: dict[TopicPartition, int]) -> None:
    """Compare the last fact of every loan with the ledger; a loan without a fact has never been due."""
    said: dict[str, tuple[int, int]] = {}
    async for record in records(stack, before):
        if dict(record.headers)["ce_type"] != b"debt.watermark.v1":
            fact = msgspec.json.decode(record.value, type=OverdueFact)
            said[fact.loan_id] = (fact.version, fact.outstanding.total)
    conn = await asyncpg.connect(url)
    try:
        rows = await conn.fetch("select loan_id, records, outstanding_total from ingest.loans where published")
    finally:
        await conn.close()
    require("the facts", said, {row[0]: (row[1], row[2]) for row in rows})


async def fact_ends(stack: Stack) -> dict[TopicPartition, int]:
    """Return the present end offsets of the facts."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.broker.bootstrap)
    await consumer.start()
    try:
        return dict(await consumer.end_offsets([TopicPartition(FACTS.name, n) for n in range(PARTITIONS)]))
    finally:
        await consumer.stop()


async def records(stack: Stack, before: dict[TopicPartition, int]) -> Any:
    """Yield the facts on the bus from these offsets to their present end."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.broker.bootstrap)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(before))
        left = {tp for tp in before if ends[tp] > before[tp]}
        consumer.assign(sorted(left))
        for tp in left:
            consumer.seek(tp, before[tp])
        while left:
            for tp, rows in (await consumer.getmany(timeout_ms=500, max_records=5000)).items():
                for record in rows:
                    yield record
                if rows and rows[-1].offset + 1 >= ends[tp]:
                    left.discard(tp)
    finally:
        await consumer.stop()


async def one_row(url: str, statement: str) -> Any:
    """Return the single row of a statement."""
    conn = await asyncpg.connect(url)
    try:
        return await conn.fetchrow(statement)
    finally:
        await conn.close()


def require(what: str, found: object, expected: object) -> None:
    """End the run if it is wrong: a wrong run has no figures."""
    if found != expected:
        raise SystemExit(f"bench: {what} is wrong: {str(found)[:400]}, expected {str(expected)[:400]}")


def compared(name: str, ours: Sequence[Measured], other: Sequence[Measured]) -> str:
    """Return our rate and CPU relative to the alternative's, round by round."""
    rates = [a.rate / b.rate for a, b in zip(ours, other, strict=True)]
    cpu = [a.cpu_ms / b.cpu_ms for a, b in zip(ours, other, strict=True)]
    return f"  ours / {name}   {spread(rates, fine)} of its rate, {spread(cpu, fine)} of its CPU an event"
