"""Folding stored loans again: a rebuild that a person asks for, and the one that a new release makes by itself.

Both make each loan anew out of the log and compare it with what is stored (`comparing`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.clock import pause
from libs.common.db.engine import snapshot
from libs.common.db.failures import is_transient
from libs.common.repeating import patiently, repeat
from services.ingest.comparing import Remade, mend, remade
from services.ingest.domain.fold import FOLD
from services.ingest.ledger import Ledger
from services.ingest.store import events as log
from services.ingest.store import loans, rebuilding
from services.ingest.store.loans import Key, LoanRow

LOANS_A_BATCH = 200
EVENTS_A_BATCH = 1000
"""More are refolded at once only where one loan has more: the batch holds its locks, and in a service the loop, that long."""
BETWEEN_BATCHES_S = 0.01
LOOK_EVERY_S = 60.0
"""How often a service looks for books of another release: one that is still running beside it makes them."""
MOST_UNDIGESTED = 200


class TooManyUndigestedError(Exception):
    """The rules fail everywhere: better to stop than to put the whole book in doubt."""


class Difference(msgspec.Struct, frozen=True):
    """A loan that is not what its events make of it."""

    key: Key
    fields: tuple[str, ...]


class Step(msgspec.Struct, frozen=True):
    """What came of a batch of loans, up to and with `last`."""

    read: int
    differences: tuple[Difference, ...]
    repaired: int
    in_doubt: int
    last: Key


@dataclass(slots=True)
class Tally:
    """What a rebuild has come to so far."""

    read: int = 0
    differing: int = 0
    repaired: int = 0
    in_doubt: int = 0
    last: Key | None = None

    def add(self, step: Step) -> None:
        """Count a batch."""
        self.read += step.read
        self.differing += len(step.differences)
        self.repaired += step.repaired
        self.in_doubt += step.in_doubt
        self.last = step.last

    @property
    def sentence(self) -> str:
        """Return the summary."""
        return f"{self.read} loans read, {self.differing} differed, {self.repaired} repaired, {self.in_doubt} in doubt"


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Reads loans in snapshots, without a lock; what differs there is locked, looked at again and repaired, its fact said anew."""

    engine: AsyncEngine
    ledger: Ledger
    repair: bool

    async def whole(self, tenants: Sequence[str], stop: asyncio.Event, *, after: Key | None = None) -> AsyncIterator[Step]:
        """Take all loans of these tenants, in the order of their ids, from behind `after`; ends early at the stop."""
        left = tenants if after is None else tenants[tenants.index(after[0]) :]
        for tenant in left:
            last = after[1] if after is not None and tenant == after[0] else ""
            while keys := await self._next(tenant, last, stop):
                step = await self._taken(keys, stop)
                if step is None:
                    return
                yield step
                last = keys[-1][1]
                await pause(stop, BETWEEN_BATCHES_S)

    async def one(self, tenants: Sequence[str], loan_id: str, stop: asyncio.Event) -> AsyncIterator[Step]:
        """Take one loan, of whichever of these tenants has it."""
        step = await self._taken([(tenant, loan_id) for tenant in tenants], stop)
        if step is not None:
            yield step

    async def about(self) -> int:
        """Return about how many loans there are."""
        async with self.engine.connect() as conn:
            return await rebuilding.about(conn)

    async def _taken(self, keys: Sequence[Key], stop: asyncio.Event) -> Step | None:
        """Take a batch; None when the stop came first."""
        return await patiently(lambda: self._step(keys), stop, passes=is_transient, note=_note)

    async def _next(self, tenant: str, after: str, stop: asyncio.Event) -> list[Key] | None:
        async def read() -> list[Key]:
            async with self.engine.connect() as conn:
                return _cut(await rebuilding.next_keys(conn, tenant, after, limit=LOANS_A_BATCH))

        return await patiently(read, stop, passes=is_transient, note=_note)

    async def _step(self, keys: Sequence[Key]) -> Step:
        async with snapshot(self.engine) as conn:
            seen = await remade(conn, self.ledger, keys, await self.ledger.clock.at(conn))
        there = [one for one in seen if one.stored.there or one.logged]
        different = {one.stored.row.key: one.fields for one in there if one.fields}
        if different and self.repair:
            repaired = await self._repair(list(different))
            different = {key: different[key] for key in repaired}
        return Step(
            read=len(there),
            differences=tuple(Difference(key, fields) for key, fields in different.items()),
            repaired=len(different) if self.repair else 0,
            in_doubt=sum(one.in_doubt for one in there),
            last=keys[-1],
        )

    async def _repair(self, keys: Sequence[Key]) -> list[Key]:
        async with self.engine.begin() as conn:
            await loans.lock(conn, keys)
            now = await self.ledger.clock.at(conn)
            different = [one for one in await remade(conn, self.ledger, keys, now) if one.fields]
            await mend(conn, self.ledger, different, now)
        return [one.stored.row.key for one in different]


@dataclass(slots=True)
class Upgrade:
    """Folds the loans again whose books another release made, and says those facts that have changed by it."""

    engine: AsyncEngine
    ledger: Ledger
    _been_round: bool = False
    _undigested: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look for such loans again and again until stopped; after an upgrade there are many, otherwise none."""
        await repeat(lambda: self._pass_and_wake(stop), stop, every_s=LOOK_EVERY_S, worker="ingest/upgrade")

    async def one_pass(self, stop: asyncio.Event) -> int:
        """Take all of them once, and return how many facts had changed; what could not be folded is tried once in a process's life."""
        after, changed = ("", ""), 0
        while not stop.is_set():
            async with self.engine.connect() as conn:
                keys = _cut(await rebuilding.outdated(conn, after, failed=not self._been_round, limit=LOANS_A_BATCH))
            if not keys:
                self._been_round = True
                break
            changed += await self._batch(keys)
            after = keys[-1]
            await pause(stop, BETWEEN_BATCHES_S)
        return changed

    async def _pass_and_wake(self, stop: asyncio.Event) -> None:
        if changed := await self.one_pass(stop):
            logs.get("ingest").info("said_anew", loans=changed)
            self.ledger.outbox.wake.set()

    async def _batch(self, keys: Sequence[Key]) -> int:
        async with self.engine.begin() as conn:
            await loans.lock(conn, keys)
            now = await self.ledger.clock.at(conn)
            found = [one for one in await remade(conn, self.ledger, keys, now) if one.stored.row.fold != FOLD]
            undigested = self._undigested + sum("fold_error" in one.fields and one.loan.row.fold_error is not None for one in found)
            if undigested > MOST_UNDIGESTED:
                raise TooManyUndigestedError(f"fold {FOLD} fails on more than {MOST_UNDIGESTED} loans: go back to the release before")
            different = [one for one in found if one.fields]
            await mend(conn, self.ledger, different, now)
            await loans.save(conn, [_with_new_book(one) for one in found if not one.fields and one.loan.row.fold_error is None])
        self._undigested = undigested
        return len(different)


def _cut(keys: Sequence[tuple[Key, int]]) -> list[Key]:
    """Return as many loans as one batch should take."""
    return next(log.in_groups(keys, EVENTS_A_BATCH), [])


def _with_new_book(one: Remade) -> LoanRow:
    """Return the stored row with the book that this release makes; all else is as it was."""
    row = one.stored.row
    row.book, row.fold = one.loan.row.book, FOLD
    return row


def _note(error: Exception) -> None:
    logs.get("rebuild").warning("waiting", reason=f"{type(error).__name__}: {error}"[:300])
