"""Work for people over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, model_validator
from sqlalchemy import RowMapping

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.paging import Cursor, cut
from services.scheduler.casework import Casework
from services.scheduler.contacting import ContactMade
from services.scheduler.domain.matters import NonpaymentReason, Outcome, ResultCode
from services.scheduler.routes.contacts import ByPeople, fits
from services.scheduler.routes.desk import Limit, LoanId, Reader, Words, Worker
from services.scheduler.routes.promises import PromiseAsked
from services.scheduler.store import errands
from services.scheduler.store.errands import Place, Wanted
from services.scheduler.tasking import Completion, TaskDesk

QueueName = Annotated[str | None, Query(max_length=128)]


class CompletionAsked(Asked):
    """What a person reports about a completed task; `result` if a contact was made, `outcome` if something was to be decided."""

    note: Words | None = None
    result: ResultCode | None = None
    channel: ByPeople | None = Field(default=None, description="absent: the channel of the task's kind")
    loan_id: LoanId | None = None
    promise: PromiseAsked | None = None
    reason: NonpaymentReason | None = None
    outcome: Outcome | None = None

    @model_validator(mode="after")
    def _of_a_contact(self) -> Self:
        if self.result is None and (self.promise or self.reason or self.channel):
            raise ValueError("promise, reason and channel need the result of a contact")
        if self.result is not None:
            fits(self.result, self.promise)
        return self

    @property
    def completion(self) -> Completion:
        """Return it in the form the desk uses."""
        promise = self.promise.wanted if self.promise else None
        made = self.result and ContactMade(
            self.channel, None, self.result, self.loan_id, None, self.note, promise=promise, reason=self.reason
        )
        return Completion(self.note, made or None, self.outcome)


def add_to(router: APIRouter, casework: Casework, desk: TaskDesk) -> None:
    """Add these routes."""

    @router.get("/tasks", summary="Work for people, the most urgent first")
    async def search_tasks(
        caller: Reader, *, queue: QueueName = None, state: Literal["open", "claimed", "done"] | None = None,
        limit: Limit = 100, cursor: Cursor,
    ) -> Response:  # fmt: skip
        async with casework.engine.connect() as conn:
            at = await casework.clock.at(conn)
            wanted = Wanted(queue, state, _place(cursor))
            rows = await errands.search(conn, caller.tenant, wanted, at=at, limit=limit + 1)
        found, following = cut(rows, limit, _cursor)
        return page([dict(row) for row in found], following)

    @router.get("/tasks/{task_id}", summary="A task with its script and the context of its case")
    async def read_task(task_id: str, caller: Reader) -> Response:
        return answer(await desk.read(caller, task_id))

    @router.post("/tasks/{task_id}:claim", summary="Take a task for half an hour, with the gate's answer for this moment")
    async def claim_task(task_id: str, caller: Worker, request: Request) -> Response:
        return answer(await desk.claim(caller, task_id, request.headers.get("authorization", "")))

    @router.post("/tasks/{task_id}:release", summary="Give a task back")
    async def release_task(task_id: str, caller: Worker) -> Response:
        return answer(await desk.release(caller, task_id))

    @router.post("/tasks/{task_id}:complete", summary="Complete a task, with what follows from its result")
    async def complete_task(task_id: str, caller: Worker, asked: CompletionAsked | None = None) -> Response:
        return answer(await desk.complete(caller, task_id, asked.completion if asked else Completion()))


def _cursor(row: RowMapping) -> str:
    return f"{row.priority}~{row.due_at.isoformat()}~{row.task_id}"


def _place(cursor: str | None) -> Place | None:
    if cursor is None:
        return None
    priority, due_at, task_id = cursor.split("~")
    return Place(int(priority), datetime.fromisoformat(due_at), task_id)
