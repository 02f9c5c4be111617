"""Ingest in one process and in two of one consumer group, beside the machine's limit in the same rounds."""

from __future__ import annotations

from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC
from tests.bench import ingest
from tests.bench.events import Book
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess, enough, fine, spread, whole
from tests.bench.stack import Stack

TAKEN = f"select coalesce(sum(next_offset), 0) from ingest.positions where topic = '{LOAN_EVENTS_TOPIC.name}'"
LEAST_SHARE = 0.25
"""The share of events that must be left when the last member has its partitions: with less, the run is inconclusive."""


async def run(stack: Stack, book: Book, rounds: int) -> list[str]:
    """Measure in rounds, and return the figures; the first pass of the limit only warms the broker up."""
    limit: list[Measured] = []
    found: dict[int, list[Measured]] = {1: [], 2: []}
    await ingest.limit(stack, book, 0)
    for number in range(1, rounds + 1):
        limit.append(await ingest.limit(stack, book, number))
        for members, rows in found.items():
            rows.append(await _members(stack, book, members))
    lines = []
    for name, rows in (("limit", limit), ("one process", found[1]), ("two", found[2])):
        rate, cpu = spread([m.rate for m in rows], whole), spread([m.cpu_ms for m in rows], fine)
        lines.append(f"  {name:<14} {rate} events/s, {cpu} ms of CPU an event ({rows[-1].cpu_parts} us)")
    return [
        *lines,
        *[ingest.compared("limit", rows, limit) + f", {members} in the group" for members, rows in found.items()],
        f"  two / one   {spread([two.rate / one.rate for one, two in zip(found[1], found[2], strict=True)], fine)} of its rate",
    ]


async def _members(stack: Stack, book: Book, members: int) -> Measured:
    """Let so many processes ingest everything; what was ingested before each had its share of the partitions does not count."""
    events, before = len(book.events), await ingest.fact_ends(stack)
    async with stack.database("ingest") as url:
        workers = [WorkerProcess("ours", stack.broker.bootstrap, url, str(events), str(members)) for _ in range(members)]
        try:
            for worker in workers:
                worker.wait_for("begin")
            taken = int((await ingest.one_row(url, TAKEN))[0])
            few = taken <= events * (1 - LEAST_SHARE)
            enough(f"{taken:,} of {events:,} events were taken in before all {members} processes were there", there=few)
            names = ("client", "second")
            watch = Stopwatch({**{name: worker.process.pid for name, worker in zip(names, workers, strict=False)}, **stack.trees})
            for worker in workers:
                worker.wait_for("end")
            result = watch.stop(events - taken)
            await ingest.check_ledger(url, book)
            await ingest.check_facts(stack, url, before)
        finally:
            for worker in workers:
                worker.end()
    return result
