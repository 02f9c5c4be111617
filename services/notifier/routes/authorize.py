"""Contacts that people make: asking for permission beforehand."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from libs.common.api import answer, body_of, read_as, takes
from services.notifier.authorizing import AuthorizeIn, Desk
from services.notifier.routes.callers import Writing


def routes_of(desk: Desk) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["contacts"])

    @routes.post(
        "/contacts:authorize",
        summary="May a person make this contact now? A yes holds a slot for 15 minutes",
        openapi_extra=takes(AuthorizeIn),
    )
    async def authorize(request: Request, caller: Writing) -> Response:
        wanted = read_as(AuthorizeIn, await body_of(request), code="invalid_request", what="contact")
        return answer(await desk.authorize(caller.tenant, wanted))

    return routes
