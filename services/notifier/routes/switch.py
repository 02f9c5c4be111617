"""The stop button over HTTP: every claim reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Response
from pydantic import Field, model_validator
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, page
from libs.common.asked import Asked
from libs.common.clock import Clock
from libs.common.db.failures import is_transient
from libs.common.errors import DomainError
from libs.common.paging import Cursor, part
from libs.common.patience import answered
from libs.compliance import Channel, Packs
from services.notifier.domain.switching import KEYLESS, UNCHECKED, Scope, Waiting, concerned, nothing_to_lift, slip
from services.notifier.routes.callers import MOST, Limit, Operating, Reading
from services.notifier.store import gates
from services.notifier.store.gates import Switch

LOOKED_AT = 10_000
"""How many waiting contacts are examined for whether a position of the switch applies to them."""
LOOKED_FOR_S = 3.0


class SwitchIn(Asked):
    """A position to set; `key` names the policy (`name` or `name@version`), step (`id` or `policy/id`), template, channel or region."""

    scope: Scope
    contacts: Literal["on", "shadow", "off"]
    reason: str = Field(min_length=1, max_length=500)
    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:@/-]{1,300}$")] | None = None

    @model_validator(mode="after")
    def _has_key(self) -> SwitchIn:
        if (self.scope in KEYLESS) != (self.key is None):
            raise ValueError("a key is required for policy, step, template, channel and region, and not allowed for any other scope")
        if self.scope is Scope.CHANNEL and self.key not in {channel.value for channel in Channel}:
            raise ValueError(f"there is no channel {self.key}")
        return self


def routes_of(engine: AsyncEngine, clock: Clock, packs: Packs) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["switch"])

    @routes.get("/switch", summary="Every position of the switch that applies to the tenant")
    async def switch(caller: Reading, *, limit: Limit = MOST, cursor: Cursor) -> Response:
        async with engine.connect() as conn:
            return page(*part([_shown(one) for one in await gates.switches(conn, caller.tenant)], cursor, limit))

    @routes.put("/switch", summary="Set a position: a wider `off` applies even where a narrower one is `on`")
    async def turn(wanted: SwitchIn, caller: Operating) -> Response:
        _expect_region(wanted, packs)
        async with engine.begin() as conn:
            tenant = gates.EVERYWHERE if wanted.scope is Scope.ALL else caller.tenant
            at = await clock.at(conn)
            turned = Switch(tenant, wanted.scope.value, wanted.key or "", wanted.contacts, wanted.reason, caller.actor, at)
            before = await gates.switches(conn, caller.tenant)
            await gates.set_switch(conn, turned)
        waiting = await _waiting(engine, caller.tenant) if wanted.scope in UNCHECKED else None
        return answer({**_shown(turned), **_covered(turned, before, waiting)})

    return routes


def _expect_region(wanted: SwitchIn, packs: Packs) -> None:
    """Refuse a region that no pack knows: a misspelt stop would stop nobody."""
    region = wanted.key or ""
    if wanted.scope is not Scope.REGION or packs.locate(region) is not None:
        return
    if not any(name.startswith(f"{region}-") for name in packs):
        raise DomainError(422, "invalid_request", f"no pack knows the region {region}")


async def _waiting(engine: AsyncEngine, tenant: str) -> Sequence[Waiting] | None:
    """Return what is waiting, or None if that cannot be had in time: the switch is set by then, and the answer must not say otherwise."""

    async def look() -> Sequence[Waiting]:
        async with engine.connect() as conn:
            return await gates.waiting(conn, tenant, most=LOOKED_AT)

    try:
        return await answered(look(), LOOKED_FOR_S)
    except Exception as error:
        if not is_transient(error):
            raise
        return None


def _covered(turned: Switch, before: Sequence[Switch], waiting: Sequence[Waiting] | None) -> dict[str, Any]:
    """Return how many waiting contacts a position applies to, and a hint if it looks like a typo."""
    hint = nothing_to_lift(turned.position, [one.position for one in before])
    if waiting is None:
        return {"waiting": None, "hint": hint}
    numbers = {"concerned": concerned(turned.position, waiting), "of": sum(each.number for each in waiting)}
    return {"waiting": numbers, "hint": hint or slip(turned.position, waiting)}


def _shown(one: Switch) -> dict[str, Any]:
    return {"scope": one.scope, "key": one.key or None, "contacts": one.contacts, "reason": one.reason, "by": one.by, "at": one.at}
