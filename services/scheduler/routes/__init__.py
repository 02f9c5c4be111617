"""The scheduler over HTTP (contract, section 5)."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.scheduler.routes import cases, policies, reports, simulations
from services.scheduler.routes.cases import Rooms
from services.scheduler.routes.simulations import Play


def make_router(rooms: Rooms, play: Play) -> APIRouter:
    """Return all routes of the scheduler."""
    router = APIRouter(prefix="/v1", default_response_class=Response)
    cases.add_to(router, rooms)
    policies.add_to(router, rooms)
    simulations.add_to(router, rooms, play)
    reports.add_to(router, rooms)
    return router
