"""`POST /v1/events`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from libs.common.api import StraightRoute, answer
from libs.common.auth import Principal, requires
from services.ingest.intake import HttpIntake

_publisher = requires("events:write")


def route_of(intake: HttpIntake) -> StraightRoute:
    """Return the route by which events come in."""

    async def post_events(request: Request, caller: Annotated[Principal, Depends(_publisher)]) -> Response:
        taken = await intake.take(caller.tenant, request.headers.get("content-type", ""), request.stream())
        return answer({"accepted": taken.accepted, "rejected": taken.rejected}, 202)

    return StraightRoute(
        "/v1/events", post_events, _publisher, status_code=202, methods=["POST"], tags=["events"],
        summary="Take in one event, a batch, or NDJSON",
    )  # fmt: skip
