"""The sources that send heartbeats, and the retirement of one that has ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.api import answer, page
from libs.common.auth import Principal, requires
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.paging import Cursor, cut
from services.ingest.store import feeds
from services.ingest.store.feeds import FeedRow

Operator = Annotated[Principal, Depends(requires("ops"))]


class Retirement(BaseModel):
    """Which source is expected no more, and why."""

    model_config = ConfigDict(extra="forbid")
    source: str = Field(min_length=1, max_length=256)
    reason: str = Field(min_length=1, max_length=1000)


@dataclass(frozen=True, slots=True)
class SourceDesk:
    """Lists sources and retires them."""

    engine: AsyncEngine
    clock: Clock

    async def page(self, tenant: str, *, after: str, limit: int) -> list[FeedRow]:
        """Return sources of a tenant by their names."""
        async with self.engine.connect() as conn:
            return await feeds.page(conn, tenant, await self.clock.at(conn), after=after, limit=limit)

    async def retire(self, tenant: str, source: str, *, by: str, reason: str) -> FeedRow:
        """Expect a source no more until it is heard again."""
        async with self.engine.begin() as conn:
            row = await feeds.retire(conn, (tenant, source), await self.clock.at(conn), by=by, reason=reason)
        if row is None:
            raise DomainError(404, "not_found", f"no source {source!r} has ever sent a heartbeat")
        logs.get("ingest").info("source_retired", tenant=tenant, source=source, by=by, reason=reason)
        return row


def routes_of(desk: SourceDesk) -> APIRouter:
    """Return the routes of sources."""
    router = APIRouter(tags=["sources"])

    @router.get("/v1/sources", summary="Sources that have sent heartbeats, and which of them are silent")
    async def get_sources(caller: Operator, *, limit: Annotated[int, Query(ge=1, le=1000)] = 100, cursor: Cursor) -> Response:
        rows = await desk.page(caller.tenant, after=cursor or "", limit=limit + 1)
        found, following = cut(rows, limit, lambda row: row.source)
        return page([_shown(row) for row in found], following)

    @router.post("/v1/sources:retire", summary="Expect a source no more, until it is heard again")
    async def retire(body: Retirement, caller: Operator) -> Response:
        return answer(_shown(await desk.retire(caller.tenant, body.source, by=caller.actor, reason=body.reason)))

    return router


def _shown(row: FeedRow) -> dict[str, Any]:
    retired = {"at": row.retired_at, "by": row.retired_by, "reason": row.retired_reason}
    return {
        "source": row.source, "every_s": row.every_s, "heard_at": row.heard_at, "silent": row.silent,
        "retired": None if row.retired_at is None else retired,
    }  # fmt: skip
