"""What the ledger says: of a loan on any day, of a borrower, of all that is overdue."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, page
from libs.common.auth import Principal, requires
from libs.common.clock import Clock
from libs.common.errors import DomainError
from services.ingest import facts, folding
from services.ingest.domain.errors import CannotFold
from services.ingest.domain.fold import trace
from services.ingest.domain.state import public_state
from services.ingest.reading import to_domain, zone_among, zone_of
from services.ingest.store import events as log
from services.ingest.store import loans, parked, report
from services.ingest.store.events import LogRow
from services.ingest.store.loans import LoanRow

Reader = Annotated[Principal, Depends(requires("loans:read"))]
_CSV = "loan_id,borrower_id,product,currency,timezone,due_on,past_due_days,bucket,overdue,outstanding\r\n"


@dataclass(frozen=True, slots=True)
class LoanReader:
    """Reads loans out of the log."""

    engine: AsyncEngine
    clock: Clock

    async def state(self, tenant: str, loan_id: str, as_of: date | None, known_at: datetime | None) -> dict[str, Any]:
        """Return the public state of a loan on a day, as known now or then."""
        async with self.engine.connect() as conn:
            row = await loans.find(conn, tenant, loan_id)
            logged = (await log.of_loans(conn, [(tenant, loan_id)]))[tenant, loan_id] if row is not None else []
            undecided = (await parked.open_of(conn, [(tenant, loan_id)])).get((tenant, loan_id), ())
            now = await self.clock.at(conn)
        known = [event for event in logged if known_at is None or event.received_at <= known_at]
        if row is None or not (state := _folded(row, known, as_of, now)):
            raise DomainError(404, "not_found", f"no loan {loan_id[:128]} is known")
        doubt = facts.doubt_of(row.doubt_since, undecided, row.fold_error)
        return {"loan_id": loan_id, **state, "version": row.records, "events": len(known), "doubt": doubt}

    async def events(self, tenant: str, loan_id: str) -> list[dict[str, Any]]:
        """Return the accepted events of a loan in the order in which they came."""
        async with self.engine.connect() as conn:
            logged = (await log.of_loans(conn, [(tenant, loan_id)]))[tenant, loan_id]
        if not logged:
            raise DomainError(404, "not_found", f"no event about a loan {loan_id[:128]} has been accepted")
        return [_published(row) for row in logged]

    async def of_borrower(self, tenant: str, borrower_id: str) -> list[dict[str, Any]]:
        """Return the borrower's loans in short."""
        async with self.engine.connect() as conn:
            rows = await loans.of_borrower(conn, tenant, borrower_id)
        return [_short(row) for row in rows]

    async def overdue(self, tenant: str, filters: report.Filters, form: str) -> AsyncIterator[bytes]:
        """Stream what is overdue today, then the totals per bucket and currency."""
        totals: dict[tuple[str, str], tuple[int, int]] = {}
        first = True
        yield b'{"items": [' if form == "json" else _CSV.encode()
        async with self.engine.connect() as conn:
            now = await self.clock.at(conn)
            async for row in report.overdue(conn, tenant, filters):
                line = _line(row, now)
                count, amount = totals.get((line["bucket"], line["currency"]), (0, 0))
                totals[line["bucket"], line["currency"]] = count + 1, amount + line["overdue"]
                yield (b"" if first else b",\n") + msgspec.json.encode(line) if form == "json" else _csv(line)
                first = False
        if form == "json":
            sums = [{"bucket": b, "currency": c, "loans": n, "overdue": amount} for (b, c), (n, amount) in sorted(totals.items())]
            yield b'], "totals": ' + msgspec.json.encode(sums) + b"}"


def routes_of(reader: LoanReader) -> APIRouter:
    """Return the routes by which the ledger is read."""
    router = APIRouter(tags=["loans"])

    @router.get("/v1/loans/{loan_id}", summary="The state of a loan on a date")
    async def get_loan(loan_id: str, caller: Reader, as_of: date | None = None, known_at: AwareDatetime | None = None) -> Response:
        return answer(await reader.state(caller.tenant, loan_id, as_of, known_at))

    @router.get("/v1/loans/{loan_id}/events", summary="The accepted events of a loan, as they came")
    async def get_events(loan_id: str, caller: Reader) -> Response:
        return page(await reader.events(caller.tenant, loan_id))

    @router.get("/v1/borrowers/{borrower_id}/loans", summary="The debts of a borrower")
    async def get_borrower_loans(borrower_id: str, caller: Reader) -> Response:
        return page(await reader.of_borrower(caller.tenant, borrower_id))

    @router.get("/v1/overdue-report", summary="All that is overdue today, streamed, with totals")
    async def get_report(
        caller: Reader,
        bucket: str | None = None,
        product: str | None = None,
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> StreamingResponse:
        media = "application/json" if form == "json" else "text/csv; charset=utf-8"
        return StreamingResponse(reader.overdue(caller.tenant, report.Filters(bucket, product), form), media_type=media)

    return router


def _folded(row: LoanRow, known: Sequence[LogRow], as_of: date | None, now: datetime) -> dict[str, Any] | None:
    accepted = [folding.accepted_of(event) for event in known]
    zone, line = zone_among(accepted), folding.line_of(row)
    day = as_of or now.astimezone(zone_of(zone)).date()
    try:
        traced = trace([to_domain(one, zone, line) for one in accepted], line, day)
        return public_state(traced, day) if traced.book.known else None
    except CannotFold as error:
        raise DomainError(409, "in_doubt", f"the ledger cannot digest the events of this loan: {error}") from error


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


def _line(row: report.OverdueRow, now: datetime) -> dict[str, Any]:
    today = now.astimezone(zone_of(row.timezone)).date()
    return {
        "loan_id": row.loan_id, "borrower_id": row.borrower_id, "product": row.product, "currency": row.currency, "timezone": row.timezone,
        "due_on": row.anchor_on, "past_due_days": (today - row.anchor_on).days, "bucket": row.bucket,
        "overdue": row.overdue_total, "outstanding": row.outstanding_total,
    }  # fmt: skip


def _csv(line: dict[str, Any]) -> bytes:
    """Return a line of CSV; ids and zones have no character that would need quotes, product names are ids too."""
    return (",".join(str(value) for value in line.values()) + "\r\n").encode()
