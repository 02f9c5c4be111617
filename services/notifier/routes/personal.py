"""Personal data over HTTP: the contact book, whose an address is, the sandbox's messages, and who has read any of these."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from msgspec import Meta
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.api import answer, body_of, page, read_as, takes
from libs.common.auth import Principal, requires
from libs.common.contracts.values import WITHOUT_NUL, Contract
from libs.common.contracts.wallet_borrowers import ChannelName
from libs.common.moments import Moment
from libs.common.paging import Cursor, cut, moment_place, number_place
from services.notifier.contact_book import Book
from services.notifier.routes.callers import Limit, Operating
from services.notifier.store import pii
from services.notifier.store.pii import Reader
from services.notifier.store.sandbox import Wanted

READS = "pii:read"
Opening = Annotated[Principal, Depends(requires(READS))]


@dataclass(frozen=True, slots=True)
class Asker:
    """The caller, and the reader if they may see personal data; None is masked."""

    tenant: str
    reader: Reader | None


async def asker(
    caller: Annotated[Principal, Depends(requires("contacts:read"))],
    reason: Annotated[str | None, Query(min_length=1, max_length=500, description="why it is read; recorded with the read")] = None,
) -> Asker:
    """Return the caller: with the scope `pii:read` they see data unmasked."""
    return Asker(caller.tenant, Reader(caller.tenant, caller.actor, reason) if READS in caller.scopes else None)


Asking = Annotated[Asker, Depends(asker)]


class LookupIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An address whose owner is asked for, and why."""

    channel: ChannelName
    address: Annotated[str, Meta(min_length=1, max_length=4096)]
    reason: Annotated[str, Meta(min_length=1, max_length=500, pattern=WITHOUT_NUL)] | None = None


def routes_of(engine: AsyncEngine, book: Book) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1", tags=["personal data"])
    _add_book(routes, book)
    _add_sandbox(routes, book)

    @routes.get("/pii-reads", summary="Who has read personal data, whose, when and why; newest first")
    async def reads(caller: Operating, *, borrower_id: str | None = None, limit: Limit = 100, cursor: Cursor) -> Response:
        async with engine.connect() as conn:
            rows = await pii.reads(conn, caller.tenant, borrower_id, before=number_place(cursor), limit=limit + 1)
        found, following = cut(rows, limit, lambda row: str(row.id))
        return page([_read(row) for row in found], following)

    return routes


def _add_book(routes: APIRouter, book: Book) -> None:
    @routes.get("/borrowers/{borrower_id}", summary="Name and addresses; masked without the scope pii:read")
    async def entry(borrower_id: str, caller: Asking) -> Response:
        return answer(await book.entry(caller.tenant, borrower_id, reader=caller.reader))

    @routes.post("/borrowers:lookup", summary="The borrowers whose address this is", openapi_extra=takes(LookupIn))
    async def lookup(request: Request, caller: Opening, *, limit: Limit = 100, cursor: Cursor) -> Response:
        asked = read_as(LookupIn, await body_of(request), code="invalid_request", what="lookup")
        reader = Reader(caller.tenant, caller.actor, asked.reason)
        return page(*await book.owners(reader, asked.channel, asked.address, after=cursor, limit=limit))


def _add_sandbox(routes: APIRouter, book: Book) -> None:
    @routes.get("/sandbox/messages", summary="What the sandbox was given; masked without the scope pii:read")
    async def messages(  # one query parameter each
        caller: Asking,
        *,
        to: str | None = None,
        since: Moment | None = None,
        borrower_id: str | None = None,
        limit: Limit = 100,
        cursor: Cursor,
    ) -> Response:
        wanted = Wanted(caller.tenant, borrower_id, None, since, moment_place(cursor), limit)
        return page(*await book.messages(wanted, to=to, reader=caller.reader))


def _read(row: Row[tuple[object, ...]]) -> dict[str, Any]:
    return {"borrower_id": row.borrower_id, "what": row.what, "by": row.by, "reason": row.reason, "at": row.at}
