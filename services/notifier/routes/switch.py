"""The stop button over HTTP: every claim reads it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, model_validator
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.paging import Cursor, part
from libs.compliance import Channel, Packs
from services.notifier.domain.switching import KEYLESS, Scope
from services.notifier.routes.callers import MOST, Limit, Operating, Reading
from services.notifier.store import gates
from services.notifier.store.gates import Switch


class SwitchIn(Asked):
    """A turn of the switch; `key` names the policy (`name` or `name@version`), step (`id` or `policy/id`), template, channel or region."""

    scope: Scope
    contacts: Literal["on", "shadow", "off"]
    reason: str = Field(min_length=1, max_length=500)
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:@/-]{1,300}$")] | None = None

    @model_validator(mode="after")
    def _has_key(self) -> SwitchIn:
        if (self.scope in KEYLESS) != (self.key is None):
            raise ValueError("a key is given for policy, step, template, channel and region, and for no other scope")
        if self.scope is Scope.CHANNEL and self.key not in {channel.value for channel in Channel}:
            raise ValueError(f"there is no channel {self.key}")
        return self


def routes_of(engine: AsyncEngine, clock: Clock, packs: Packs) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["switch"])

    @routes.get("/switch", summary="Every position of the switch that concerns the tenant")
    async def switch(caller: Reading, *, limit: Limit = MOST, cursor: Cursor) -> Response:
        async with engine.connect() as conn:
            return page(*part([_shown(one) for one in await gates.switches(conn, caller.tenant)], cursor, limit))

    @routes.put("/switch", summary="Turn it: what is wider and off stays off, whatever is narrower and on")
    async def turn(wanted: SwitchIn, caller: Operating) -> Response:
        _expect_region(wanted, packs)
        async with engine.begin() as conn:
            tenant = gates.EVERYWHERE if wanted.scope is Scope.ALL else caller.tenant
            at = await clock.at(conn)
            turned = Switch(tenant, wanted.scope.value, wanted.key or "", wanted.contacts, wanted.reason, caller.actor, at)
            await gates.set_switch(conn, turned)
        return answer(_shown(turned))

    return routes


def _expect_region(wanted: SwitchIn, packs: Packs) -> None:
    """Refuse a region that no pack knows: a stop that is spelt wrong would stop nobody."""
    region = wanted.key or ""
    if wanted.scope is not Scope.REGION or packs.locate(region) is not None:
        return
    if not any(name.startswith(f"{region}-") for name in packs):
        raise DomainError(422, "invalid_request", f"no pack knows the region {region}")


def _shown(one: Switch) -> dict[str, Any]:
    return {"scope": one.scope, "key": one.key or None, "contacts": one.contacts, "reason": one.reason, "by": one.by, "at": one.at}
