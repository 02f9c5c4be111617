"""Facts that change by time alone: loans whose moment has come are looked at again."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import pause
from libs.common.repeating import repeat
from services.ingest import folding
from services.ingest.folding import Loan
from services.ingest.ledger import Ledger
from services.ingest.observing import IngestMetrics
from services.ingest.reading import zone_of
from services.ingest.store import loans as store

BATCH = 500
PASS_EVERY_S = 1.0
BETWEEN_BATCHES_S = 0.01
"""So that a midnight on which a million loans fall due leaves room for the intake of events."""


@dataclass(slots=True)
class Ticker:
    """Claims due loans in passes.

    A pass begins without a bound and goes on from the last moment it saw until a claim comes back empty: the bound keeps a claim fast
    while an old snapshot is held elsewhere, and the next pass finds what was locked or written meanwhile.
    """

    engine: AsyncEngine
    ledger: Ledger
    metrics: IngestMetrics

    async def run(self, stop: asyncio.Event) -> None:
        """Make a pass, rest, make the next, until stopped."""
        await repeat(lambda: self._pass_and_wake(stop), stop, every_s=PASS_EVERY_S, worker="ingest/ticker")

    async def _pass_and_wake(self, stop: asyncio.Event) -> None:
        if await self.one_pass(stop):
            self.ledger.outbox.wake.set()

    async def one_pass(self, stop: asyncio.Event | None = None) -> int:
        """Take all loans that are due, and return how many they were."""
        total, after = 0, None
        while stop is None or not stop.is_set():
            taken, after = await self._batch(after)
            if not taken:
                break
            total += taken
            if stop is not None:
                await pause(stop, BETWEEN_BATCHES_S)
        return total

    async def _batch(self, after: datetime | None) -> tuple[int, datetime | None]:
        async with self.engine.begin() as conn:
            now = await self.ledger.clock.at(conn)
            rows = await store.claim_due(conn, now, after=after, limit=BATCH)
            if not rows:
                return 0, None
            last = rows[-1].next_at
            loans = [folding.opened(row) for row in rows]
            for row in rows:
                self.metrics.lateness.observe(max(0.0, (now - row.next_at).total_seconds()) if row.next_at else 0.0)
            again = [loan for loan in loans if _needs_its_events(loan, now)]
            if again:
                await self.ledger.refold(conn, again, now)
            for loan in loans:
                _look_again(loan, now)
            await self.ledger.announce(conn, loans, now, by_time=True)
        return len(rows), last


def _needs_its_events(loan: Loan, now: datetime) -> bool:
    """Say whether an event begins to count today, which the book alone cannot tell."""
    book = loan.book
    if book is None:
        return True
    today = now.astimezone(zone_of(book.timezone)).date()
    return book.next_event_on is not None and book.next_event_on <= today


def _look_again(loan: Loan, now: datetime) -> None:
    """Set where the loan stands now; one that cannot be told is left without a timer and in doubt."""
    if loan.standing is not None or loan.book is None or not loan.book.known:
        if loan.standing is None:
            loan.row.next_at = None
        return
    folding.stand(loan, loan.book, now)
