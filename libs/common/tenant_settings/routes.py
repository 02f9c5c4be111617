"""`GET · PUT /v1/settings`, and who set what and when."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response

from libs.common.api import answer, body_of, page, takes
from libs.common.auth import Principal, requires
from libs.common.paging import Cursor, cut, number_place
from libs.common.preconditions import IfMatch, tag_of
from libs.common.tenant_settings.desk import S, SettingsDesk, plain
from libs.common.tenant_settings.store import Kept

Operating = Annotated[Principal, Depends(requires("ops"))]


def settings_routes(desk: SettingsDesk[S], *, read_by: str) -> APIRouter:
    """Return the routes; `read_by` is the scope that may read."""
    routes = APIRouter(prefix="/v1/settings", tags=["settings"])
    reader = requires(read_by)

    @routes.get("", summary="The tenant's settings of this service, and the health of its webhooks")
    async def shown(caller: Principal = Depends(reader)) -> Response:  # noqa: B008  # a local name, which an annotation cannot hold
        settings, kept, health = await desk.current(caller.tenant)
        return _tagged({**_version(kept), "settings": plain(settings), "webhooks": health}, kept)

    @routes.get("/history", summary="Every version, who set it and when, newest first")
    async def history(
        *, limit: Annotated[int, Query(ge=1, le=1000)] = 100, cursor: Cursor,
        caller: Principal = Depends(reader),  # noqa: B008  # a local name, which an annotation cannot hold
    ) -> Response:  # fmt: skip
        kept = await desk.history(caller.tenant, below=number_place(cursor), limit=limit + 1)
        found, following = cut(kept, limit, lambda one: str(one.version))
        return page([{**_version(one), "settings": plain(desk.read(one))} for one in found], following)

    @routes.put("", summary="Replace all settings, with If-Match", openapi_extra=takes(desk.form))
    async def put(request: Request, caller: Operating, *, if_match: IfMatch = None) -> Response:
        kept = await desk.put(caller, await body_of(request), if_match)
        return _tagged({**_version(kept), "settings": plain(desk.read(kept))}, kept)

    return routes


def _version(kept: Kept | None) -> dict[str, Any]:
    if kept is None:
        return {"version": 0, "by": None, "at": None}
    return {"version": kept.version, "by": kept.by, "at": kept.at}


def _tagged(said: dict[str, Any], kept: Kept | None) -> Response:
    return answer(said, headers={"ETag": tag_of(kept.version if kept else 0)})
