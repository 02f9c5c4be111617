"""Cases and coverage over HTTP (contract, section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, page
from libs.common.auth import Principal
from libs.common.clock import Clock
from libs.common.paging import Cursor, after_moment, cut, moment_place
from services.scheduler.dealing import Dealer
from services.scheduler.domain.case import Stage, State
from services.scheduler.dossier import Archive
from services.scheduler.editing import PolicyDesk
from services.scheduler.elsewhere import Asking
from services.scheduler.finding import case_row, unknown
from services.scheduler.house_settings import house_settings
from services.scheduler.routes.desk import Limit, Reader
from services.scheduler.rulebook import Rulebook
from services.scheduler.showing import Law, case_shown, debts_shown, next_contact
from services.scheduler.store import cases, reach, views
from services.scheduler.store.held import case_key

Wanted = Annotated[str | None, Query(max_length=128)]


class CaseSearch(BaseModel):
    """Which cases; absent fields match everything."""

    borrower_id: str | None = Field(default=None, max_length=128)
    loan_id: str | None = Field(default=None, max_length=128)
    state: State | None = None
    stage: Stage | None = None
    policy: str | None = Field(default=None, max_length=128)
    limit: int = Field(default=100, ge=1, le=500)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the routes need."""

    engine: AsyncEngine
    clock: Clock
    rulebook: Rulebook
    desk: PolicyDesk
    look_again: Callable[[], None]
    """Called when a person has done something a case waits for."""
    dealer: Dealer
    archive: Archive


def asking_of(request: Request, caller: Principal) -> Asking:
    """Return on whose behalf other services are asked."""
    return Asking(caller.tenant, request.headers.get("authorization"))


def add_to(router: APIRouter, rooms: Rooms) -> None:
    """Add these routes."""
    _add_cases(router, rooms)
    _add_coverage(router, rooms)


def _add_cases(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/cases", summary="Search cases")
    async def search_cases(caller: Reader, asked: Annotated[CaseSearch, Query()], cursor: Cursor) -> Response:
        search = views.Search(asked.borrower_id, asked.loan_id, asked.state, asked.stage, asked.policy, cursor)
        async with rooms.engine.connect() as conn:
            rows = await views.search_cases(conn, caller.tenant, search, asked.limit + 1)
        found, following = cut(rows, asked.limit, lambda row: str(row.case_id))
        return page([case_shown(row) for row in found], following)

    @router.get("/cases/{case_id}", summary="One case with its debts")
    async def read_case(case_id: str, caller: Reader) -> Response:
        async with rooms.engine.connect() as conn:
            row = await case_row(conn, caller.tenant, case_id)
            held = await cases.find(conn, caller.tenant, case_id)
        return answer({**case_shown(row), "debts": debts_shown(held.case) if held else []})

    @router.get("/cases/{case_id}/timeline", summary="Everything that happened to a case, in order")
    async def read_timeline(case_id: str, caller: Reader, *, limit: Limit = 500, cursor: Cursor) -> Response:
        after = _timeline_place(cursor)
        async with rooms.engine.connect() as conn:
            row = await case_row(conn, caller.tenant, case_id)
            entries = await views.timeline(conn, (caller.tenant, row.borrower_id, case_id), after=after, limit=limit + 1)
        found, following = cut(entries, limit, lambda e: after_moment(e.at, str(e.seq)))
        return page([{"at": e.at, "kind": e.kind, "reason": e.reason, "detail": msgspec.Raw(e.detail)} for e in found], following)

    @router.get("/cases/{case_id}/next-contact", summary="When the borrower is contacted next, or why not")
    async def read_next_contact(case_id: str, caller: Reader, request: Request) -> Response:
        async with rooms.engine.connect() as conn:
            held = await cases.find(conn, caller.tenant, case_id)
            now = await rooms.clock.at(conn)
            if held is None:
                raise unknown("case", case_id)
            rules = await rooms.rulebook.of(conn, [caller.tenant], now, held=[held])
            who = (caller.tenant, held.case.borrower_id)
            known = (await reach.known(conn, [who], since=now - reach.LOOKBACK, before=now))[who]
        law = Law(known, await rooms.desk.packs(), await house_settings(rooms.desk.elsewhere, asking_of(request, caller)))
        return answer(next_contact(held, rules, law, now))


def _add_coverage(router: APIRouter, rooms: Rooms) -> None:
    @router.get("/coverage", summary="Who would be forgotten; the number must be 0")
    async def read_coverage(caller: Reader, *, whole: bool = False, limit: Limit = 100, cursor: Cursor) -> Response:
        borrower, currency, loan = (*(cursor or "").split("/", 2), "", "")[:3]
        async with rooms.engine.connect() as conn:
            scope = views.Scope(caller.tenant, await rooms.clock.at(conn), whole)
            number = await views.count_uncontacted(conn, scope)
            rows = await views.uncontacted(conn, scope, after=(borrower, currency, loan), limit=limit + 1)
            reasons = await views.reasons(conn, tenant=caller.tenant)
        found, following = cut(rows, limit, lambda row: f"{row.borrower_id}/{row.currency}/{row.loan_id}")
        items = [_forgotten(row, caller.tenant) for row in found]
        return page(items, following, uncontacted=number, reasons=reasons)


def _forgotten(row: RowMapping, tenant: str) -> dict[str, object]:
    case_id = row.case_id or case_key(tenant, row.borrower_id, row.currency, row.loan_id).case_id
    return {"case_id": case_id, "borrower_id": row.borrower_id, "since": row.since, "reason": row.reason}


def _timeline_place(cursor: str | None) -> tuple[datetime, int]:
    at, seq = moment_place(cursor) or (cases.BEGINNING[0], "0")
    return at, int(seq)
