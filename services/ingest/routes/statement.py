"""A loan's statement, which a borrower can dispute line by line: which payment paid which component of which instalment."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from libs.common.api import answer
from libs.common.moments import Day, Moment
from libs.common.problems import PROBLEM
from services.ingest.domain.statement import stated
from services.ingest.reporting import Asked
from services.ingest.retelling import Log
from services.ingest.routes.loans import Reader
from services.ingest.statement_forms import FormName, Stated, csv_pieces, document
from services.ingest.statement_page import StatementPage

PRIVATE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class StatementDesk:
    """Makes statements."""

    log: Log
    page: StatementPage

    async def statement(self, asked: Asked, loan_id: str) -> Stated:
        """Return the statement of a loan; made in a thread, so that a long one blocks nobody."""
        told = await self.log.retold(loan_id, asked)
        made = await asyncio.to_thread(told.through, stated)
        return Stated(loan_id, told.now, asked.known_at, told.record, made)


def routes_of(desk: StatementDesk) -> APIRouter:
    """Return the route of the statement."""
    router = APIRouter(tags=["loans"])
    content: dict[str, dict[str, object]] = {"application/json": {}, "text/html": {}, "text/csv": {}}

    @router.get(
        "/v1/loans/{loan_id}/statement",
        summary="The statement of a loan on a date, line by line",
        description=__doc__,
        response_class=Response,
        responses={200: {"content": content}, **{status: {"content": {PROBLEM: {}}} for status in (404, 409)}},
    )
    async def get_statement(
        loan_id: str,
        caller: Reader,
        *,
        as_of: Day | None = None,
        known_at: Moment | None = None,
        form: Annotated[FormName, Query(alias="format")] = "json",
    ) -> Response:
        asked = Asked(caller.tenant, as_of, known_at)
        made = await desk.statement(asked, loan_id)
        match form:
            case "json":
                return answer(await asyncio.to_thread(document, made), headers=PRIVATE)
            case "html":
                text = await asyncio.to_thread(desk.page.render, made)
                return Response(text, media_type="text/html", headers={**PRIVATE, **desk.page.headers})
            case "csv":
                name = asked.file_name(f"statement-{loan_id.replace(':', '_')}", made.statement.shown.as_of)
                headers = {**PRIVATE, "Content-Disposition": f'attachment; filename="{name}.csv"'}
                return StreamingResponse(csv_pieces(made), headers=headers, media_type="text/csv")

    return router
