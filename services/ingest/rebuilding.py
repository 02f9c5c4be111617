"""Refolding stored loans: a rebuild on request, and the one that a new release does by itself.

Both refold each loan from the log and compare it with what is stored (`comparing`).
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
from services.ingest.comparing import Comparison, compare, repair
from services.ingest.domain.fold import FOLD
from services.ingest.ledger import Ledger
from services.ingest.store import events as log
from services.ingest.store import loans, rebuilding
from services.ingest.store.loans import Key, LoanRow

LOANS_A_BATCH = 200
EVENTS_A_BATCH = 1000
"""Only a single loan with more may exceed it: a batch holds its locks, and in a service the event loop, for that long."""
BETWEEN_BATCHES_S = 0.01
LOOK_EVERY_S = 60.0
"""How often a service looks for books of another release, which a process still running that release makes."""
MOST_UNDIGESTED = 200


class TooManyUndigestedError(Exception):
    """The rules fail everywhere: better to stop than to put every loan in doubt."""


class Difference(msgspec.Struct, frozen=True):
    """A loan that differs from what its events give."""

    key: Key
    fields: tuple[str, ...]


class Step(msgspec.Struct, frozen=True):
    """The result of a batch of loans, up to and including `last`."""

    read: int
    differences: tuple[Difference, ...]
    repaired: int
    in_doubt: int
    last: Key


@dataclass(slots=True)
class Tally:
    """The result of a rebuild so far."""

    read: int = 0
    differing: int = 0
    repaired: int = 0
    in_doubt: int = 0
    last: Key | None = None

    def add(self, step: Step) -> None:
        """Add a batch."""
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
    """Reads loans in snapshots, without locks; a loan that differs is locked, compared again and repaired, and its fact republished."""

    engine: AsyncEngine
    ledger: Ledger
    repair: bool

    async def whole(self, tenants: Sequence[str], stop: asyncio.Event, *, after: Key | None = None) -> AsyncIterator[Step]:
        """Process all loans of these tenants in id order, starting after `after`; ends early when stopped."""
        left = tenants if after is None else tenants[tenants.index(after[0]) :]
        for tenant in left:
            last = after[1] if after is not None and tenant == after[0] else ""
            while keys := await self._next(tenant, last, stop):
                step = await self._processed(keys, stop)
                if step is None:
                    return
                yield step
                last = keys[-1][1]
                await pause(stop, BETWEEN_BATCHES_S)

    async def one(self, tenants: Sequence[str], loan_id: str, stop: asyncio.Event) -> AsyncIterator[Step]:
        """Process one loan, of whichever of these tenants has it."""
        step = await self._processed([(tenant, loan_id) for tenant in tenants], stop)
        if step is not None:
            yield step

    async def about(self) -> int:
        """Return roughly how many loans there are."""
        async with self.engine.connect() as conn:
            return await rebuilding.about(conn)

    async def _processed(self, keys: Sequence[Key], stop: asyncio.Event) -> Step | None:
        """Process a batch; None if stopped first."""
        return await patiently(lambda: self._step(keys), stop, passes=is_transient, note=_note)

    async def _next(self, tenant: str, after: str, stop: asyncio.Event) -> list[Key] | None:
        async def read() -> list[Key]:
            async with self.engine.connect() as conn:
                return _cut(await rebuilding.next_keys(conn, tenant, after, limit=LOANS_A_BATCH))

        return await patiently(read, stop, passes=is_transient, note=_note)

    async def _step(self, keys: Sequence[Key]) -> Step:
        async with snapshot(self.engine) as conn:
            seen = await compare(conn, self.ledger, keys, await self.ledger.clock.at(conn))
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
            different = [one for one in await compare(conn, self.ledger, keys, now) if one.fields]
            await repair(conn, self.ledger, different, now)
        return [one.stored.row.key for one in different]


@dataclass(slots=True)
class Upgrade:
    """Refolds the loans whose books another release made, and publishes the facts changed by that."""

    engine: AsyncEngine
    ledger: Ledger
    _tried_failed: bool = False
    _undigested: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Look for such loans repeatedly until stopped; after an upgrade there are many, otherwise none."""
        await repeat(lambda: self._pass_and_wake(stop), stop, every_s=LOOK_EVERY_S, worker="ingest/upgrade")

    async def one_pass(self, stop: asyncio.Event) -> int:
        """Process all of them once, and return how many facts changed; loans that could not be folded are tried once per process."""
        after, changed = ("", ""), 0
        while not stop.is_set():
            async with self.engine.connect() as conn:
                keys = _cut(await rebuilding.outdated(conn, after, failed=not self._tried_failed, limit=LOANS_A_BATCH))
            if not keys:
                self._tried_failed = True
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
            found = [one for one in await compare(conn, self.ledger, keys, now) if one.stored.row.fold != FOLD]
            undigested = self._undigested + sum("fold_error" in one.fields and one.loan.row.fold_error is not None for one in found)
            if undigested > MOST_UNDIGESTED:
                raise TooManyUndigestedError(f"fold {FOLD} fails on more than {MOST_UNDIGESTED} loans: go back to the previous release")
            different = [one for one in found if one.fields]
            await repair(conn, self.ledger, different, now)
            await loans.save(conn, [_with_new_book(one) for one in found if not one.fields and one.loan.row.fold_error is None])
        self._undigested = undigested
        return len(different)


def _cut(keys: Sequence[tuple[Key, int]]) -> list[Key]:
    """Return as many loans as fit into one batch."""
    return next(log.in_groups(keys, EVENTS_A_BATCH), [])


def _with_new_book(one: Comparison) -> LoanRow:
    """Return the stored row with the book that this release makes; everything else is unchanged."""
    row = one.stored.row
    row.book, row.fold = one.loan.row.book, FOLD
    return row


def _note(error: Exception) -> None:
    logs.get("rebuild").warning("waiting", reason=f"{type(error).__name__}: {error}"[:300])
