"""Processes due cases: claimed in batches, planned, and written with what follows, one transaction per batch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import logs
from libs.common.bus.ports import partition_of
from libs.common.clock import Clock, pause
from libs.common.contracts.catalogue import FACTS
from libs.common.db.failures import is_transient
from libs.common.value import replace
from services.scheduler.acting import Desk
from services.scheduler.changing import LET_FACTS_BY, tell_change, tell_segments
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.massholding import hold_some
from services.scheduler.outgoing import Outgoing
from services.scheduler.store import cases, debts, watch
from services.scheduler.store.held import CaseKey, Held, case_key
from services.scheduler.tasking import tell_late

CLAIM = 500
CHUNKS_A_PASS = 4
PASS_EVERY_S = 1.0
BREATH_S = 0.05
"""Wake-ups closer together than this are handled as one."""
WATERMARK_RETRY = timedelta(seconds=0.5)


@dataclass(slots=True)
class Ticker:
    """Works through what is due in passes; any number of tickers share the work."""

    engine: AsyncEngine
    clock: Clock
    desk: Desk
    partitions: int
    claim: int = CLAIM
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, stop: asyncio.Event) -> None:
        """Make a pass whenever something changed, and at least every second."""
        while not stop.is_set():
            try:
                async with watch.looking(self.engine) as look:
                    await self._make_passes(look, stop)
            except Exception as error:
                if not is_transient(error):
                    raise
                logs.get("ticker").warning("pass_failed", reason=f"{type(error).__name__}: {error}"[:300])
                await pause(stop, PASS_EVERY_S)

    async def _make_passes(self, look: watch.Look, stop: asyncio.Event) -> None:
        while not stop.is_set():
            self.wake.clear()
            await self.make_pass(look)
            await pause(stop, BREATH_S)
            await pause(stop, PASS_EVERY_S, wake=self.wake)

    async def make_pass(self, look: watch.Look | None = None) -> int:
        """Do everything that is due, from the lowest key up; return the number of cases.

        One query checks all kinds of timers; those with nothing due cost no more. What becomes due after it is left to the next pass,
        except for cases woken by this one.
        """
        due, total = await self._look(look), 0
        if due.changes:
            total += await self._tell_changes()
        if due.segments:
            total += await self._tell_segments()
        if due.hold_batches:
            total += await self._hold_many()
        if due.tasks:
            total += await self._tell_late()
        if due.reminders:
            total += await self._wake_reminders()
        return total + await self._plan_all() if due.any else 0

    async def _look(self, look: watch.Look | None) -> watch.Due:
        """Ask what is due: one statement outside a transaction, on its own connection unless one is passed in."""
        if look is not None:
            return await look(self.clock.known(), LET_FACTS_BY)
        async with watch.looking(self.engine) as once:
            return await once(self.clock.known(), LET_FACTS_BY)

    async def _plan_all(self) -> int:
        """Plan the cases that are due; return their number.

        Within a pass the lower bound only rises, so that a claim does not rescan what earlier ones left; a row that was locked or
        written below the bound is found by the next pass, which starts without one.
        """
        total, after = 0, cases.BEGINNING
        while True:
            async with self.engine.begin() as conn:
                now = await self.clock.at(conn)
                held = await cases.claim_due(conn, now, after=after, limit=self.claim)
                if held:
                    await self._plan(conn, held, now)
            total += len(held)
            if held:
                self.desk.outbox.wake.set()
            if len(held) < self.claim:
                return total
            after = max((one.next_at or now, one.case.case_id) for one in held)

    async def _tell_changes(self) -> int:
        """Apply changed policies to some of the debts; later passes do the others, so that no case waits for a large portfolio."""
        total = 0
        for _ in range(CHUNKS_A_PASS):
            async with self.engine.begin() as conn:
                told = await tell_change(conn, self.desk.rulebook, await self.clock.at(conn), self.claim)
            if told is None:
                return total
            total += told
        self.wake.set()
        return total

    async def _tell_segments(self) -> int:
        """Apply borrowers' new segments to their debts."""
        total = 0
        while True:
            async with self.engine.begin() as conn:
                told = await tell_segments(conn, self.desk.rulebook, await self.clock.at(conn), self.claim)
            total += told
            if told < self.claim:
                return total

    async def _hold_many(self) -> int:
        """Set some of the holds of a bulk hold."""
        total = 0
        for _ in range(CHUNKS_A_PASS):
            async with self.engine.begin() as conn:
                done = await hold_some(conn, self.desk, self.clock, self.claim)
            if done is None:
                return total
            total += done
        self.wake.set()
        return total

    async def _tell_late(self) -> int:
        """Announce tasks that were not done in time."""
        total = 0
        while True:
            async with self.engine.begin() as conn:
                told = await tell_late(conn, self.desk, limit=self.claim, now=await self.clock.at(conn))
            total += told
            if told:
                self.desk.outbox.wake.set()
            if told < self.claim:
                return total

    async def _wake_reminders(self) -> int:
        """Create or wake the cases of debts whose reminder is due; debts are locked before cases, as in the facts handler."""
        total = 0
        while True:
            async with self.engine.begin() as conn:
                now = await self.clock.at(conn)
                woken = await debts.claim_woken(conn, now, self.claim)
                newest: dict[CaseKey, datetime] = {}
                for debt in woken:
                    key = case_key(debt.tenant, debt.borrower_id, debt.currency, debt.case_loan)
                    newest[key] = max(debt.fact_at, newest.get(key, debt.fact_at))
                if newest:
                    await cases.wake(conn, newest, now, policy=(BUILT_IN.name, BUILT_IN.version))
            total += len(woken)
            if len(woken) < self.claim:
                return total

    async def _plan(self, conn: AsyncConnection, held: Sequence[Held], now: datetime) -> None:
        complete = await debts.watermarks(conn, FACTS.name)
        rules = await self.desk.rulebook.of(conn, {one.case.tenant for one in held}, now, held=held)
        lateness, planned, out = self.desk.meters.lateness.labels("case"), [], Outgoing()
        for one in held:
            if one.next_at is not None:
                lateness.observe(max(0.0, (now - one.next_at).total_seconds()))
            if (
                later := self._unsettled(one, now, complete.get(partition_of(one.case.tenant, one.case.borrower_id, self.partitions)))
            ) is not None:
                planned.append(replace(one, next_at=later))
                continue
            new, given = self.desk.advance(one, rules, now)
            planned.append(new)
            out.add(given)
        await self.desk.save(conn, planned, out)

    def _unsettled(self, held: Held, now: datetime, complete_until: datetime | None) -> datetime | None:
        """Return when to look again at a case for which more facts may be on their way; None if all have come."""
        if held.rests_until is not None and held.rests_until > now:
            return held.rests_until
        if held.newest_fact_at is not None and (complete_until is None or complete_until < held.newest_fact_at):
            return now + WATERMARK_RETRY
        return None
