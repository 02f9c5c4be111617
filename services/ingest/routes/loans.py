"""What the ledger says about a loan on any day, and about a borrower."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, page
from libs.common.auth import Principal, requires
from libs.common.errors import DomainError
from libs.common.moments import Day, Moment
from libs.common.paging import Cursor, cut, number_place
from services.ingest.domain.events import LoanEvent
from services.ingest.domain.fold import trace
from services.ingest.domain.product import ProductLine
from services.ingest.domain.state import public_state
from services.ingest.reporting import Asked
from services.ingest.retelling import Log
from services.ingest.store import events, loans
from services.ingest.store.events import LogRow
from services.ingest.store.loans import LoanRow

Reader = Annotated[Principal, Depends(requires("loans:read"))]
Limit = Annotated[int, Query(ge=1, le=1000)]
EventLimit = Annotated[int, Query(ge=1, le=10_000, description="a loan has at most 10,000 events")]


@dataclass(frozen=True, slots=True)
class LoanReader:
    """Reads loans from the log."""

    engine: AsyncEngine
    log: Log

    async def state(self, tenant: str, loan_id: str, as_of: date | None, known_at: datetime | None) -> dict[str, Any]:
        """Return the public state of a loan on a day, as known now or at an earlier time."""
        told = await self.log.retold(loan_id, Asked(tenant, as_of, known_at))
        return {"loan_id": loan_id, **told.through(_state), **told.record}

    async def events(self, tenant: str, loan_id: str, *, after: int, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Return accepted events of a loan in order of arrival, which never changes, and where the page ends."""
        async with self.engine.connect() as conn:
            logged = (await events.of_loans(conn, [(tenant, loan_id)]))[tenant, loan_id]
        if not logged:
            raise DomainError(404, "not_found", f"no event about loan {loan_id[:128]} has been accepted")
        end = after + limit
        return [_published(row) for row in logged[after:end]], str(end) if len(logged) > end else None

    async def of_borrower(self, tenant: str, borrower_id: str, *, after: str, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Return a summary of the borrower's loans, and where the page ends."""
        async with self.engine.connect() as conn:
            rows = await loans.of_borrower(conn, tenant, borrower_id, after=after, limit=limit + 1)
        found, following = cut(rows, limit, lambda row: row.loan_id)
        return [_short(row) for row in found], following


def routes_of(reader: LoanReader) -> APIRouter:
    """Return the routes that read the ledger."""
    router = APIRouter(tags=["loans"])

    @router.get("/v1/loans/{loan_id}", summary="The state of a loan on a date")
    async def get_loan(loan_id: str, caller: Reader, as_of: Day | None = None, known_at: Moment | None = None) -> Response:
        return answer(await reader.state(caller.tenant, loan_id, as_of, known_at))

    @router.get("/v1/loans/{loan_id}/events", summary="The accepted events of a loan, in order of arrival")
    async def get_events(loan_id: str, caller: Reader, *, limit: EventLimit = 1000, cursor: Cursor) -> Response:
        return page(*await reader.events(caller.tenant, loan_id, after=number_place(cursor) or 0, limit=limit))

    @router.get("/v1/borrowers/{borrower_id}/loans", summary="The debts of a borrower")
    async def get_borrower_loans(borrower_id: str, caller: Reader, *, limit: Limit = 100, cursor: Cursor) -> Response:
        return page(*await reader.of_borrower(caller.tenant, borrower_id, after=cursor or "", limit=limit))

    return router


def _state(events: Sequence[LoanEvent], line: ProductLine, day: date) -> dict[str, object] | None:
    traced = trace(events, line, day)
    return public_state(traced, day) if traced.book.known else None


def _published(row: LogRow) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": row.event_id, "source": row.source, "type": row.type, "time": row.time, "subject": row.loan_id,
        "data": msgspec.Raw(row.data), "received_at": row.received_at,
    }  # fmt: skip


def _short(row: LoanRow) -> dict[str, Any]:
    return {
        "loan_id": row.loan_id, "product": row.product, "currency": row.currency, "status": row.status, "bucket": row.bucket,
        "overdue": row.overdue_total, "outstanding": row.outstanding_total, "anchor_due_on": row.anchor_on,
        "in_doubt": row.doubt_since is not None,
    }  # fmt: skip
