"""What people settle in cases, over HTTP: approvals of steps, evidence, offers, and handed-over cases taken back."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

import msgspec
from fastapi import APIRouter, Depends, Response
from pydantic import Field, model_validator
from sqlalchemy import RowMapping

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.auth import Principal, requires
from libs.common.errors import DomainError
from libs.common.paging import Cursor, part
from services.scheduler.domain.dealing import USUALLY_VALID, OfferState, Terms
from services.scheduler.domain.policy import DOSSIER
from services.scheduler.finding import unknown
from services.scheduler.routes.cases import Rooms
from services.scheduler.routes.desk import Limit, Reader, Worker
from services.scheduler.showing import steps_shown
from services.scheduler.store import cases, dealings
from services.scheduler.store.held import Held

Approver = Annotated[Principal, Depends(requires("cases:approve"))]
Percent = Annotated[int | None, Field(ge=0, le=100)]
LONGEST_VALID = 90
ValidDays = Annotated[
    int | None,
    Field(ge=1, le=LONGEST_VALID, description="absent: as long as the policy's offer stands, else 14; for longer another person approves"),
]


class Said(Asked):
    """What a person adds to a decision."""

    reason: str | None = Field(default=None, min_length=1, max_length=2000)


class Because(Asked):
    """A decision that must have a reason."""

    reason: str = Field(min_length=1, max_length=2000)


class Document(Asked):
    """A document: its name in the policy, where it is kept, and the SHA-256 of its bytes."""

    document: str = Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")
    reference: str = Field(min_length=1, max_length=2000)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class OfferForm(Asked):
    """A plan over some months, or a partial waiver."""

    kind: Literal["instalment_plan", "partial_waiver"]
    max_months: Annotated[int | None, Field(ge=1, le=120)] = None
    waive_interest_percent: Percent = None
    waive_fees_percent: Percent = None
    valid_days: ValidDays = None
    reason: str | None = Field(default=None, max_length=2000)

    @model_validator(mode="after")
    def _offers_something(self) -> Self:
        if self.kind == "instalment_plan" and self.max_months is None:
            raise ValueError("an instalment_plan needs max_months")
        if self.kind == "partial_waiver" and not (self.waive_interest_percent or self.waive_fees_percent):
            raise ValueError("a partial_waiver needs waive_interest_percent or waive_fees_percent")
        return self

    @property
    def terms(self) -> Terms:
        """Return it in the form the rules use."""
        valid_for = USUALLY_VALID if self.valid_days is None else timedelta(days=self.valid_days)
        return Terms(
            self.kind, valid_for, max_months=self.max_months, waive_interest_percent=self.waive_interest_percent,
            waive_fees_percent=self.waive_fees_percent,
        )  # fmt: skip


class PlanForm(Asked):
    """A plan over some months."""

    max_months: int = Field(ge=1, le=120)
    waive_interest_percent: Percent = None
    waive_fees_percent: Percent = None
    valid_days: ValidDays = None
    reason: str | None = Field(default=None, max_length=2000)

    @property
    def offer(self) -> OfferForm:
        """Return it as an offer."""
        return OfferForm(kind="instalment_plan", **self.model_dump())


class Taken(Asked):
    """What the borrower chose from an offer."""

    months: Annotated[int | None, Field(ge=1, le=120)] = None
    reason: str | None = Field(default=None, max_length=2000)


def add_to(router: APIRouter, rooms: Rooms) -> None:
    """Add these routes."""
    _add_steps(router, rooms)
    _add_offers(router, rooms)

    @router.post("/cases/{case_id}:take_back", summary="Take back a case that was handed over")
    async def take_back(case_id: str, caller: Worker, said: Because) -> Response:
        await rooms.dealer.take_back(caller, case_id, said.reason)
        return await _steps(rooms, caller, case_id)


def _add_steps(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/cases/{case_id}/steps", summary="Every step of the case's policy: done, rejected, or what it waits for")
    async def read_steps(case_id: str, caller: Reader) -> Response:
        return await _steps(rooms, caller, case_id)

    @router.post("/cases/{case_id}/steps/{step}:approve", summary="Approve a step that waits for approval; persons only")
    async def approve_step(case_id: str, step: str, caller: Approver, *, said: Said | None = None) -> Response:
        await rooms.dealer.decide_step(caller, case_id, step, approved=True, reason=said.reason if said else None)
        return await _steps(rooms, caller, case_id)

    @router.post("/cases/{case_id}/steps/{step}:reject", summary="Reject a step: it is not done in this spell")
    async def reject_step(case_id: str, step: str, caller: Approver, *, said: Because) -> Response:
        await rooms.dealer.decide_step(caller, case_id, step, approved=False, reason=said.reason)
        return await _steps(rooms, caller, case_id)

    @router.post("/cases/{case_id}/evidence", summary="Attach a document by reference and hash")
    async def attach(case_id: str, caller: Worker, document: Document) -> Response:
        if document.document == DOSSIER:
            raise DomainError(409, "seal_it", f"the dossier is made and attached by POST /v1/cases/{case_id}/evidence:seal")
        await rooms.dealer.attach(caller, case_id, document.document, sha256=document.sha256, reference=document.reference)
        return await _steps(rooms, caller, case_id)


def _add_offers(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/cases/{case_id}/offers", summary="The offers of a case, oldest first")
    async def list_offers(case_id: str, caller: Reader, *, limit: Limit = 100, cursor: Cursor) -> Response:
        return page(*part(await _offers(rooms, caller, case_id), cursor, limit))

    @router.post(
        "/cases/{case_id}/offers", summary="Make an offer; beyond the policy's limits a second person must approve it", status_code=201
    )
    async def make_offer(case_id: str, caller: Worker, form: OfferForm) -> Response:
        offer_id = await rooms.dealer.make_offer(caller, case_id, form.terms, reason=form.reason, timed=form.valid_days is not None)
        return answer(await _offer(rooms, caller, case_id, offer_id), 201)

    @router.post("/cases/{case_id}/plans", summary="Offer an instalment plan: an offer of that kind", status_code=201)
    async def make_plan(case_id: str, caller: Worker, form: PlanForm) -> Response:
        offer_id = await rooms.dealer.make_offer(caller, case_id, form.offer.terms, reason=form.reason, timed=form.valid_days is not None)
        return answer(await _offer(rooms, caller, case_id, offer_id), 201)

    @router.get("/cases/{case_id}/plans", summary="The instalment plans offered in a case, oldest first")
    async def list_plans(case_id: str, caller: Reader, *, limit: Limit = 100, cursor: Cursor) -> Response:
        plans = [one for one in await _offers(rooms, caller, case_id) if one["terms"]["kind"] == "instalment_plan"]
        return page(*part(plans, cursor, limit))

    @router.post("/cases/{case_id}/offers/{offer_id}:approve", summary="Approve an offer beyond the limits; whoever made it cannot")
    async def approve_offer(case_id: str, offer_id: str, caller: Approver, *, said: Said | None = None) -> Response:
        await rooms.dealer.decide_proposal(caller, case_id, offer_id, approved=True, reason=said.reason if said else None)
        return answer(await _offer(rooms, caller, case_id, offer_id))

    @router.post("/cases/{case_id}/offers/{offer_id}:reject", summary="Reject an offer beyond the limits")
    async def reject_offer(case_id: str, offer_id: str, caller: Approver, *, said: Because) -> Response:
        await rooms.dealer.decide_proposal(caller, case_id, offer_id, approved=False, reason=said.reason)
        return answer(await _offer(rooms, caller, case_id, offer_id))

    @router.post("/cases/{case_id}/offers/{offer_id}:accept", summary="The borrower accepts; the wallet then reschedules")
    async def accept_offer(case_id: str, offer_id: str, caller: Worker, *, taken: Taken | None = None) -> Response:
        chosen = {} if taken is None or taken.months is None else {"months": taken.months}
        reason = taken.reason if taken else None
        await rooms.dealer.answer_offer(caller, case_id, offer_id, accepted=True, taken=chosen, reason=reason)
        return answer(await _offer(rooms, caller, case_id, offer_id))

    @router.post("/cases/{case_id}/offers/{offer_id}:decline", summary="The borrower declines")
    async def decline_offer(case_id: str, offer_id: str, caller: Worker, *, said: Said | None = None) -> Response:
        reason = said.reason if said else None
        await rooms.dealer.answer_offer(caller, case_id, offer_id, accepted=False, taken={}, reason=reason)
        return answer(await _offer(rooms, caller, case_id, offer_id))


async def _steps(rooms: Rooms, caller: Principal, case_id: str) -> Response:
    async with rooms.engine.connect() as conn:
        held = _known(await cases.find(conn, caller.tenant, case_id), case_id)
        now = await rooms.clock.at(conn)
        rules = await rooms.rulebook.of(conn, [caller.tenant], now, held=[held])
    policy = rules.pinned(held)
    shown = steps_shown(held.case, policy, now) if policy is not None else []
    return answer({"items": shown, "handed_to": held.case.handed_to, "handed_at": held.case.handed_at, "next": None})


async def _offers(rooms: Rooms, caller: Principal, case_id: str) -> list[dict[str, Any]]:
    async with rooms.engine.connect() as conn:
        held = _known(await cases.find(conn, caller.tenant, case_id), case_id)
        rows = await dealings.offers(conn, held.case)
        now = await rooms.clock.at(conn)
    return [offer_shown(row, lapsed=row.expires_at <= now) for row in rows]


async def _offer(rooms: Rooms, caller: Principal, case_id: str, offer_id: str) -> dict[str, Any]:
    return next(shown for shown in await _offers(rooms, caller, case_id) if shown["offer_id"] == offer_id)


def offer_shown(row: RowMapping, *, lapsed: bool) -> dict[str, Any]:
    """Return an offer as the API shows it; one that was not decided in time is `expired`."""
    waits = row.state in {OfferState.OPEN, OfferState.PROPOSED}
    return {
        **dict(row), "state": "expired" if waits and lapsed else row.state, "terms": msgspec.json.decode(row.terms),
        "taken": None if row.taken is None else msgspec.Raw(row.taken),
    }  # fmt: skip


def _known(held: Held | None, case_id: str) -> Held:
    if held is None:
        raise unknown("case", case_id)
    return held
