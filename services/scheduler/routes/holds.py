"""Holds over HTTP: for one case, and in bulk."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Query, Response
from pydantic import AfterValidator, Field, model_validator
from sqlalchemy import RowMapping

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.errors import DomainError
from libs.common.paging import Cursor, cut
from libs.compliance import STOPS, Channel, StopKind, StopScope
from services.scheduler.casework import Casework
from services.scheduler.domain.stops import Ending
from services.scheduler.finding import named
from services.scheduler.holding import OF_PEOPLE, HoldWanted, default_contacts, end_hold, needs_channel, set_hold
from services.scheduler.massholding import ITS_OWN, BatchAsked, MassHolds
from services.scheduler.routes.desk import Limit, LoanId, OnCalendar, Reader, Words, Worker
from services.scheduler.store import holds
from services.scheduler.store.batches import CaseFilter
from services.scheduler.store.words import ENDED_BY_PERSON

Why = Annotated[str, Query(min_length=1, max_length=500, description="why the hold ends")]


def _of_people(stop: StopKind) -> StopKind:
    if stop not in OF_PEOPLE:
        raise ValueError(f"{stop.value} cannot be set by people: a promise is made for the one, and ingest decides what is in doubt")
    return stop


class EndAsked(Asked):
    """What ends a hold without `until`: an event, or a person (the default)."""

    event: Ending | None = Field(default=None, description="the debts of the case are cured or closed, or the borrower replied")
    person: bool = Field(default=False, description="a task is given; the hold stays until somebody ends it")

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.event is None) != self.person:
            raise ValueError("a hold ends with an event or with a person")
        return self


def scope_of(loan_id: str | None, channel: str | None) -> StopScope:
    """Return the scope of a hold."""
    return StopScope.CHANNEL if channel else StopScope.DEBT if loan_id else StopScope.PERSON


class HoldAsked(Asked):
    """Contacts pause from a moment on, until another moment, an event or a person ends it."""

    stop: Annotated[StopKind, AfterValidator(_of_people)]
    scope: StopScope | None = Field(
        default=None,
        description="absent: `debt` with a `loan_id`, `channel` with a `channel`, `debt` for a stop of debts in a loan's own case, else"
        " `person`",
    )
    contacts: Literal["none", "limited"] | None = Field(
        default=None, description="`limited` allows notices, answers and confirmations; default: the stop's own"
    )
    loan_id: LoanId | None = Field(default=None, description="only for this debt")
    channel: Channel | None = Field(default=None, description="only for this channel; an opt-out needs one")
    from_: OnCalendar | None = Field(default=None, alias="from", description="absent: now; a hold may start in the future")
    until: OnCalendar | None = None
    end: EndAsked | None = None
    pause: bool = Field(default=False, description="the overdue clock of its loans pauses too: `wallet.loan.paused` goes to ingest")
    reason: Words | None = None

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.until is not None and self.end is not None:
            raise ValueError("a hold has either until or end, not both")
        if self.until is not None and self.from_ is not None and self.until <= self.from_:
            raise ValueError("until must be after from")
        if needs_channel(self.stop) and self.channel is None:
            raise ValueError(f"{self.stop.value} applies to a channel: name it")
        if self.scope not in (None, scope_of(self.loan_id, self.channel)):
            raise ValueError("the scope debt needs a loan_id, channel a channel, and person neither")
        if self.pause and self.channel is not None:
            raise ValueError("a clock cannot pause for one channel only")
        return self

    def of(self, case_loan: str) -> str | None:
        """Return the loan it is about; in a single-loan case, a debt stop that names no loan is about that loan."""
        of_case = self.channel is None and self.scope in (None, StopScope.DEBT) and STOPS[self.stop].scope is StopScope.DEBT
        return self.loan_id or (case_loan if of_case else None) or None

    def wanted(self, at: datetime, loan_id: str | None) -> HoldWanted:
        """Return the hold with its defaults, as of a moment and for this loan."""
        if self.until is not None and self.until <= at:
            raise DomainError(422, "invalid_request", "until is in the past")
        if self.from_ is not None and self.from_ < at and self.pause:
            raise DomainError(422, "invalid_request", "a clock can only be paused from now or a later moment")
        return HoldWanted(
            self.stop, self.contacts or default_contacts(self.stop, of_debt=loan_id is not None), self.from_ or at, self.until,
            self.end.event if self.end else None, loan_id, self.channel.value if self.channel else None, self.pause, self.reason,
        )  # fmt: skip


class FilterAsked(Asked):
    """Which open cases; absent fields match everything."""

    borrower_ids: Annotated[list[LoanId], Field(max_length=10_000)] | None = None
    products: Annotated[list[str], Field(max_length=100)] | None = None
    jurisdictions: Annotated[list[str], Field(max_length=100)] | None = None
    policy: str | None = Field(default=None, max_length=128)
    stage: Literal["pre_due", "overdue"] | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.model_fields_set:
            raise ValueError("give at least one criterion")
        return self


class BatchIn(Asked):
    """A hold for all cases of a filter; without `confirm` they are only counted."""

    filter: FilterAsked
    hold: HoldAsked
    confirm: int | None = Field(default=None, ge=0, description="the number of cases, as counted before")

    @model_validator(mode="after")
    def _of_cases(self) -> Self:
        if self.hold.loan_id is not None:
            raise ValueError("a bulk hold cannot be about one loan")
        return self


def add_to(router: APIRouter, casework: Casework, mass: MassHolds) -> None:
    """Add these routes."""
    _add_of_case(router, casework)
    _add_of_many(router, mass)


def _add_of_case(router: APIRouter, casework: Casework) -> None:
    @router.post("/cases/{case_id}/holds", summary="Pause the contacts of a case", status_code=201)
    async def post_hold(case_id: str, asked: HoldAsked, caller: Worker) -> Response:
        async with casework.on(caller, case_id) as work:
            if asked.loan_id is not None:
                work.debt(asked.loan_id)
            hold_id = await set_hold(work, asked.wanted(work.at, asked.of(work.case.loan_id)))
            row = await holds.find(work.conn, work.of, hold_id)
        return answer(hold_shown(row), 201) if row else answer(None, 404)

    @router.get("/cases/{case_id}/holds", summary="The holds of a case, including ended ones")
    async def list_holds(case_id: str, caller: Reader, *, limit: Limit = 100, cursor: Cursor) -> Response:
        async with casework.reading(caller, case_id) as (conn, of):
            rows = await holds.of_case(conn, of, after=cursor or "", limit=limit + 1)
        shown, following = cut(rows, limit, lambda row: str(row.hold_id))
        return page([hold_shown(row) for row in shown], following)

    @router.delete("/cases/{case_id}/holds/{hold_id}", summary="End a hold; the case is planned again")
    async def delete_hold(case_id: str, hold_id: str, caller: Worker, reason: Why = ENDED_BY_PERSON) -> Response:
        async with casework.on(caller, case_id) as work:
            row = await end_hold(work, hold_id, reason)
        return answer(hold_shown(row))


def _add_of_many(router: APIRouter, mass: MassHolds) -> None:
    @router.post("/holds", summary="Pause the contacts of many cases: count first, then confirm")
    async def post_holds(asked: BatchIn, caller: Worker) -> Response:
        chosen = CaseFilter(**asked.filter.model_dump())
        number = await mass.count(caller.tenant, chosen)
        if asked.confirm is None:
            return answer({"count": number, "batch_id": None})
        now = mass.clock.now()
        batch = BatchAsked(chosen, asked.hold.wanted(now, None), asked.hold.wanted(now, asked.hold.of(ITS_OWN)))
        row = await mass.begin(caller.tenant, batch, named(caller), confirmed=asked.confirm)
        return answer(dict(row), 202)

    @router.get("/holds/{batch_id}", summary="Progress of a bulk hold")
    async def read_batch(batch_id: str, caller: Reader) -> Response:
        return answer(dict(await mass.read(caller.tenant, batch_id)))


def hold_shown(row: RowMapping) -> dict[str, object]:
    """Return a hold as the API shows it."""
    given = {name: row[name] for name in _SHOWN}
    end = {"event": row.ends_with} if row.ends_with else None if row.until else {"person": True}
    scope = scope_of(row.loan_id, row.channel)
    return {**given, "scope": scope, "from": row.from_at, "end": end, "pause": bool(row.paused), "paused": row.paused.split()}


_SHOWN = (
    "hold_id", "case_id", "stop", "contacts", "loan_id", "channel", "until", "reason", "source", "set_by", "set_at", "ended_at", "ended_by",
    "end_reason",
)  # fmt: skip
