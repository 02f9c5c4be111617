"""The notifier over HTTP (contract, section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, body_of, page, takes
from libs.common.clock import Clock
from libs.common.contracts.contact_tasks import ContactRequested
from libs.common.errors import DomainError
from libs.common.paging import Cursor, after_moment, cut, moment_place, part
from libs.compliance import Packs
from services.notifier import checking
from services.notifier.directory import Directory
from services.notifier.domain.receipts import Standing
from services.notifier.domain.reserving import RESERVED
from services.notifier.domain.states import State
from services.notifier.domain.verdicts import Decision
from services.notifier.finding import expect_known
from services.notifier.routes.callers import MOST, Limit, Reading
from services.notifier.routes.personal import Asking
from services.notifier.store import pii, reading
from services.notifier.store.reading import Filter

Raw = Annotated[bool, Query(description="also return receipts as they came; needs the scope pii:read, and the read is recorded")]
_request = msgspec.json.Decoder(ContactRequested).decode
_decisions = msgspec.json.Decoder(tuple[Decision, ...]).decode
_decision = msgspec.json.Decoder(Decision).decode


@dataclass(frozen=True, slots=True)
class Inside:
    """Dependencies of the routes."""

    engine: AsyncEngine
    clock: Clock
    packs: Packs
    directory: Directory


def router(inside: Inside) -> APIRouter:
    """Return all routes of the notifier."""
    routes = APIRouter(prefix="/v1")
    _add_deliveries(routes, inside)
    _add_compliance(routes, inside)
    return routes


def _add_deliveries(routes: APIRouter, inside: Inside) -> None:
    @routes.get("/deliveries", summary="Messages: state, decisions, channel")
    async def deliveries(  # one query parameter each
        caller: Reading,
        *,
        borrower_id: str | None = None,
        case_id: str | None = None,
        state: State | None = None,
        limit: Limit = 100,
        cursor: Cursor,
    ) -> Response:
        wanted = Filter(caller.tenant, borrower_id, case_id, state.value if state else None, cursor, limit + 1)
        async with inside.engine.connect() as conn:
            rows = await reading.deliveries(conn, wanted)
        found, following = cut(rows, limit, lambda row: str(row.task_id))
        return page([_delivery(row) for row in found], following)

    @routes.get("/deliveries/{task_id}", summary="One message, with its attempts and what the provider said")
    async def delivery(task_id: str, caller: Asking, *, raw: Raw = False) -> Response:
        reader = caller.reader if raw else None
        async with inside.engine.begin() as conn:
            row = await reading.delivery(conn, caller.tenant, task_id)
            if row is None:
                raise DomainError(404, "not_found", f"there is no delivery {task_id[:128]!r}")
            attempts = await reading.attempts(conn, caller.tenant, row.borrower_id, task_id)
            heard = await reading.receipts(conn, caller.tenant, row.borrower_id, task_id)
            if reader is not None and heard:
                await pii.note(conn, reader, [row.borrower_id], what="receipts", at=await inside.clock.at(conn))
        said = next((a for a in reversed(attempts) if a.channel == row.channel and a.version is not None), None)
        text = {"locale": said.locale, "version": said.version} if said else None
        receipts = [(one.channel, _receipt(one, inside.directory if reader else None, caller.tenant)) for one in heard]
        shown = [
            {**attempt._mapping, "receipts": [said for on, said in receipts if on == attempt.channel]}  # noqa: SLF001  # SQLAlchemy's public name
            for attempt in attempts
        ]
        return answer({**_delivery(row), "text": text, "attempts": shown})

    @routes.get("/borrowers/{borrower_id}/contacts", summary="The contacts that caps count, oldest first")
    async def contacts(borrower_id: str, caller: Reading, *, limit: Limit = 100, cursor: Cursor) -> Response:
        async with inside.engine.connect() as conn:
            await expect_known(conn, caller.tenant, borrower_id)
            rows = await reading.contacts(conn, caller.tenant, borrower_id, after=moment_place(cursor), limit=limit + 1)
        found, following = cut(rows, limit, lambda row: after_moment(row.at, row.contact_id))
        now = inside.clock.now()
        return page([_contact(row, now) for row in found], following)


def _add_compliance(routes: APIRouter, inside: Inside) -> None:
    @routes.post("/compliance/check", summary="Ask the gate about any contact; changes no state", openapi_extra=takes(checking.CheckIn))
    async def check(request: Request, _: Reading) -> Response:
        return answer(checking.check(await body_of(request), inside.packs))

    @routes.get("/compliance/packs", summary="Summary of the rules of every jurisdiction")
    async def packs(_: Reading, *, limit: Limit = MOST, cursor: Cursor) -> Response:
        names, following = part(sorted(inside.packs), cursor, limit)
        return page([checking.describe(inside.packs[name]) for name in names], following)

    @routes.get("/compliance/packs/{pack_id}", summary="One pack: its rules and sources, and how well each is verified")
    async def pack(pack_id: str, _: Reading) -> Response:
        if pack_id not in inside.packs:
            raise DomainError(404, "not_found", f"there is no pack {pack_id[:128]!r}")
        return answer(checking.describe_whole(inside.packs[pack_id]))


def _delivery(row: Row[tuple[object, ...]]) -> dict[str, Any]:
    request = _request(row.request) if row.request else None
    return {
        "task_id": row.task_id, "borrower_id": row.borrower_id, "case_id": row.case_id, "state": row.state, "reason": row.reason,
        "next_at": row.next_at, "waiting": row.waiting, "taken_at": row.taken_at, "expires_at": row.expires_at,
        "resolve_by": row.resolve_by,
        "step": request.step if request else None, "template": request.template if request else None,
        "purpose": request.purpose if request else None, "channels": request.channels if request else (),
        "policy": request.policy if request else None, "channel": row.channel, "spent_on": row.spent, "sequence": row.sequence,
        "decisions": _decisions(row.decision) if row.decision else (),
    }  # fmt: skip


def _receipt(row: Row[tuple[object, ...]], directory: Directory | None, tenant: str) -> dict[str, Any]:
    """Return what a provider said; with a directory to open it, also as it came."""
    return {
        "at": row.at, "received_at": row.received_at, "standing": None if row.standing is None else Standing(row.standing).name.lower(),
        "code": row.code, "fault": row.fault,
        "raw": directory.said(tenant, row.provider, row.sealed) if directory is not None and row.sealed is not None else None,
    }  # fmt: skip


def _contact(row: Row[tuple[object, ...]], now: datetime) -> dict[str, Any]:
    lapsed = row.result == RESERVED and row.reserved_until <= now
    return {
        "contact_id": row.contact_id, "at": row.at, "channel": row.channel, "result": "lapsed" if lapsed else row.result or None,
        "by": row.by,
        "direction": row.direction, "purpose": row.kind, "loans": row.loans, "task_id": row.task_id, "case_id": row.case_id,
        "decision": _decision(row.decision) if row.decision else None, "reserved_until": row.reserved_until,
    }  # fmt: skip
