"""Parked events, and people's decisions about them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from libs.common.api import answer, body_of, page, read_as
from libs.common.auth import Principal, requires
from libs.common.errors import NOT_JSON
from libs.common.moments import Moment
from libs.common.paging import Cursor, cut
from services.ingest.deciding import ParkedDesk
from services.ingest.store.parked import ParkedRow

Operator = Annotated[Principal, Depends(requires("ops"))]
Reason = Annotated[str, msgspec.Meta(max_length=1000)]


class Discard(BaseModel):
    """Why a parked event is discarded."""

    model_config = ConfigDict(extra="forbid")
    reason: str = Field(min_length=1, max_length=1000)


class Replacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The event to process instead of a parked one, unparsed, and the reason."""

    event: msgspec.Raw
    reason: Reason = ""


_REPLACEMENT = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["event"],
                    "additionalProperties": False,
                    "properties": {
                        "event": {"type": "object", "description": "A whole CloudEvent about the same loan or borrower"},
                        "reason": {"type": "string", "maxLength": 1000},
                    },
                }
            }
        },
    }
}


def routes_of(desk: ParkedDesk) -> APIRouter:
    """Return the routes of parked events."""
    router = APIRouter(tags=["parked"])

    @router.get("/v1/parked", summary="Events that wait for a decision")
    async def get_parked(
        caller: Operator,
        loan_id: str | None = None,
        since: Moment | None = None,
        *,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        cursor: Cursor,
    ) -> Response:
        rows = await desk.page(caller.tenant, loan_id, since=since, after=cursor or "", limit=limit + 1)
        found, following = cut(rows, limit, lambda row: row.parked_id)
        return page([_shown(row) for row in found], following)

    @router.post("/v1/parked/{parked_id}:retry", summary="Process a parked event as if it had just arrived")
    async def retry(parked_id: str, caller: Operator) -> Response:
        row = await desk.retry(caller.tenant, parked_id, by=caller.actor)
        return answer({**_shown(row), "decision": "retried"})

    @router.post("/v1/parked/{parked_id}:discard", summary="Discard a parked event")
    async def discard(parked_id: str, body: Discard, caller: Operator) -> Response:
        row = await desk.discard(caller.tenant, parked_id, by=caller.actor, reason=body.reason)
        return answer({**_shown(row), "decision": "discarded", "reason": body.reason})

    @router.post("/v1/parked/{parked_id}:replace", summary="Process another event instead", openapi_extra=_REPLACEMENT)
    async def replace(parked_id: str, request: Request, caller: Operator) -> Response:
        given = read_as(Replacement, await body_of(request), code="invalid_request", what="a replacement must be an object with an event")
        row = await desk.replace(caller.tenant, parked_id, event=bytes(given.event), by=caller.actor, reason=given.reason)
        return answer({**_shown(row), "decision": "replaced", "reason": given.reason, "replaced_by": given.event})

    return router


def _shown(row: ParkedRow) -> dict[str, Any]:
    return {
        "id": row.parked_id, "loan_id": row.loan_id, "borrower_id": row.borrower_id, "event": _document(row.event),
        "error": row.error, "detail": row.detail, "at": row.at,
    }  # fmt: skip


def _document(raw: bytes) -> Any:
    try:
        return msgspec.json.decode(raw)
    except NOT_JSON:
        return raw.decode(errors="replace")
