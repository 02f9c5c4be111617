"""Is this the borrower? Asked before a page shows anything, by the last digits of a phone number, which itself is never shown."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response
from msgspec import Meta

from libs.common.api import answer, body_of, read_as, takes
from libs.common.contracts.values import Contract
from services.notifier.contact_book import Book
from services.notifier.routes.callers import Reading


class RecogniseIn(Contract, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The digits that a borrower's number is said to end with. The caller must limit attempts: 10,000 would find them."""

    phone_ends_with: Annotated[str, Meta(pattern=r"^[0-9]{4}$(?!\n)")]


def routes_of(book: Book) -> APIRouter:
    """Return the route."""
    routes = APIRouter(prefix="/v1", tags=["personal data"])

    @routes.post("/borrowers/{borrower_id}:recognise", summary="Whether a phone ends with these digits", openapi_extra=takes(RecogniseIn))
    async def recognise(borrower_id: str, request: Request, caller: Reading) -> Response:
        asked = read_as(RecogniseIn, await body_of(request), code="invalid_request", what="recognise")
        return answer({"recognised": await book.knows_end(caller.tenant, borrower_id, asked.phone_ends_with)})

    return routes
