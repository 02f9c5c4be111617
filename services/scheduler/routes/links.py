"""Links to the borrower's page over HTTP: made, listed, revoked."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from libs.common.api import answer, page
from libs.common.paging import Cursor, cut
from services.scheduler.borrower.linking import Links
from services.scheduler.routes.desk import Limit, Reader, Worker


def routes_of(links: Links, page_url: str | None) -> APIRouter:
    """Return the routes; `page_url` is where borrowers reach this service, if that differs from where the caller does."""
    router = APIRouter(prefix="/v1", tags=["borrower's page"], default_response_class=Response)

    @router.post("/borrowers/{borrower_id}/links", summary="A link to the borrower's page; its token is shown only once", status_code=201)
    async def make_link(borrower_id: str, request: Request, caller: Worker) -> Response:
        made = await links.make(caller, borrower_id)
        base = page_url or str(request.url.replace(path=request.scope.get("root_path", ""), query=""))
        shown = {"link_id": made.link_id, "token": made.token, "url": f"{base}/b/{made.token}", "expires_at": made.expires_at}
        return answer(shown, 201, headers={"Cache-Control": "no-store"})

    @router.get("/borrowers/{borrower_id}/links", summary="A borrower's links: open, locked or gone; never their tokens")
    async def list_links(borrower_id: str, caller: Reader, *, limit: Limit = 100, cursor: Cursor) -> Response:
        rows = await links.of_borrower(caller, borrower_id, after=cursor or "", limit=limit + 1)
        shown, following = cut(rows, limit, lambda row: str(row.link_id))
        return page([dict(row) for row in shown], following)

    @router.delete("/borrowers/{borrower_id}/links/{link_id}", summary="Revoke a link", status_code=204)
    async def revoke_link(borrower_id: str, link_id: str, caller: Worker) -> Response:
        await links.revoke(caller, borrower_id, link_id)
        return Response(status_code=204)

    return router
