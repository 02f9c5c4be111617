"""Facts that change by time alone: loans whose moment has come are looked at again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import pause, stopwatch
from libs.common.repeating import repeat
from services.ingest import folding
from services.ingest.folding import Loan
from services.ingest.ledger import Ledger
from services.ingest.observing import IngestMetrics
from services.ingest.reading import local_day
from services.ingest.store import loans as store
from services.ingest.store.loans import LoanRow, Place

BATCH = 2_000
PASS_EVERY_S = 1.0
UNSAID = 1_000
"""With more than so many messages in the outbox the next batch waits: a payment's fact stands behind them and those in hand."""
LOOK_EVERY_S = 0.02
GIVES_WAY_S = 1.0
"""The longest rest between two batches, however much the relay has before it: timers go on, slowly, where it never catches up."""
BEHIND = 1_000
"""Events that wait to be taken in: with more of them the ticker leaves half of the time to the intake."""
HANDS = 2
"""Batches in hand at once: while one waits for the database, another is decided."""


@dataclass(slots=True)
class Pass:
    """How far a pass has come, for all hands that make it."""

    after: Place = store.BEGINNING
    total: int = 0
    over: bool = False
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Ticker:
    """Claims due loans in passes.

    A pass begins without a bound and goes on from the last place it saw until a claim is not full: the bound keeps a claim fast
    while an old snapshot is held elsewhere, and the next pass finds what was locked or written meanwhile.
    """

    engine: AsyncEngine
    ledger: Ledger
    metrics: IngestMetrics
    waiting: Callable[[], int] = lambda: 0
    """How many events this process has still to take in."""

    async def run(self, stop: asyncio.Event) -> None:
        """Make a pass, rest, make the next, until stopped."""

        async def step() -> None:
            await self.one_pass(stop)

        await repeat(step, stop, every_s=PASS_EVERY_S, worker="ingest/ticker")

    async def one_pass(self, stop: asyncio.Event | None = None) -> int:
        """Take all loans that are due, and return how many they were; with a stop at a pace that leaves room for events."""
        made = Pass()
        try:
            async with asyncio.TaskGroup() as hands:
                for _ in range(HANDS):
                    hands.create_task(self._hand(made, stop))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return made.total

    async def _hand(self, made: Pass, stop: asyncio.Event | None) -> None:
        while stop is None or not stop.is_set():
            began = stopwatch()
            if not await self._batch(made):
                break
            self.ledger.outbox.wake.set()
            if stop is not None:
                await self._give_way(stop, worked_s=stopwatch() - began)

    async def _batch(self, made: Pass) -> bool:
        async with self.engine.begin() as conn:
            now, rows = await self._claimed(conn, made)
            loans = await self.ledger.turns.each(rows, lambda row: self._opened(row, now))
            again = [loan for loan in loans if _needs_its_events(loan, now)]
            if again:
                await self.ledger.refold(conn, again, now)
            await self.ledger.turns.each(loans, lambda loan: _look_again(loan, now))
            if loans:
                await self.ledger.announce(conn, loans, now, by_time=True)
        made.total += len(rows)
        return bool(rows)

    async def _claimed(self, conn: AsyncConnection, made: Pass) -> tuple[datetime, list[LoanRow]]:
        """Claim behind what was claimed last; a claim that is not full was the last of its pass."""
        async with made.claiming:
            now = await self.ledger.clock.at(conn)
            rows = [] if made.over else await store.claim_due(conn, now, after=made.after, limit=BATCH)
            made.over = len(rows) < BATCH
            if rows:
                last = rows[-1]
                made.after = last.next_at or now, last.tenant, last.loan_id
        return now, rows

    def _opened(self, row: LoanRow, now: datetime) -> Loan:
        if row.next_at is not None:
            self.metrics.lateness.observe(max(0.0, (now - row.next_at).total_seconds()))
        return folding.opened(row)

    async def _give_way(self, stop: asyncio.Event, *, worked_s: float) -> None:
        """Rest until the relay has published what stands before it; while events wait, so that all hands together work half of the time."""
        if self.waiting() > BEHIND:
            await pause(stop, worked_s * (2 * HANDS - 1))
        began = stopwatch()
        while not stop.is_set() and stopwatch() - began < GIVES_WAY_S and await self._unsaid() > UNSAID:
            await pause(stop, LOOK_EVERY_S)

    async def _unsaid(self) -> int:
        async with self.engine.connect() as conn:
            return await self.ledger.outbox.depth(conn)


def _needs_its_events(loan: Loan, now: datetime) -> bool:
    """Say whether an event begins to count today, which the book alone cannot tell."""
    book = loan.book
    if book is None:
        return True
    return book.next_event_on is not None and book.next_event_on <= local_day(now, book.timezone)


def _look_again(loan: Loan, now: datetime) -> None:
    """Set where the loan stands now; one that cannot be told is left without a timer and in doubt."""
    if loan.standing is not None or loan.book is None or not loan.book.known:
        if loan.standing is None:
            loan.row.next_at = None
        return
    folding.stand(loan, loan.book, now)
