"""The scheduler over HTTP (contract, section 5)."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.scheduler.casework import Casework
from services.scheduler.massholding import MassHolds
from services.scheduler.routes import cases, holds, policies
from services.scheduler.routes.cases import Rooms


def make_router(rooms: Rooms, casework: Casework) -> APIRouter:
    """Return all routes of the scheduler."""
    router = APIRouter(prefix="/v1", default_response_class=Response)
    cases.add_to(router, rooms)
    policies.add_to(router, rooms)
    holds.add_to(router, casework, MassHolds(rooms.engine, rooms.clock, rooms.look_again))
    return router
