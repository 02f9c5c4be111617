"""Results: what providers answered, recorded in one transaction per batch, and announced."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.db.engine import by_keys
from libs.common.outbox import Outbox
from services.notifier.announcing import Announcer
from services.notifier.claiming import Marked, given_up
from services.notifier.domain.delivery import ANSWERABLE, Change, Delivery, Task, heard, only_moves, settled
from services.notifier.domain.receipts import News, Standing
from services.notifier.domain.replies import Ending, told_by_provider
from services.notifier.domain.restoring import LOST, restored
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown
from services.notifier.domain.states import Reached, State
from services.notifier.domain.suppressions import ANYBODY, GROUND_OF
from services.notifier.store import accepting, attempts, borrowers, contacts, deliveries, freeing, parts, suppressions
from services.notifier.store.attempts import Attempt, Closing
from services.notifier.store.borrowers import Who
from services.notifier.store.gates import Epoch
from services.notifier.store.suppressions import Source

SWEEP = 500

Answered = tuple[Marked, Result]
CatchUp = Callable[[AsyncConnection, Sequence[tuple[Attempt, Accepted]], datetime], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Recorder:
    """Records what became of attempts."""

    engine: AsyncEngine
    clock: Clock
    outbox: Outbox
    announcer: Announcer
    resolve_within: timedelta
    reads_again: bool
    """Whether the bus delivers again what was read in a time that the database has lost."""
    catch_up: CatchUp | None = None
    """Applies what was said about messages before they were recorded."""

    async def record(self, answered: Sequence[Answered]) -> None:
        """Record results, each on its own attempt; what a later attempt or result has settled stays."""
        by_key = {mark.delivery.key: (mark, result) for mark, result in answered}
        named = [(mark.attempt, result) for mark, result in answered if isinstance(result, Accepted) and result.parts]
        async with self.engine.begin() as conn:
            await by_keys(conn)
            await _lock_names(conn, named)
            waits = await freeing.who_waits(conn, _given_back(answered))
            await borrowers.lock_there(conn, {key[:2] for key in by_key} | waits)
            now = await self.clock.at(conn)
            moved = await self._moved_on(conn, answered, now)
            changes = await self._settled(conn, {key: by_key[key] for key in sorted(by_key.keys() - moved.keys())}, now)
            await self._write(conn, changes, [closing(*by_key[change.delivery.key]) for change in changes], now)
            if waits:
                await deliveries.wake(conn, waits, now=now)
            await self.outbox.append(conn, self.announcer.messages([*moved.values(), *changes], now=now))
            if named and self.catch_up is not None:
                await self.catch_up(conn, named, now)

    async def _moved_on(self, conn: AsyncConnection, answered: Sequence[Answered], now: datetime) -> dict[Task, Change]:
        """Record acceptances of deliveries that nobody has changed since their claim: these need no reading first."""
        changes: dict[Task, Change] = {}
        accepted = []
        for mark, result in answered:
            if isinstance(result, Accepted):
                change = self._by_result(mark.delivery, mark, result, now)
                if only_moves(mark.delivery, change.delivery):
                    changes[mark.delivery.key] = change
                    accepted.append((change.delivery, closing(mark, result)))
        written = await accepting.accept(conn, accepted, now=now)
        return {key: change for key, change in changes.items() if key in written}

    async def _settled(self, conn: AsyncConnection, by_key: Mapping[Task, Answered], now: datetime) -> list[Change]:
        """Return the changes that answers make, each to its delivery as it stands now."""
        if not by_key:
            return []
        found = await deliveries.locked(conn, list(by_key))
        before = await attempts.reached(conn, list(by_key))
        changes = [
            change
            for delivery in found
            if (change := self._answered(delivery, *by_key[delivery.key], before[delivery.key], now=now)) is not None
        ]
        return await self._suppressed(conn, changes, [by_key[change.delivery.key] for change in changes], now)

    def _by_result(self, delivery: Delivery, mark: Marked, result: Result, now: datetime) -> Change:
        return settled(delivery, result, mark.provider, mark.loans, now=now, resolve_by=now + self.resolve_within)

    async def _suppressed(
        self, conn: AsyncConnection, changes: Sequence[Change], answers: Sequence[Answered], now: datetime
    ) -> list[Change]:  # fmt: skip
        """Suppress addresses that a provider refused because the person opted out or the address does not exist; and announce it."""
        refused = [_refusal(mark, result) for mark, result in answers]
        made: dict[tuple[str, Ending], str] = {}
        for tenant in sorted({mark.delivery.tenant for (mark, _), found in zip(answers, refused, strict=True) if found}):
            endings = [found for (mark, _), found in zip(answers, refused, strict=True) if found and mark.delivery.tenant == tenant]
            kept = await suppressions.keep(conn, tenant, [(ending, source) for ending, source, _ in endings], now=now)
            made |= {(tenant, ending): number for ending, number in kept.items()}
        return [
            change if found is None else _with_word(change, found[2], found[0].channel, new=(mark.delivery.tenant, found[0]) in made)
            for change, (mark, _), found in zip(changes, answers, refused, strict=True)
        ]

    async def give_up(self, epoch: Epoch) -> int:
        """Turn what was open before this epoch into unknown, except what surely was not attempted in the time the database lost."""
        total, after = 0, ("", "", "")
        while True:
            async with self.engine.begin() as conn:
                keys = await deliveries.open_before(conn, epoch=epoch.number, after=after, limit=SWEEP)
                if not keys:
                    return total
                after = keys[-1]
                await borrowers.lock(conn, {key[:2] for key in keys})
                open_ones = await deliveries.open_of(conn, keys)
                now = await self.clock.at(conn)
                changes = [
                    restored(
                        delivery, epoch=epoch.number, since=epoch.since, resolve_by=now + self.resolve_within, reads_again=self.reads_again
                    )
                    for delivery in open_ones
                ]
                cut = [given_up(delivery, LOST) for delivery in open_ones if delivery.state is State.IN_FLIGHT]
                await self._write(conn, changes, cut, now)
                await self.outbox.append(conn, self.announcer.messages(changes, now=now))
                await deliveries.carry_over(conn, open_ones, epoch=epoch.number)
                total += len(changes)

    def _answered(
        self, delivery: Delivery, mark: Marked, result: Result, before: Sequence[Reached], *, now: datetime
    ) -> Change | None:  # fmt: skip
        """Return what an answer changes; None if another attempt has replaced the one it is about."""
        same = (delivery.turn, delivery.channel) == (mark.delivery.turn, mark.send.channel)
        if same and delivery.state in ANSWERABLE:
            return self._by_result(delivery, mark, result, now)
        if mark.send.channel not in delivery.spent:
            return None
        if not isinstance(result, Accepted):
            return Change(delivery)
        standing = Standing.DELIVERED if result.receipt == "delivered" else Standing.ACCEPTED
        return heard(delivery, News(mark.send.channel, standing, tuple(before), mark.provider, mark.loans), now=now)

    async def _write(
        self, conn: AsyncConnection, changes: Sequence[Change], closings: Sequence[Closing], now: datetime
    ) -> None:  # fmt: skip
        """Write deliveries, attempts and contacts."""
        await deliveries.save(conn, [change.delivery for change in changes])
        await attempts.close(conn, closings, now=now)
        await contacts.note_results(
            conn,
            [
                ((c.attempt.tenant, c.attempt.borrower_id), contacts.id_of(c.attempt.task_id, c.attempt.channel), _counted_as(c))
                for c in closings
            ],
        )


def _given_back(answered: Sequence[Answered]) -> list[tuple[Who, str]]:
    """Return contacts that never took place and will not be retried: others may take their places in caps."""
    return [
        (mark.delivery.key[:2], contacts.id_of(mark.delivery.task_id, mark.send.channel))
        for mark, result in answered
        if isinstance(result, Refused) and result.permanent
    ]


async def _lock_names(conn: AsyncConnection, named: Sequence[tuple[Attempt, Accepted]]) -> None:
    names: dict[tuple[str, str], list[str]] = {}
    for attempt, result in named:
        names.setdefault((attempt.tenant, attempt.provider), []).extend(result.parts)
    for (tenant, provider), refs in sorted(names.items()):
        await parts.lock(conn, tenant, provider, refs)


def closing(mark: Marked, result: Result) -> Closing:
    """Return how a result closes its attempt; what surely did not go out, and only for now, may be tried again."""
    match result:
        case Accepted(ref, receipt):
            return Closing(mark.attempt, "accepted", provider_ref=ref, fault="none", receipt=receipt)
        case Refused(code, fault, permanent):
            return Closing(mark.attempt, "refused", again=not permanent, code=code, fault=fault)
        case Unknown(why):
            return Closing(mark.attempt, "unknown", code=why, fault="provider")
        case NotSent(why):
            return Closing(mark.attempt, "not_sent", again=True, code=why, fault=result.fault)


def _refusal(mark: Marked, result: Result) -> tuple[Ending, Source, Refused] | None:
    """Return the suppression that a refusal puts on its address, if any."""
    if not isinstance(result, Refused) or result.fault not in GROUND_OF:
        return None
    ending = Ending(ANYBODY, mark.send.channel, mark.send.address.lookup, GROUND_OF[result.fault])
    return ending, Source("answer", mark.provider, mark.delivery.task_id), result


def _with_word(change: Change, refused: Refused, channel: str, *, new: bool) -> Change:
    """Return a change together with what the provider said about the person."""
    word = told_by_provider(change.delivery, refused.fault, refused.code, channel, new=new)
    return Change(word.delivery, change.outcomes + word.outcomes)


def _counted_as(closed: Closing) -> str:
    """Return the result in the words that caps know."""
    return closed.receipt or closed.result
