"""What a person does about a case: all of the borrower's cases are locked meanwhile, then brought up to date."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import ids
from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.value import replace
from services.scheduler.acting import Desk
from services.scheduler.domain.case import Case, Debt
from services.scheduler.domain.promises import PROMISE_TERMS, PromiseTerms
from services.scheduler.finding import case_row, named
from services.scheduler.outgoing import Outgoing, entry
from services.scheduler.pausing import Telling
from services.scheduler.store import cases
from services.scheduler.store.held import Held
from services.scheduler.store.story import Entry


@dataclass(slots=True)
class Work:
    """A case being worked on: what is written here is saved together with what follows from it."""

    conn: AsyncConnection
    desk: Desk
    case: Case
    at: datetime
    by: str
    terms: PromiseTerms = PROMISE_TERMS
    key: str | None = None
    """Names work that may be done again (a task, a portion of a batch): what it makes has the same ids then."""
    out: Outgoing = field(default_factory=Outgoing)
    freed: bool = False
    """Set when a person has decided on a case that its rules had failed on."""

    @property
    def of(self) -> tuple[str, str, str]:
        """Return (tenant, borrower, case)."""
        return self.case.tenant, self.case.borrower_id, self.case.case_id

    @property
    def telling(self) -> Telling:
        """Return what messages to ingest need."""
        return Telling(self.desk.writer.partitions, self.desk.tenants[0], self.at)

    def new_id(self, prefix: str, *about: object) -> str:
        """Return the id of what this request makes: always the same one if there is a key."""
        return ids.derived(prefix, *self.of, self.key or ids.fresh(), *about)

    def done(self, held: Held) -> Held:
        """Apply what this work changed of the case row itself to the case, read again."""
        case = replace(held.case, nonpayment_reason=self.case.nonpayment_reason)
        return replace(held, case=case, moved_at=self.at, in_doubt=None if self.freed else held.in_doubt)

    def entry(self, kind: str, *, reason: str | None = None, **detail: Any) -> Entry:
        """Return an entry for the case's timeline."""
        return entry(self.case, self.at, kind, reason=reason, **detail)

    def debt(self, loan_id: str) -> Debt:
        """Return a debt of the case; raise if there is none."""
        found = next((debt for debt in self.case.debts if debt.loan_id == loan_id), None)
        if found is None:
            raise DomainError(422, "unknown_debt", f"case {self.case.case_id} has no debt {loan_id[:128]}")
        return found

    def zone(self, loans: Iterable[str]) -> str:
        """Return the time zone of the first of these debts, or of the case's first debt."""
        named = list(loans)
        found = [debt for debt in self.case.debts if not named or debt.loan_id in named]
        return min(found, key=lambda debt: debt.loan_id).timezone if found else "UTC"


@dataclass(frozen=True, slots=True)
class Casework:
    """Gives people a case to work on."""

    engine: AsyncEngine
    clock: Clock
    desk: Desk
    look_again: Callable[[], None]

    @asynccontextmanager
    async def on(self, caller: Principal, case_id: str, *, key: str | None = None) -> AsyncIterator[Work]:
        """Lock a case; when the work is done, bring this case and the borrower's others up to date."""
        async with self.engine.begin() as conn:
            row = await case_row(conn, caller.tenant, case_id)
            held = await cases.lock_of_borrowers(conn, [(caller.tenant, row.borrower_id)])
            now = await self.clock.at(conn)
            one = next(one for one in held if one.case.case_id == case_id)
            policy = (await self.desk.rulebook.of(conn, [caller.tenant], now, held=[one])).pinned(one)
            terms = PROMISE_TERMS if policy is None else policy.promises
            work = Work(conn, self.desk, one.case, one.moment(now), named(caller), terms, key)
            yield work
            await bring(conn, self.desk, held, [work], now=now)
        self.look_again()

    @asynccontextmanager
    async def reading(self, caller: Principal, case_id: str) -> AsyncIterator[tuple[AsyncConnection, tuple[str, str, str]]]:
        """Return a connection, and the case as (tenant, borrower, case)."""
        async with self.engine.connect() as conn:
            row = await case_row(conn, caller.tenant, case_id)
            yield conn, (caller.tenant, row.borrower_id, case_id)


async def bring(conn: AsyncConnection, desk: Desk, held: Sequence[Held], works: Sequence[Work], *, now: datetime) -> None:
    """Read locked cases as they are after this work, cancel contacts that have lost their ground, and have the cases planned again."""
    if not held:
        return
    done = {work.case.case_id: work for work in works}
    cases_now = await cases.lock(conn, [one.key for one in held])
    rules = await desk.rulebook.of(conn, {one.case.tenant for one in held}, now, held=cases_now)
    followed, out = [], Outgoing()
    for work in works:
        out.add(work.out)
    for one in cases_now:
        work_on = done.get(one.case.case_id)
        new, given = desk.follow(one if work_on is None else work_on.done(one), rules, now)
        followed.append(new if new.in_doubt is not None else replace(new, next_at=new.woken(now)))
        out.add(given)
    await desk.save(conn, followed, out)
