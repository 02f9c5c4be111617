"""Results: what providers said, written down in one transaction a batch, and announced."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.outbox import Outbox
from services.notifier.announcing import Announcer
from services.notifier.claiming import Marked, given_up
from services.notifier.domain.delivery import LOST, Change, Delivery, settled, unknown
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown
from services.notifier.store import attempts, borrowers, contacts, deliveries
from services.notifier.store.attempts import Closing

SWEEP = 500

Answered = tuple[Marked, Result]


@dataclass(frozen=True, slots=True)
class Recorder:
    """Writes down what became of attempts."""

    engine: AsyncEngine
    clock: Clock
    outbox: Outbox
    announcer: Announcer

    async def record(self, answered: Sequence[Answered]) -> None:
        """Write results, each to the attempt it belongs to; what a later attempt or a result has settled stays."""
        by_key = {_key(mark.delivery): (mark, result) for mark, result in answered}
        async with self.engine.begin() as conn:
            await borrowers.lock(conn, {key[:2] for key in by_key})
            found = await deliveries.reopen(conn, sorted(by_key))
            now = await self.clock.at(conn)
            changes, closings = [], []
            for delivery in found:
                mark, result = by_key[_key(delivery)]
                if delivery.turn != mark.delivery.turn:
                    continue
                changes.append(settled(delivery, result, mark.provider, mark.loans, now=now))
                closings.append(closing(mark, result))
            await self._write(conn, changes, closings, now)

    async def give_up(self, *, epoch: int) -> int:
        """Turn what was open before this epoch into unknown: it may have gone out in a time that this database has lost."""
        total = 0
        while True:
            async with self.engine.begin() as conn:
                keys = await deliveries.open_before(conn, epoch=epoch, limit=SWEEP)
                if not keys:
                    return total
                await borrowers.lock(conn, {key[:2] for key in keys})
                open_ones = await deliveries.open_of(conn, keys)
                changes = [unknown(delivery, LOST) for delivery in open_ones]
                closings = [given_up(change.delivery) for change in changes if change.delivery.turn]
                await self._write(conn, changes, closings, await self.clock.at(conn))
                total += len(changes)

    async def _write(
        self, conn: AsyncConnection, changes: Sequence[Change], closings: Sequence[Closing], now: datetime
    ) -> None:  # fmt: skip
        await deliveries.save(conn, [change.delivery for change in changes])
        await attempts.close(conn, closings, now=now)
        await contacts.note_results(
            conn,
            [
                ((c.attempt.tenant, c.attempt.borrower_id), contacts.id_of(c.attempt.task_id, c.attempt.channel), _counted_as(c))
                for c in closings
            ],
        )
        await self.outbox.append(conn, self.announcer.messages(changes, now=now))


def closing(mark: Marked, result: Result) -> Closing:
    """Return what is written of a result; one that surely did not go out for now may be tried again."""
    match result:
        case Accepted(ref, receipt):
            return Closing(mark.attempt, "accepted", provider_ref=ref, fault="none", receipt=receipt)
        case Refused(code, fault, permanent):
            return Closing(mark.attempt, "refused", again=not permanent, code=code, fault=fault)
        case Unknown(why):
            return Closing(mark.attempt, "unknown", code=why, fault="provider")
        case NotSent(why):
            return Closing(mark.attempt, "not_sent", again=True, code=why, fault="provider")


def _counted_as(closed: Closing) -> str:
    """Return the result by the words that caps know."""
    return closed.receipt or closed.result


def _key(delivery: Delivery) -> tuple[str, str, str]:
    return delivery.tenant, delivery.borrower_id, delivery.task_id
