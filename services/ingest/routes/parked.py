"""What was parked, and what people decide about it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.api import answer, page
from libs.common.auth import Principal, requires
from libs.common.clock import Clock
from libs.common.errors import DomainError
from services.ingest import facts, folding
from services.ingest.borrowers import Borrowers
from services.ingest.ledger import Ledger
from services.ingest.store import loans, parked
from services.ingest.store.parked import Decision, ParkedRow

Operator = Annotated[Principal, Depends(requires("ops"))]


class Discard(BaseModel):
    """Why a parked event is thrown away."""

    reason: str = Field(min_length=1, max_length=1000)


@dataclass(frozen=True, slots=True)
class ParkedDesk:
    """Lists parked events and carries out decisions; each decision is a record about the loan."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    borrowers: Borrowers

    async def page(self, tenant: str, loan_id: str | None, *, since: datetime | None, after: str, limit: int) -> list[ParkedRow]:
        """Return what waits for a decision."""
        async with self.engine.connect() as conn:
            return await parked.page(conn, tenant, loan_id=loan_id, since=since, after=after, limit=limit)

    async def discard(self, tenant: str, parked_id: str, decision: Decision) -> ParkedRow:
        """Throw a parked event away; the doubt about its loan ends with the last of them."""
        async with self.engine.begin() as conn:
            seen = await parked.find(conn, tenant, parked_id)
            if seen is None:
                raise DomainError(404, "not_found", f"no parked event {parked_id}")
            row, resolved_at = seen
            if resolved_at is not None:
                raise DomainError(409, "already_decided", f"this was decided at {resolved_at.isoformat()}")
            now = await self.clock.at(conn)
            if row.loan_id is not None:
                await self._end_doubt(conn, row, decision, now)
            else:
                await parked.resolve(conn, row, decision, now=now)
            if row.borrower_id is not None:
                ended = self.borrowers.doubt(tenant, row.borrower_id, parked_id, now=now, until=now)
                await self.ledger.outbox.append(conn, [ended])
        self.ledger.outbox.wake.set()
        return row

    async def _end_doubt(self, conn: AsyncConnection, row: ParkedRow, decision: Decision, now: datetime) -> None:
        key = (row.tenant, str(row.loan_id))
        loan = folding.opened((await loans.lock(conn, [key]))[key])
        await parked.resolve(conn, row, decision, now=now)
        loan.row.records += 1
        loan.row.parked -= 1
        if loan.row.parked == 0 and loan.row.fold_error is None:
            loan.row.doubt_since = None
        loan.touched = True
        if loan.book is not None and loan.book.known:
            loan.standing = facts.standing(loan.book, now)
        await self.ledger.announce(conn, [loan], now, by_time=False)


def routes_of(desk: ParkedDesk) -> APIRouter:
    """Return the routes of parked events."""
    router = APIRouter(tags=["parked"])

    @router.get("/v1/parked", summary="Events that wait for a decision")
    async def get_parked(
        caller: Operator,
        loan_id: str | None = None,
        since: AwareDatetime | None = None,
        cursor: str = "",
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        rows = await desk.page(caller.tenant, loan_id, since=since, after=cursor, limit=limit)
        return page([_shown(row) for row in rows], rows[-1].parked_id if len(rows) == limit else None)

    @router.post("/v1/parked/{parked_id}:discard", summary="Throw a parked event away")
    async def discard(parked_id: str, body: Discard, caller: Operator) -> Response:
        row = await desk.discard(caller.tenant, parked_id, Decision("discarded", caller.person or "key", body.reason))
        return answer({**_shown(row), "decision": "discarded", "reason": body.reason})

    return router


def _shown(row: ParkedRow) -> dict[str, Any]:
    return {
        "id": row.parked_id, "loan_id": row.loan_id, "borrower_id": row.borrower_id, "event": _document(row.event),
        "error": row.error, "detail": row.detail, "at": row.at,
    }  # fmt: skip


def _document(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return raw.decode(errors="replace")
