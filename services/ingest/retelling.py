"""A loan refolded from the log: on any day, as known now or at an earlier time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.overdue_facts import Doubt
from libs.common.db.engine import snapshot
from libs.common.errors import DomainError
from services.ingest import facts
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.events import LoanEvent
from services.ingest.domain.product import ProductLine
from services.ingest.reporting import Asked, fold_inputs, settings_then
from services.ingest.store import events as log
from services.ingest.store import loans, parked
from services.ingest.store.products import ProductBook

T = TypeVar("T")
Rule = Callable[[Sequence[LoanEvent], ProductLine, date], T | None]
"""Derives something from a loan's events up to a day; None while they do not make a loan."""


@dataclass(frozen=True, slots=True)
class Retold:
    """The events of a loan that count for the request, and what else a fold needs."""

    loan_id: str
    events: Sequence[LoanEvent]
    line: ProductLine
    day: date
    now: datetime
    version: int
    doubt: Doubt | None

    def through(self, rule: Rule[T]) -> T:
        """Return what a rule derives from the events."""
        try:
            made = rule(self.events, self.line, self.day)
        except CannotFold as error:
            raise DomainError(409, "in_doubt", f"the ledger cannot digest the events of this loan: {error}") from error
        if made is None:
            raise _unknown(self.loan_id)
        return made

    @property
    def record(self) -> dict[str, object]:
        """What the shell adds to every loan it shows."""
        return {"version": self.version, "events": len(self.events), "doubt": self.doubt}


@dataclass(frozen=True, slots=True)
class Log:
    """Reads loans from the log."""

    engine: AsyncEngine
    clock: Clock
    products: ProductBook

    async def retold(self, loan_id: str, asked: Asked) -> Retold:
        """Read a loan in one snapshot."""
        key = asked.tenant, loan_id
        async with snapshot(self.engine) as conn:
            row = await loans.find(conn, *key)
            if row is None:
                raise _unknown(loan_id)
            logged = (await log.of_loans(conn, [key]))[key]
            undecided = (await parked.open_of(conn, [key])).get(key, ())
            row.settings = await settings_then(conn, self.products, row, logged, asked)
            now = await self.clock.at(conn)
        events, line, day = fold_inputs(row, logged, asked, now)
        return Retold(loan_id, events, line, day, now, row.records, facts.doubt_of(row.doubt_since, undecided, row.fold_error))


def _unknown(loan_id: str) -> DomainError:
    return DomainError(404, "not_found", f"no loan {loan_id[:128]} is known")
