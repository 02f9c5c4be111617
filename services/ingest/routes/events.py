"""`POST /v1/events`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response

from libs.common.api import answer
from libs.common.auth import Principal, requires
from services.ingest.intake import HttpIntake


def routes_of(intake: HttpIntake) -> APIRouter:
    """Return the routes by which events come in."""
    router = APIRouter(tags=["events"])

    @router.post("/v1/events", status_code=202, summary="Take in one event, a batch, or NDJSON")
    async def post_events(request: Request, caller: Annotated[Principal, Depends(requires("events:write"))]) -> Response:
        taken = await intake.take(caller.tenant, request.headers.get("content-type", ""), request.stream())
        return answer({"accepted": taken.accepted, "rejected": taken.rejected}, 202)

    return router
