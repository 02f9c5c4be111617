"""The scheduler over HTTP (contract, section 5)."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.scheduler.routes import cases, dealings, evidence, policies
from services.scheduler.routes.cases import Rooms


def make_router(rooms: Rooms) -> APIRouter:
    """Return all routes of the scheduler."""
    router = APIRouter(prefix="/v1", default_response_class=Response)
    cases.add_to(router, rooms)
    policies.add_to(router, rooms)
    dealings.add_to(router, rooms)
    evidence.add_to(router, rooms)
    return router
