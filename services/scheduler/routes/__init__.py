"""The scheduler over HTTP (contract, section 5)."""

from __future__ import annotations

from fastapi import APIRouter, Response

from services.scheduler.authorizing import Gate
from services.scheduler.casework import Casework
from services.scheduler.massholding import MassHolds
from services.scheduler.routes import cases, contacts, dealings, evidence, holds, matters, policies, promises, reports, simulations, tasks
from services.scheduler.routes.cases import Rooms
from services.scheduler.routes.simulations import Play
from services.scheduler.tasking import TaskDesk


def make_router(rooms: Rooms, casework: Casework, gate: Gate, play: Play) -> APIRouter:
    """Return all routes of the scheduler."""
    router = APIRouter(prefix="/v1", default_response_class=Response)
    cases.add_to(router, rooms)
    policies.add_to(router, rooms)
    tasks.add_to(router, casework, TaskDesk(casework, gate))
    promises.add_to(router, casework)
    contacts.add_to(router, casework)
    matters.add_to(router, casework)
    holds.add_to(router, casework, MassHolds(rooms.engine, rooms.clock, rooms.look_again))
    dealings.add_to(router, rooms)
    evidence.add_to(router, rooms)
    simulations.add_to(router, rooms, play)
    reports.add_to(router, rooms)
    return router
