"""`POST /v1/events`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from libs.common.api import answer
from libs.common.auth import Principal, requires
from libs.common.straight import StraightRoute
from services.ingest.intake import HttpIntake

_publisher = requires("events:write")
_EVENT = {
    "type": "object", "required": ["id", "source", "type", "time", "data"],
    "description": "A CloudEvent 1.0; the schema of `data` for each `type` is in /asyncapi.json",
    "properties": {
        "specversion": {"const": "1.0", "default": "1.0"},
        "id": {"type": "string", "minLength": 1, "maxLength": 128, "examples": ["r-2211"]},
        "source": {"type": "string", "minLength": 1, "examples": ["wallet/ledger"]},
        "type": {"type": "string", "examples": ["wallet.repayment.received.v1"]},
        "time": {"type": "string", "format": "date-time", "description": "when the publisher's books recorded it"},
        "subject": {"type": "string"},
        "data": {
            "type": "object",
            "examples": [{"repayment_id": "r1", "loan_id": "L1", "amount": 12050, "paid_at": "2026-11-20T10:00:00+08:00"}],
        },
    },
}  # fmt: skip
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/cloudevents+json": {"schema": _EVENT},
            "application/cloudevents-batch+json": {"schema": {"type": "array", "items": _EVENT, "maxItems": 10_000}},
            "application/x-ndjson": {"schema": {"type": "string", "description": "one event per line"}},
        },
    },
    "responses": {"415": {"$ref": "#/components/responses/415"}},
}


def route_of(intake: HttpIntake) -> StraightRoute:
    """Return the route that receives events."""

    async def post_events(request: Request, caller: Annotated[Principal, Depends(_publisher)]) -> Response:
        taken = await intake.take(caller.tenant, request.headers.get("content-type", ""), request.receive)
        return answer({"accepted": taken.accepted, "rejected": taken.rejected}, 202)

    return StraightRoute(
        "/v1/events", post_events, _publisher, status_code=202, methods=["POST"], tags=["events"],
        summary="Submit one event, a batch, or NDJSON", description="A body may be gzipped: `Content-Encoding: gzip`.", openapi_extra=_BODY,
    )  # fmt: skip
