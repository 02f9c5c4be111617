"""Disputes, complaints and hardship over HTTP."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import Field
from sqlalchemy import RowMapping

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.errors import DomainError
from libs.common.paging import Cursor, cut
from libs.compliance import Channel
from services.scheduler.casework import Casework
from services.scheduler.domain.matters import MatterKind, Outcome
from services.scheduler.objecting import MatterWanted, find, open_matter, resolve
from services.scheduler.routes.desk import Limit, LoanId, Reader, Words, Worker
from services.scheduler.store import matters

KINDS = {
    "disputes": MatterKind.DISPUTE, "complaints": MatterKind.COMPLAINT, "hardships": MatterKind.HARDSHIP,
    "wrong-numbers": MatterKind.WRONG_NUMBER,
}  # fmt: skip


class MatterAsked(Asked):
    """What the borrower raised."""

    loan_id: LoanId | None = Field(default=None, description="the debt it is about; a dispute without one is about all overdue debts")
    line: Annotated[str, Field(max_length=128)] | None = Field(default=None, description="a charge or an instalment of the statement")
    channel: Channel | None = None
    note: Words | None = None


class ResolutionAsked(Asked):
    """The outcome."""

    outcome: Outcome
    answer: Words | None = None


def add_to(router: APIRouter, casework: Casework) -> None:
    """Add these routes; each kind has the same."""
    for path, kind in KINDS.items():
        _add(router, casework, f"/cases/{{case_id}}/{path}", kind)


def _add(router: APIRouter, casework: Casework, path: str, kind: MatterKind) -> None:
    word = kind.value.replace("_", " ")

    @router.post(path, summary=f"Open a {word}: contacts pause until a person has answered", status_code=201, name=f"open_{kind}")
    async def post_matter(case_id: str, asked: MatterAsked, caller: Worker) -> Response:
        wanted = MatterWanted(kind, asked.loan_id, asked.line, asked.channel.value if asked.channel else None, asked.note)
        async with casework.on(caller, case_id) as work:
            row = await find(work, await open_matter(work, wanted))
        return answer(matter_shown(row), 201)

    @router.get(path, summary=f"Each {word} of a case, and its outcome", name=f"list_{kind}")
    async def list_matters(case_id: str, caller: Reader, *, limit: Limit = 100, cursor: Cursor) -> Response:
        async with casework.reading(caller, case_id) as (conn, of):
            rows = await matters.of_case(conn, of, [kind.value], after=cursor or "", limit=limit + 1)
        shown, following = cut(rows, limit, lambda row: str(row.matter_id))
        return page([matter_shown(row) for row in shown], following)

    @router.post(f"{path}/{{matter_id}}:resolve", summary="Record the outcome; contacts resume", name=f"resolve_{kind}")
    async def resolve_matter(case_id: str, matter_id: str, asked: ResolutionAsked, caller: Worker) -> Response:
        async with casework.on(caller, case_id) as work:
            if (await find(work, matter_id)).kind != kind:
                raise DomainError(404, "not_found", f"no {word} {matter_id[:128]} is known")
            row = await resolve(work, matter_id, asked.outcome, asked.answer)
        return answer(matter_shown(row))


def matter_shown(row: RowMapping) -> dict[str, object]:
    """Return a matter as the API shows it."""
    return dict(row)
