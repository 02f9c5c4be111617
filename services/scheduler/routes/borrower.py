"""The borrower's page over HTTP: `GET` asks for the second factor and changes nothing; every act is a `POST` of a form we made."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qsl

from fastapi import APIRouter, Query, Request, Response

from libs.common.api import body_of
from libs.common.errors import DomainError
from services.scheduler.borrower.acts import Form
from services.scheduler.borrower.reception import Asked, Reception
from services.scheduler.borrower.words import accepted

FORM_BYTES = 64 * 1024
MOST_FIELDS = 20
OURS = frozenset({"same-origin", "none"})
"""What a browser says of a form sent from our own page, or by the reader directly."""
_HTML: dict[int | str, dict[str, object]] = {200: {"content": {"text/html": {}}}}


def routes_of(reception: Reception) -> APIRouter:
    """Return the routes; they need no key: the link's holder is asked for the second factor."""
    router = APIRouter(tags=["borrower's page"], default_response_class=Response)

    @router.head("/b/{token}", include_in_schema=False)
    @router.get("/b/{token}", summary="The borrower's page: names the lender but no debt", responses=_HTML)
    async def show(token: str, request: Request, lang: Annotated[str | None, Query(max_length=35)] = None) -> Response:
        return await reception.shown(_asked(request, token, lang))

    @router.post("/b/{token}", summary="Submit a form of the borrower's page", responses=_HTML)
    async def post(token: str, request: Request) -> Response:
        form = await _form(request)
        return await reception.posted(_asked(request, token, form.get("lang")), form)

    return router


def _asked(request: Request, token: str, lang: str | None) -> Asked:
    languages = (lang, *accepted(request.headers.get("accept-language", "")))
    return Asked(token, languages, request.headers.get("sec-fetch-site", "none") not in OURS)


async def _form(request: Request) -> Form:
    """Return the fields of a form; if one is repeated, the last value."""
    body = await body_of(request, most=FORM_BYTES)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MOST_FIELDS))
    except ValueError:
        raise DomainError(400, "no_form", "this is not a form of ours") from None
