"""Bulk holds: counted, confirmed, and set in portions alongside the ticker's other work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import ids, logs
from libs.common.clock import Clock
from libs.common.errors import DomainError
from services.scheduler.acting import Desk
from services.scheduler.casework import Work, bring
from services.scheduler.domain.case import Case
from services.scheduler.holding import HoldWanted, announce, hold_row
from services.scheduler.store import batches, cases, holds
from services.scheduler.store.batches import Batch, CaseFilter
from services.scheduler.store.held import UNREADABLE, why_unread

ITS_OWN = "~"
"""Stands for each case's own loan."""


@dataclass(frozen=True, slots=True)
class BatchAsked:
    """A hold, in its forms for borrowers' cases and for single-loan cases, and the cases it is for."""

    chosen: CaseFilter
    hold: HoldWanted
    of_loan: HoldWanted

    def of(self, case: Case) -> HoldWanted:
        """Return the hold for a case."""
        if not case.loan_id:
            return self.hold
        return self.of_loan if self.of_loan.loan_id is None else replace(self.of_loan, loan_id=case.loan_id)


_asked = msgspec.json.Decoder(BatchAsked).decode


@dataclass(frozen=True, slots=True)
class MassHolds:
    """Counts and starts bulk holds."""

    engine: AsyncEngine
    clock: Clock
    look_again: Callable[[], None]

    async def count(self, tenant: str, chosen: CaseFilter) -> int:
        """Return how many open cases match a filter now."""
        async with self.engine.connect() as conn:
            return await batches.count(conn, tenant, chosen)

    async def begin(self, tenant: str, asked: BatchAsked, by: str, *, confirmed: int) -> RowMapping:
        """Begin a batch if the number of cases is still the confirmed one."""
        batch_id = ids.derived("hb", tenant, ids.fresh())
        async with self.engine.begin() as conn:
            number = await batches.count(conn, tenant, asked.chosen)
            if number != confirmed:
                raise DomainError(409, "count_changed", f"there are {number} cases now, not {confirmed}", count=number)
            batch = Batch(tenant, batch_id, msgspec.json.encode(asked), by, "", "")
            await batches.begin(conn, batch, number=number, at=await self.clock.at(conn))
            row = await _found(conn, tenant, batch_id)
        self.look_again()
        return row

    async def read(self, tenant: str, batch_id: str) -> RowMapping:
        """Return a batch's progress."""
        async with self.engine.connect() as conn:
            return await _found(conn, tenant, batch_id)


async def hold_some(conn: AsyncConnection, desk: Desk, clock: Clock, limit: int) -> int | None:
    """Set the holds of a batch's next cases; return how many, or None when there is no batch."""
    batch = await batches.claim(conn)
    if batch is None:
        return None
    try:
        asked = _asked(batch.asked)
    except UNREADABLE as error:
        logs.get("holds").error("batch_unreadable", batch=batch.batch_id, reason=why_unread(error))
        await batches.give_up(conn, batch, await clock.at(conn))
        return 0
    keys = await batches.next_cases(conn, batch, asked.chosen, limit)
    held = await cases.lock_of_borrowers(conn, {(key.tenant, key.borrower_id) for key in keys}) if keys else []
    now, chosen = await clock.at(conn), {key.case_id for key in keys}
    works = [
        Work(conn, desk, one.case, one.moment(now), batch.by, key=batch.batch_id) for one in held if one.case.case_id in chosen
    ]  # fmt: skip
    rows = [hold_row(work, asked.of(work.case), batch.batch_id) for work in works]
    new = await holds.put(conn, rows)
    for work, row in zip(works, rows, strict=True):
        if row.hold_id in new:
            announce(work, row)
    await bring(conn, desk, held, works, now=now)
    await batches.move(conn, batch, keys, ended_at=now if len(keys) < limit else None)
    return len(keys)


async def _found(conn: AsyncConnection, tenant: str, batch_id: str) -> RowMapping:
    if (row := await batches.find(conn, tenant, batch_id)) is None:
        raise DomainError(404, "not_found", f"no bulk hold {batch_id[:128]} is known")
    return row
