"""Measure on this machine: `python -m tests.bench`, with `--quick` in a few minutes, with `--large` what only size shows.

Every figure is shown beside the machine's limit in the same minute, and comes from a run whose results were checked: a wrong run ends the
command with an error, an inconclusive one (too short, too late) just has no figures.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from libs.common import logs
from tests.bench import (
    answering,
    breakdown,
    cases,
    contacts,
    deciding,
    events,
    ingest,
    intake,
    killed,
    longloan,
    machine,
    mails,
    members,
    memory,
    midnight,
    permits,
    resting,
    side_by_side,
    silencing,
    timers,
    wire,
)  # fmt: skip
from tests.bench.measuring import UnmeasuredError
from tests.bench.stack import Stack, started


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    rounds: int
    events: int
    few: int
    contacts: int
    batched: int
    shared: int
    due: int
    books: Sequence[int]
    long: int
    paid: int
    decisions: int
    leased_s: float
    killed: int
    opened: int
    cases: int
    queued: int
    dunned: int
    waiting: int
    midnight: int
    installs: bool = True
    """Whether other people's programs are fetched if they are missing."""


FULL = Sizes(
    rounds=5, events=120_000, few=3_000, contacts=5_000, batched=20_000, shared=150_000, due=50_000,
    books=(100_000, 200_000, 400_000), long=5_000, paid=50, decisions=20_000, leased_s=10, killed=20_000,
    opened=50_000, cases=20_000, queued=3_000, dunned=1_000, waiting=200_000, midnight=50_000,
)  # fmt: skip
QUICK = Sizes(
    rounds=1, events=10_000, few=300, contacts=1_000, batched=3_000, shared=30_000, due=10_000,
    books=(3_000, 6_000), long=1_000, paid=20, decisions=2_000, leased_s=3, killed=2_000,
    opened=5_000, cases=2_000, queued=1_000, dunned=500, waiting=20_000, midnight=2_000, installs=False,
)  # fmt: skip
LARGE = Sizes(
    rounds=1, events=300_000, few=3_000, contacts=50_000, batched=100_000, shared=300_000, due=1_000_000,
    books=(1_000_000, 2_000_000, 4_000_000), long=10_000, paid=50, decisions=20_000, leased_s=10, killed=20_000,
    opened=200_000, cases=1_000_000, queued=10_000, dunned=10_000, waiting=5_000_000, midnight=1_000_000,
)  # fmt: skip


async def _ingest(stack: Stack, sizes: Sizes) -> Sequence[str]:
    book, few = events.book(sizes.events), events.book(sizes.few)
    _title(
        f"Ingest, Kafka to committed ledger and published facts: {len(book.events):,} events of {book.mean_bytes:.0f} bytes"
        f" on {book.loans:,} loans, {events.PARTITIONS} partitions, one process, rounds: {sizes.rounds}"
    )
    await stack.put([sent.message for sent in book.events])
    return (await ingest.run(stack, book, few, sizes.rounds)).lines()


async def _two(stack: Stack, sizes: Sizes) -> Sequence[str]:
    book = events.book(sizes.shared)
    _title(f"Ingest in one process and in two of one group: {len(book.events):,} events, rounds: {sizes.rounds}")
    await stack.put([sent.message for sent in book.events])
    return await members.run(stack, book, sizes.rounds)


async def _breakdown(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"Where the time of ingest goes: the same handlers on batches of {breakdown.BATCH:,} in memory, one at a time")
    return await breakdown.run(stack, events.book(sizes.events))


async def _timers(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(
        f"Timers: {sizes.due:,} loans that fall due at one moment, until the last fact is on the bus;"
        f" {timers.AT_ONCE / timers.EVERY_S:.0f} payments a second meanwhile, rounds: {sizes.rounds}"
    )
    return await timers.run(stack, sizes.due, sizes.rounds)


async def _midnight(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(
        f"Midnight: {sizes.midnight:,} loans that fall due at one moment, through ingest, scheduler and notifier, a process each;"
        f" {silencing.AT_ONCE / silencing.EVERY_S:.0f} payments a second meanwhile, one round"
    )
    return await midnight.run(stack, sizes.midnight)


async def _longloan(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"One more payment on a loan with {longloan.FEW} and with {sizes.long:,}: {sizes.paid} loans of each, rounds: {sizes.rounds}")
    return await longloan.run(stack, sizes.paid, sizes.long, sizes.rounds)


async def _memory(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title("Memory of the ingest process, taken in through Kafka: all loans stand in its database, every second one is overdue")
    return await memory.run(stack, sizes.books)


async def _contacts(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"Contacts, due to committed with the sandbox's answer: {sizes.contacts:,} in one process, rounds: {sizes.rounds}")
    return await contacts.run(stack, sizes.contacts, sizes.rounds)


async def _wire(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(
        f"Contacts over HTTP, due to committed with the answer of a provider on loopback after {answering.ANSWERS_AFTER_S * 1000:.0f} ms:"
        f" {sizes.contacts:,} in one process and in {side_by_side.PROCESSES}, {wire.AT_ONCE} at once each, rounds: {sizes.rounds}"
    )
    return await wire.run(stack, sizes.contacts, sizes.rounds)


async def _mails(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(
        f"Contacts by mail, due to committed with the answer of a relay on loopback: {sizes.contacts:,} in one process and in"
        f" {side_by_side.PROCESSES}, {mails.CONNECTIONS} connections each, rounds: {sizes.rounds}"
    )
    return await mails.run(stack, sizes.contacts, sizes.rounds)


async def _permits(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"Permits: {permits.LIMIT} a second over {permits.REPLICAS} processes for {sizes.leased_s:.0f} s, rounds: {sizes.rounds}")
    return await permits.run(stack, sizes.leased_s, sizes.rounds)


async def _opened(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"Scheduler, facts on Kafka to committed cases: {sizes.opened:,} borrowers, one process, rounds: {sizes.rounds}")
    return await cases.opened(stack, sizes.opened, sizes.rounds)


async def _due(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(
        f"Scheduler, cases that are due at nine to requests in the outbox: {sizes.cases:,}, of which {sizes.queued:,} by a job each;"
        f" {sizes.dunned:,} debts in Tryton, rounds: {sizes.rounds}"
    )
    return await cases.due(stack, sizes.cases, (sizes.queued, sizes.dunned), sizes.rounds, installs=sizes.installs)


async def _waiting(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"Scheduler, {sizes.waiting:,} cases that wait: what a pass costs in which nothing is due")
    return await resting.waiting(stack, sizes.waiting)


async def _gate(_: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"The gate on one core: {sizes.decisions:,} decisions over the packs of {', '.join(deciding.PLACES)}, rounds: {sizes.rounds}")
    return deciding.run(sizes.decisions, sizes.rounds)


async def _killed(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"Killed with SIGKILL at half of {sizes.killed:,} contacts over HTTP, and started again, rounds: {sizes.rounds}")
    return await killed.run(stack, sizes.killed, sizes.rounds)


async def _http(stack: Stack, sizes: Sizes) -> Sequence[str]:
    _title(f"HTTP intake: {sizes.batched:,} events in NDJSON, {sizes.few:,} single ones, the program in a process of its own")
    return await intake.run(stack, sizes.batched, sizes.few)


PARTS: Mapping[str, Callable[[Stack, Sizes], Awaitable[Sequence[str]]]] = {
    "ingest": _ingest, "two": _two, "breakdown": _breakdown, "timers": _timers, "midnight": _midnight,
    "longloan": _longloan, "memory": _memory, "contacts": _contacts, "wire": _wire, "mails": _mails, "permits": _permits,
    "gate": _gate, "killed": _killed, "http": _http, "opened": _opened, "due": _due, "waiting": _waiting,
}  # fmt: skip
OFF_THE_BUS = ("breakdown", "longloan", "contacts", "wire", "mails", "permits", "gate", "killed", "due", "waiting")
LARGE_PARTS = ("two", "timers", "midnight", "memory", "due", "waiting")


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure Dunwell on this machine.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="one round of little work: whether it runs, not how fast it is")
    size.add_argument("--large", action="store_true", help=f"one round of much work: {', '.join(LARGE_PARTS)}; takes an hour")
    parser.add_argument("--only", choices=PARTS, help="one part alone")
    options = parser.parse_args()
    sizes = QUICK if options.quick else LARGE if options.large else FULL
    chosen = (options.only,) if options.only else LARGE_PARTS if options.large else tuple(PARTS)
    logs.configure("bench", "bench", level="CRITICAL")
    uvloop.run(_run(sizes, _together(chosen) if options.quick else [[name] for name in chosen]))


def _together(chosen: Sequence[str]) -> list[list[str]]:
    """Return which parts share servers: those that use no bus leave nothing behind, and servers are slow to start."""
    alone, shared = [name for name in chosen if name not in OFF_THE_BUS], [name for name in chosen if name in OFF_THE_BUS]
    return [*[[name] for name in alone], shared]


async def _run(sizes: Sizes, groups: Sequence[Sequence[str]]) -> None:
    for number, group in enumerate(filter(None, groups)):
        with tempfile.TemporaryDirectory(prefix="dunwell-bench-", ignore_cleanup_errors=True) as folder:
            async with started(Path(folder)) as stack:
                if not number:
                    print(machine.line(await stack.describe()), flush=True)
                for name in group:
                    await _measure(name, stack, sizes)
    print(f"\nload average at the end {machine.load()}")


async def _measure(name: str, stack: Stack, sizes: Sizes) -> None:
    try:
        print("\n".join(await PARTS[name](stack, sizes)), flush=True)
    except UnmeasuredError as error:
        print(f"  NOT MEASURED: {error}", flush=True)


def _title(title: str) -> None:
    print(f"\n{title}", flush=True)


if __name__ == "__main__":
    main()
