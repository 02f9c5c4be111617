"""Facts that change by time alone: loans whose timer is due are evaluated again."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
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
"""With more messages than this in the outbox the next batch waits: a payment's fact queues behind them and the batches in progress."""
LOOK_EVERY_S = 0.02
GIVES_WAY_S = 1.0
"""How long to wait while the relay's backlog does not shrink: if it never catches up, timers still go on, slowly."""
UNTAKEN = 4_000
"""With more facts than this ahead of the slowest consumer the next batch waits: a payment stops contacts only once it is past them."""
ASK_EVERY_S = 0.25
ASK_AGAIN_S = 0.5
"""How long not to ask again once the consumers have caught up: an answer costs the broker as much as a hundred facts."""
WAITS_FOR_READERS_S = 5.0
"""The same as GIVES_WAY_S, for consumers, which commit their offsets once a second."""
BEHIND = 1_000
"""With more events than this waiting, the ticker leaves half of the time to the intake."""
HANDS = 2
"""Batches in progress at once: while one waits for the database, another is computed."""


@dataclass(slots=True)
class Pass:
    """The progress of a pass, shared by its concurrent tasks."""

    after: Place = store.BEGINNING
    total: int = 0
    over: bool = False
    claiming: asyncio.Lock = field(default_factory=asyncio.Lock)


async def nothing_untaken() -> int:
    """Return that no consumer is behind."""
    return 0


@dataclass(slots=True)
class Ticker:
    """Claims due loans in passes.

    A pass begins without a lower bound and continues from the last place it saw until a claim is not full. The bound keeps claims fast
    while an old snapshot is held elsewhere; what was locked or written meanwhile is found by the next pass.
    """

    engine: AsyncEngine
    ledger: Ledger
    metrics: IngestMetrics
    waiting: Callable[[], int] = lambda: 0
    """How many events this process still has to consume."""
    untaken: Callable[[], Awaitable[int]] = nothing_untaken
    """How many facts the slowest consumer still has to consume."""
    _asked_at: float = -math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Make passes with pauses in between until stopped."""

        async def step() -> None:
            await self.one_pass(stop)

        await repeat(step, stop, every_s=PASS_EVERY_S, worker="ingest/ticker")

    async def one_pass(self, stop: asyncio.Event | None = None) -> int:
        """Process all due loans and return how many there were; with `stop` given, at a pace that leaves room for events."""
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
            await self.ledger.turns.each(loans, lambda loan: _reassess(loan, now))
            if loans:
                await self.ledger.announce(conn, loans, now, by_time=True)
        made.total += len(rows)
        return bool(rows)

    async def _claimed(self, conn: AsyncConnection, made: Pass) -> tuple[datetime, list[LoanRow]]:
        """Claim the loans after those claimed last; a claim that is not full is the last of its pass."""
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
        """Pause until the relay and the consumers have caught up; while events are waiting, also for half of the time."""
        if self.waiting() > BEHIND:
            await pause(stop, worked_s * (2 * HANDS - 1))
        await _while_more_than(UNSAID, self._unsaid, stop, within_s=GIVES_WAY_S, look_every_s=LOOK_EVERY_S)
        if stopwatch() - self._asked_at >= ASK_AGAIN_S:
            await _while_more_than(UNTAKEN, self.untaken, stop, within_s=WAITS_FOR_READERS_S, look_every_s=ASK_EVERY_S)
            self._asked_at = stopwatch()

    async def _unsaid(self) -> int:
        async with self.engine.connect() as conn:
            return await self.ledger.outbox.depth(conn)


async def _while_more_than(
    most: int, count: Callable[[], Awaitable[int]], stop: asyncio.Event, *, within_s: float, look_every_s: float
) -> None:  # fmt: skip
    """Pause while there are more than `most` and their number still falls; give up once it has not fallen for `within_s`."""
    least, since = math.inf, stopwatch()
    while not stop.is_set() and (found := await count()) > most:
        if found < least:
            least, since = found, stopwatch()
        elif stopwatch() - since > within_s:
            break
        await pause(stop, look_every_s)


def _needs_its_events(loan: Loan, now: datetime) -> bool:
    """Return whether an event begins to count today, so that the book alone is not enough."""
    book = loan.book
    if book is None:
        return True
    return book.next_event_on is not None and book.next_event_on <= local_day(now, book.timezone)


def _reassess(loan: Loan, now: datetime) -> None:
    """Set the loan's standing as of now; one without a usable book is left without a timer and in doubt."""
    if loan.standing is not None or loan.book is None or not loan.book.known:
        if loan.standing is None:
            loan.row.next_at = None
        return
    folding.set_standing(loan, loan.book, now)
