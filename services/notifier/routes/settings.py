"""What a tenant sets for its messages: brand, default locale, the price of an SMS; every version is kept."""

from __future__ import annotations

from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, body_of, read_as, takes
from libs.common.auth import Principal, requires
from libs.common.clock import Clock
from libs.common.errors import DomainError
from services.notifier.domain.tenant import TenantSettings
from services.notifier.store import settings
from services.notifier.store.settings import Kept

Operating = Annotated[Principal, Depends(requires("ops"))]
Reading = Annotated[Principal, Depends(requires("contacts:read"))]


def routes_of(engine: AsyncEngine, clock: Clock) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["settings"])

    @routes.get("/settings", summary="What the tenant has set")
    async def shown(caller: Reading) -> Response:
        async with engine.connect() as conn:
            kept = (await settings.current(conn, [caller.tenant])).get(caller.tenant)
        return _shown(kept)

    @routes.put("/settings", summary="Set all of it, with If-Match", openapi_extra=takes(TenantSettings))
    async def put(request: Request, caller: Operating) -> Response:
        wanted = read_as(TenantSettings, await body_of(request), code="invalid_settings", what="settings")
        async with engine.begin() as conn:
            kept = (await settings.current(conn, [caller.tenant])).get(caller.tenant)
            version = kept.version if kept else 0
            _unmoved(request.headers.get("if-match"), version)
            new = Kept(caller.tenant, version + 1, msgspec.json.encode(wanted), caller.actor, await clock.at(conn))
            if not await settings.put(conn, new):
                raise _moved(version + 1)
        return _shown(new)

    return routes


def _unmoved(if_match: str | None, version: int) -> None:
    if if_match is None:
        raise DomainError(428, "precondition_required", 'If-Match is needed: the ETag that GET answers with, "0" where nothing is set')
    if if_match.strip() not in {f'"{version}"', str(version)}:
        raise _moved(version)


def _moved(version: int) -> DomainError:
    return DomainError(412, "version_moved", f"somebody else has changed it: it stands at version {version}")


def _shown(kept: Kept | None) -> Response:
    settings_now = msgspec.json.decode(kept.settings) if kept else msgspec.to_builtins(TenantSettings())
    said = answer(
        {"version": kept.version if kept else 0, "settings": settings_now, "by": kept.by if kept else None, "at": kept.at if kept else None}
    )
    said.headers["ETag"] = f'"{kept.version if kept else 0}"'
    return said
