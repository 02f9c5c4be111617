"""Contacts made by people, and their notes, over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from fastapi import APIRouter, Response
from pydantic import Field, model_validator

from libs.common.api import answer
from libs.common.asked import Asked
from services.scheduler.casework import Casework
from services.scheduler.contacting import ContactMade, note, note_reason, record
from services.scheduler.domain.matters import RESULTS, NonpaymentReason, ResultCode
from services.scheduler.routes.desk import LoanId, OnCalendar, Words, Worker
from services.scheduler.routes.promises import PromiseAsked

ByPeople = Literal["call", "ai_voice", "voicemail", "letter", "visit", "chat", "private_message", "sms", "email"]


class ContactAsked(Asked):
    """A contact made by a person or another system, and its result."""

    channel: ByPeople
    result: ResultCode = Field(description="its consequences follow automatically: docs/work-for-people.md")
    at: OnCalendar | None = Field(default=None, description="absent: now")
    loan_id: LoanId | None = Field(default=None, description="the debt it was about; absent: all debts")
    by: Annotated[str, Field(max_length=128)] | None = Field(default=None, description="who made it; absent: whoever records it")
    note: Words | None = None
    promise: PromiseAsked | None = Field(default=None, description="with the result `promise`, and only then")
    reason: NonpaymentReason | None = Field(default=None, description="why the borrower does not pay")

    @model_validator(mode="after")
    def _promised(self) -> Self:
        fits(self.result, self.promise)
        return self

    @property
    def made(self) -> ContactMade:
        """Return it in the form to record."""
        promise = self.promise.wanted if self.promise else None
        return ContactMade(self.channel, self.at, self.result, self.loan_id, self.by, self.note, promise=promise, reason=self.reason)


class NoteAsked(Asked):
    """A note to keep."""

    text: Annotated[str, Field(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
    reason: NonpaymentReason | None = Field(default=None, description="why the borrower does not pay")


def fits(result: ResultCode, promise: PromiseAsked | None) -> None:
    """Refuse a promise without the result `promise`, or that result without a promise."""
    if RESULTS[result].promises != (promise is not None):
        raise ValueError("a promise goes with the result `promise`, and only with it")


def add_to(router: APIRouter, casework: Casework) -> None:
    """Add these routes."""

    @router.post("/cases/{case_id}/contacts", summary="A contact made by a person: it counts in caps", status_code=201)
    async def post_contact(case_id: str, asked: ContactAsked, caller: Worker) -> Response:
        async with casework.on(caller, case_id) as work:
            contact_id = await record(work, asked.made)
        return answer({"contact_id": contact_id, "case_id": case_id, "result": asked.result}, 201)

    @router.post("/cases/{case_id}/notes", summary="A note, and why the borrower does not pay", status_code=201)
    async def post_note(case_id: str, asked: NoteAsked, caller: Worker) -> Response:
        async with casework.on(caller, case_id) as work:
            note_id = note(work, asked.text)
            if asked.reason is not None:
                note_reason(work, asked.reason)
        return answer({"note_id": note_id, "case_id": case_id}, 201)
