"""What a borrower asked for: hours, channels, language; every version is kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request, Response
from msgspec import Meta
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, body_of, page, read_as, takes
from libs.common.bodies import without
from libs.common.clock import Clock
from libs.common.contracts.values import WITHOUT_NUL
from libs.common.paging import Cursor, cut, number_place
from libs.common.preconditions import IfMatch, expect, tag_of
from services.notifier.domain.preferences import Wishes
from services.notifier.finding import expect_known
from services.notifier.routes.callers import Limit, Reading, Writing
from services.notifier.store import borrowers, deliveries, preferences
from services.notifier.store.preferences import Asked

ONLY_SHOWN = ("version", "by", "at")
_wishes = msgspec.json.Decoder(Wishes).decode


class WishesIn(Wishes, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The complete new wishes, and why they are written."""

    reason: Annotated[str, Meta(max_length=500, pattern=WITHOUT_NUL)] | None = None


def routes_of(engine: AsyncEngine, clock: Clock) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1/borrowers/{borrower_id}", tags=["preferences"])

    @routes.get("/preferences", summary="What the borrower asked for")
    async def shown(borrower_id: str, caller: Reading) -> Response:
        async with engine.connect() as conn:
            await expect_known(conn, caller.tenant, borrower_id)
            return _answer(await preferences.versions(conn, caller.tenant, borrower_id))

    @routes.get("/preferences/versions", summary="Every version, newest first, with who wrote it, when and why")
    async def every(borrower_id: str, caller: Reading, *, limit: Limit = 100, cursor: Cursor) -> Response:
        async with engine.connect() as conn:
            await expect_known(conn, caller.tenant, borrower_id)
            found = await preferences.versions(conn, caller.tenant, borrower_id, before=number_place(cursor), limit=limit + 1)
        shown, following = cut(found, limit, lambda one: str(one.version))
        return page([_shown(one) for one in shown], following)

    @routes.put("/preferences", summary="Replace all wishes; needs If-Match once something has been set", openapi_extra=takes(WishesIn))
    async def put(borrower_id: str, request: Request, caller: Writing, *, if_match: IfMatch = None) -> Response:
        body = without(await body_of(request), ONLY_SHOWN)
        wanted = read_as(WishesIn, body, code="invalid_preferences", what="preferences")
        wishes = Wishes(no_contact=wanted.no_contact, channels=wanted.channels, language=wanted.language)
        who = (caller.tenant, borrower_id)
        async with engine.begin() as conn:
            await expect_known(conn, *who)
            await borrowers.lock(conn, [who])
            held = await preferences.versions(conn, *who)
            version = held[0].version if held else 0
            if version or if_match is not None:  # with nothing stored, the caller can have seen no version
                expect(if_match, tag_of(version))
            now = await clock.at(conn)
            new = Asked(version + 1, msgspec.json.encode(wishes), wanted.reason, caller.actor, now)
            await preferences.put(conn, *who, new)
            await deliveries.wake(conn, [who], now=now)
        return _answer([new])

    return routes


def _answer(held: Sequence[Asked]) -> Response:
    said = answer(_shown(held[0]) if held else {"version": 0, **msgspec.to_builtins(Wishes()), "reason": None, "by": None, "at": None})
    said.headers["ETag"] = tag_of(held[0].version if held else 0)
    return said


def _shown(one: Asked) -> dict[str, Any]:
    return {"version": one.version, **msgspec.to_builtins(_wishes(one.wishes)), "reason": one.reason, "by": one.by, "at": one.at}
