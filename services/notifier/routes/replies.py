"""What providers bring in of what people write back."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from libs.common.errors import DomainError
from services.notifier.callbacks import callback_of
from services.notifier.directory import Directory
from services.notifier.replying import Listener


def routes_of(listener: Listener, directory: Directory) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/v1")

    @routes.post("/providers/{name}/{secret}/inbound", include_in_schema=False)
    @routes.get("/providers/{name}/{secret}/inbound", include_in_schema=False)
    async def inbound(name: str, secret: str, request: Request) -> Response:
        """Take a message of somebody; the provider has no key, its URL has a secret and what it says a signature."""
        url = directory.inbound_url(name, secret)
        if url is None:
            raise DomainError(404, "not_found", "there is nothing here")
        adapter = await listener.take(name, secret, await callback_of(request, url))
        body, media_type = adapter.taken
        return Response(body, media_type=media_type)

    return routes
