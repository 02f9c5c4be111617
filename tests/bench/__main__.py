"""Measure on this machine: `python -m tests.bench`, or with `--quick` in two minutes.

Every figure stands beside the limit of the machine in the same minute, and comes from a run whose results were checked.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvloop

from libs.common import logs
from tests.bench import breakdown, contacts, events, ingest, intake, machine
from tests.bench.stack import Stack, started


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    rounds: int
    events: int
    few: int
    contacts: int
    batched: int


FULL = Sizes(rounds=5, events=60_000, few=3_000, contacts=5_000, batched=20_000)
QUICK = Sizes(rounds=1, events=20_000, few=1_000, contacts=1_000, batched=5_000)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure Dunwell on this machine.")
    parser.add_argument("--quick", action="store_true", help="one round of little work: whether it runs, not how fast it is")
    parser.add_argument("--only", choices=("ingest", "breakdown", "contacts", "http"), help="one part alone")
    options = parser.parse_args()
    logs.configure("bench", "bench", level="CRITICAL")
    with tempfile.TemporaryDirectory(prefix="dunwell-bench-", ignore_cleanup_errors=True) as folder:
        uvloop.run(_run(Path(folder), QUICK if options.quick else FULL, options.only))


async def _run(folder: Path, sizes: Sizes, only: str | None) -> None:
    async with started(folder) as stack:
        print(machine.line(await stack.describe()), flush=True)
        if only in (None, "ingest"):
            await _ingest(stack, sizes)
        if only in (None, "breakdown"):
            await _breakdown(stack, sizes)
        if only in (None, "contacts"):
            await _contacts(stack, sizes)
        if only in (None, "http"):
            await _http(stack, sizes)
    print(f"\nload average at the end {machine.load()}")


async def _ingest(stack: Stack, sizes: Sizes) -> None:
    book, few = events.book(sizes.events), events.book(sizes.few)
    with _part(
        f"Ingest, Kafka to committed ledger and published facts: {len(book.events):,} events of {book.mean_bytes:.0f} bytes"
        f" on {book.loans:,} loans, {events.PARTITIONS} partitions, one process, rounds: {sizes.rounds}"
    ):
        await stack.put([sent.message for sent in book.events])
        print("\n".join((await ingest.run(stack, book, few, sizes.rounds)).lines()), flush=True)


async def _breakdown(stack: Stack, sizes: Sizes) -> None:
    with _part(f"Where the time of ingest goes: the same handlers on batches of {breakdown.BATCH:,} in memory, one at a time"):
        print("\n".join(await breakdown.run(stack, events.book(sizes.events))), flush=True)


async def _contacts(stack: Stack, sizes: Sizes) -> None:
    with _part(f"Contacts, due to committed with the sandbox's answer: {sizes.contacts:,} in one process, rounds: {sizes.rounds}"):
        print("\n".join(await contacts.run(stack, sizes.contacts, sizes.rounds)), flush=True)


async def _http(stack: Stack, sizes: Sizes) -> None:
    with _part(f"HTTP intake: {sizes.batched:,} events in NDJSON, {sizes.few:,} single ones, the program in a process of its own"):
        print("\n".join(await intake.run(stack, sizes.batched, sizes.few)), flush=True)


@contextmanager
def _part(title: str) -> Iterator[None]:
    print(f"\n{title}", flush=True)
    yield


if __name__ == "__main__":
    main()
