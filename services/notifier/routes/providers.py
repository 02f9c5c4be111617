"""A provider's history over HTTP: who set, paused and resumed it, when its breaker opened and closed, and its weights."""

from __future__ import annotations

from fastapi import APIRouter, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import page
from libs.common.errors import DomainError
from libs.common.paging import Cursor, number_place, part
from services.notifier.routes.callers import Limit, Reading
from services.notifier.showing import history_of
from services.notifier.store import accounts, health


def routes_of(engine: AsyncEngine) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1")

    @routes.get("/providers/{name}/history", summary="Who set, paused and resumed a provider, its breaker, its weights")
    async def history(name: str, caller: Reading, *, limit: Limit = 100, cursor: Cursor) -> Response:
        end = (number_place(cursor) or 0) + limit + 1
        async with engine.connect() as conn:
            if await accounts.find(conn, caller.tenant, name) is None:
                raise DomainError(404, "not_found", f"there is no provider {name[:64]!r}")
            events = await health.history(conn, (caller.tenant, name), limit=end)
            versions = await accounts.versions_of_routes(conn, caller.tenant, limit=end)
        return page(*part(history_of(name, events, versions)[:end], cursor, limit))

    return routes
