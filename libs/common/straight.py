"""A route for calls made for every event: described like any other, but called without the framework's layers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from libs.common.auth import Principal


class StraightRoute(APIRoute):
    """A route that is called without FastAPI's dependency resolution.

    That, the search for the route and the middleware took three quarters of the CPU time between the server and the endpoint.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[[Request, Principal], Awaitable[Response]],
        caller_of: Callable[[Request], Awaitable[Principal]],
        **described: Any,  # what FastAPI's own route takes
    ) -> None:
        super().__init__(path, endpoint, **described)

        async def answer(request: Request) -> Response:
            return await endpoint(request, await caller_of(request))

        async def straight(scope: Scope, receive: Receive, send: Send) -> None:
            response = await answer(Request(scope, receive, send))
            await response(scope, receive, send)

        self.answer = answer
        self.app = straight


class StraightApp(FastAPI):
    """An app that tries its straight routes before anything else; a URL with a query takes the usual way."""

    def __init__(self, **described: Any) -> None:  # what FastAPI takes
        super().__init__(**described)
        self.straight: dict[tuple[str, str], ASGIApp] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and not scope["query_string"]:
            path = scope["path"].removeprefix(scope.get("root_path", ""))
            if (straight := self.straight.get((scope["method"], path))) is not None:
                await straight(scope, receive, send)
                return
        await super().__call__(scope, receive, send)
