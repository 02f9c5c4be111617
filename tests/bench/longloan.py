"""One more payment on a loan with many payments, and on one with few: the real handlers on batches in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from libs.common.bus.ports import Record
from libs.common.clock import WallClock
from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC
from tests.bench.breakdown import handlers
from tests.bench.events import INSTALMENTS, INTEREST, Sent, disbursed, repaid
from tests.bench.ingest import require
from tests.bench.measuring import Measured, Stopwatch, fine, spread
from tests.bench.stack import Stack

FEW = 5
AMOUNT = 100
PRINCIPAL = 10**7
"""Large enough that no number of payments settles the loan."""
FILLED_AT_ONCE = 2_000
PASSES = 40
"""Batches per round: CPU time is counted in hundredths of a second."""


@dataclass
class Feed:
    """Events into one partition, in order."""

    take: Callable[[Sequence[Record]], Any]
    now: datetime
    offset: int = 0

    async def put(self, events: Sequence[Sent]) -> None:
        """Ingest them as one batch."""
        messages = [sent.message for sent in events]
        records = [Record(LOAN_EVENTS_TOPIC.name, 0, self.offset + n, m.key, m.value, m.headers, self.now) for n, m in enumerate(messages)]
        self.offset += len(records)
        await self.take(records)


async def run(stack: Stack, loans: int, many: int, rounds: int) -> list[str]:
    """Pay loans of both kinds alternately, and return the figures."""
    short, long = [f"S{n:03d}" for n in range(loans)], [f"L{n:03d}" for n in range(loans)]
    found: dict[int, list[Measured]] = {FEW: [], many: []}
    async with stack.database("ingest") as url:
        async with handlers(url) as take:
            feed = Feed(take, WallClock().now())
            await _fill(feed, short, FEW)
            await _fill(feed, long, many)
            for number in range(rounds + 1):
                for before, names in ((FEW, short), (many, long)):
                    one = await _round(stack, feed, names, before + number * PASSES)
                    if number:
                        found[before].append(one)
        await _check(url, {name: before + (rounds + 1) * PASSES for before, names in ((FEW, short), (many, long)) for name in names})
    ratios = [long_.cpu_ms / short_.cpu_ms for short_, long_ in zip(found[FEW], found[many], strict=True)]
    return [
        *[
            f"  after {before:>5,} payments   {spread([m.cpu_ms for m in rows], fine)} ms of CPU a payment ({rows[-1].cpu_parts} us)"
            for before, rows in found.items()
        ],
        f"  ratio   {spread(ratios, fine)}",
    ]


async def _fill(feed: Feed, names: Sequence[str], payments: int) -> None:
    events = [sent for name in names for sent in (_loan(name, feed.now), *(_payment(name, turn, feed.now) for turn in range(payments)))]
    for at in range(0, len(events), FILLED_AT_ONCE):
        await feed.put(events[at : at + FILLED_AT_ONCE])


async def _round(stack: Stack, feed: Feed, names: Sequence[str], turn: int) -> Measured:
    """Pay each loan several times, one batch after the other."""
    batches = [[_payment(name, turn + at, feed.now) for name in names] for at in range(PASSES)]
    watch = Stopwatch({"process": os.getpid(), "postgres": stack.postgres_pid}, alone=[os.getpid()])
    for batch in batches:
        await feed.put(batch)
    return watch.stop(len(names) * PASSES)


def _loan(name: str, now: datetime) -> Sent:
    made = disbursed(name, 1, now)
    for row in made.data["schedule"]:
        row["principal"] = PRINCIPAL
    return made


def _payment(name: str, turn: int, now: datetime) -> Sent:
    """Return a payment that was made a second after the one before it."""
    paid, at = repaid(name, turn, now), now - timedelta(days=1) + timedelta(seconds=turn)
    paid.data["amount"], paid.data["paid_at"] = AMOUNT, at.isoformat()
    return replace(paid, time=at)


async def _check(url: str, payments: dict[str, int]) -> None:
    """Compare what is left of each loan with what was paid."""
    conn = await asyncpg.connect(url)
    try:
        found = {row[0]: (row[1], row[2]) for row in await conn.fetch("select loan_id, records, outstanding_total from ingest.loans")}
    finally:
        await conn.close()
    owed = INSTALMENTS * (PRINCIPAL + INTEREST)
    require("the paid loans", found, {name: (1 + number, owed - AMOUNT * number) for name, number in payments.items()})
