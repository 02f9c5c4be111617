"""Promises to pay over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import RowMapping

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.moments import Day
from libs.common.money import MAX_MINOR
from libs.common.paging import Cursor, cut
from libs.compliance import Channel
from services.scheduler.casework import Casework
from services.scheduler.promising import PromiseWanted, cancel, find, make
from services.scheduler.routes.desk import Limit, LoanId, Reader, Words, Worker
from services.scheduler.store import promises


class PromiseAsked(Asked):
    """An amount by the end of a day; contacts about these debts pause until then."""

    amount: int = Field(ge=1, le=MAX_MINOR, strict=True, description="minor units of the case's currency; at most the amount overdue")
    due_on: Day = Field(description="a day in the time zone of the first of these loans")
    loans: Annotated[list[LoanId], Field(max_length=600)] = Field(default_factory=list, description="absent: all overdue ones")
    channel: Channel | None = None
    note: Words | None = None

    @property
    def wanted(self) -> PromiseWanted:
        """Return it in the form to make."""
        return PromiseWanted(self.amount, self.due_on, tuple(self.loans), self.channel.value if self.channel else None, self.note)


class CancelAsked(Asked):
    """Why a promise is cancelled."""

    reason: str | None = Field(default=None, max_length=500)


def add_to(router: APIRouter, casework: Casework) -> None:
    """Add these routes."""

    @router.post("/cases/{case_id}/promises", summary="A promise to pay; contacts pause until it is kept or broken", status_code=201)
    async def post_promise(case_id: str, asked: PromiseAsked, caller: Worker) -> Response:
        async with casework.on(caller, case_id) as work:
            promise_id = await make(work, asked.wanted)
            row = await find(work, promise_id)
        return answer(promise_shown(row), 201)

    @router.get("/cases/{case_id}/promises", summary="The promises of a case and what became of them")
    async def list_promises(case_id: str, caller: Reader, *, limit: Limit = 100, cursor: Cursor) -> Response:
        async with casework.reading(caller, case_id) as (conn, of):
            rows = await promises.of_case(conn, of, after=cursor or "", limit=limit + 1)
        shown, following = cut(rows, limit, lambda row: str(row.promise_id))
        return page([promise_shown(row) for row in shown], following)

    @router.post("/cases/{case_id}/promises/{promise_id}:cancel", summary="Cancel an open promise; contacts resume")
    async def cancel_promise(case_id: str, promise_id: str, caller: Worker, asked: CancelAsked | None = None) -> Response:
        async with casework.on(caller, case_id) as work:
            row = await cancel(work, promise_id, asked.reason if asked else None)
        return answer(promise_shown(row))


def promise_shown(row: RowMapping) -> dict[str, object]:
    """Return a promise as the API shows it."""
    return dict(row)
