"""Replies: what providers bring in, what our staff read of it, and what it suppressed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.api import answer, page
from libs.common.auth import Principal
from libs.common.errors import DomainError
from libs.common.paging import Cursor, after_moment, cut, moment_place, part
from services.notifier.domain.suppressions import ANYBODY
from services.notifier.finding import expect_known
from services.notifier.replying import Listener
from services.notifier.routes.callbacks import callback_of
from services.notifier.routes.callers import MOST, Limit, Operating, Reading
from services.notifier.store import borrowers, deliveries, pii, replies, suppressions
from services.notifier.store.pii import Reader
from services.notifier.store.suppressions import Lift

Why = Annotated[str, Query(min_length=1, max_length=500)]
Given = Annotated[str | None, Query(min_length=1, max_length=500)]
PERSONAL = "pii:read"
_PAGE = (
    "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'><title>E-mails</title>"
    "<body style='font-family:sans-serif;max-width:30em;margin:4em auto'>{}"
)
_ASKED = _PAGE.format(
    "<form method=post><p>Do you want to stop receiving e-mails at this address?<p><button>No more e-mails</button></form>"
)
_DONE = _PAGE.format("<p>There will be no more e-mails at this address.")


def routes_of(listener: Listener) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1")
    _add_inbound(routes, listener)
    _add_unsubscribe(routes, listener)
    _add_replies(routes, listener)
    _add_suppressions(routes, listener)
    return routes


def _add_inbound(routes: APIRouter, listener: Listener) -> None:
    @routes.post("/providers/{name}/{secret}/inbound", include_in_schema=False)
    @routes.get("/providers/{name}/{secret}/inbound", include_in_schema=False)
    async def inbound(name: str, secret: str, request: Request) -> Response:
        """Take in somebody's message; the provider needs no API key: its URL contains a secret, and its callbacks are signed."""
        url = listener.directory.inbound_url(name, secret)
        if url is None:
            raise DomainError(404, "not_found", "there is nothing here")
        adapter = await listener.take(name, secret, await callback_of(request, url))
        body, media_type = adapter.taken
        return Response(body, media_type=media_type)


def _add_unsubscribe(routes: APIRouter, listener: Listener) -> None:
    @routes.post("/unsubscribe/{token}", summary="Unsubscribe the recipient of this link (RFC 8058)", response_class=HTMLResponse)
    async def unsubscribe(token: str) -> Response:
        """Unsubscribe the recipient of this link (RFC 8058); needs no API key, as the link is signed."""
        await listener.unsubscribe(token)
        return HTMLResponse(_DONE)

    @routes.get("/unsubscribe/{token}", include_in_schema=False)
    async def ask(token: str) -> Response:
        """Ask before ending anything: virus scanners open every link in a mail."""
        if listener.directory.unsubscribing(token) is None:
            raise DomainError(404, "not_found", "there is nothing here")
        return HTMLResponse(_ASKED)


def _add_replies(routes: APIRouter, listener: Listener) -> None:
    @routes.get("/borrowers/{borrower_id}/replies", summary="What a borrower wrote back")
    async def of_borrower(borrower_id: str, caller: Reading, *, limit: Limit = 100, cursor: Cursor, reason: Given = None) -> Response:
        """Return what may be the borrower's replies, oldest first; their text only to readers of personal data, which is recorded."""
        async with listener.engine.begin() as conn:
            await expect_known(conn, caller.tenant, borrower_id)
            rows = await replies.of_borrower(conn, caller.tenant, borrower_id, after=moment_place(cursor), limit=limit + 1)
            if rows and PERSONAL in caller.scopes:
                reader = Reader(caller.tenant, caller.actor, reason)
                await pii.note(conn, reader, [borrower_id], what="replies", at=await listener.clock.at(conn))
        found, following = cut(rows, limit, lambda row: after_moment(row.received_at, row.id))
        return page([_reply(row, listener, caller) for row in found], following)


def _add_suppressions(routes: APIRouter, listener: Listener) -> None:
    @routes.get("/borrowers/{borrower_id}/suppressions", summary="Addresses to which nothing is sent, and why")
    async def shown(borrower_id: str, caller: Reading, *, limit: Limit = MOST, cursor: Cursor) -> Response:
        """Return everything ever suppressed for the borrower or at an address in the profile, oldest first."""
        async with listener.engine.begin() as conn:
            lookups = await _lookups(conn, caller, borrower_id)
            rows = await suppressions.shown(conn, caller.tenant, borrower_id, lookups)
        return page(*part([_suppression(row) for row in rows], cursor, limit))

    @routes.delete("/borrowers/{borrower_id}/suppressions/{suppression_id}", summary="Lift a suppression, with a reason")
    async def lift(borrower_id: str, suppression_id: str, caller: Operating, reason: Why) -> Response:
        """Lift a suppression that was a mistake, or that a person has decided on; it stays on record with who lifted it and why."""
        async with listener.engine.begin() as conn:
            lookups = await _lookups(conn, caller, borrower_id)
            rows = await suppressions.shown(conn, caller.tenant, borrower_id, lookups)
            now = await listener.clock.at(conn)
            standing = any(row.id == suppression_id and row.lifted_at is None for row in rows)
            lifted = await suppressions.lift_one(conn, caller.tenant, suppression_id, Lift(caller.actor, reason, now)) if standing else None
            if lifted is None:
                raise DomainError(404, "not_found", "this borrower has no such suppression in force")
            await deliveries.wake(conn, [(caller.tenant, borrower_id)], now=now)
        return answer(_suppression(lifted))


async def _lookups(conn: AsyncConnection, caller: Principal, borrower_id: str) -> list[str]:
    """Lock a borrower, and return the keyed hashes of the addresses in the profile."""
    await expect_known(conn, caller.tenant, borrower_id)
    who = (caller.tenant, borrower_id)
    await borrowers.lock(conn, [who])
    profile = (await borrowers.lock_free(conn, [who]))[who].profile
    return [address.lookup for address in profile.addresses] if profile else []


def _reply(row: Row[tuple[object, ...]], listener: Listener, caller: Principal) -> dict[str, Any]:
    spoken = listener.opened(caller.tenant, row.provider, row.id, row.sealed) if row.sealed and PERSONAL in caller.scopes else None
    return {
        "id": row.id, "provider": row.provider, "channel": row.channel, "wishes": sorted(row.wishes), "signed": row.signed, "at": row.at,
        "received_at": row.received_at, "shared_by": len(row.borrowers), "text": spoken.text if spoken else None,
        "from": spoken.sender if spoken else None,
    }  # fmt: skip


def _suppression(row: Row[tuple[object, ...]]) -> dict[str, Any]:
    return {
        "id": row.id, "scope": "address" if row.borrower_id == ANYBODY else "person", "channel": row.channel, "ground": row.ground,
        "since": row.since, "source": row.source, "provider": row.provider, "task_id": row.task_id, "lifted_at": row.lifted_at,
        "lifted_by": row.lifted_by, "lifted_why": row.lifted_why,
    }  # fmt: skip
