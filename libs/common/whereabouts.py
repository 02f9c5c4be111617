"""What to answer where nothing is at a URL, or nothing for that method."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import Scope

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_SHOWN = 200
_NOT_FOUND, _NOT_ALLOWED = HTTPStatus.NOT_FOUND.phrase, HTTPStatus.METHOD_NOT_ALLOWED.phrase
_UNREADABLE = "There was an error parsing the body"
"""The framework's own words."""


def plainly(request: Request, error: HTTPException) -> HTTPException:
    """Return the framework's refusal with a reason that a caller can act on."""
    if error.detail == _NOT_FOUND:
        return HTTPException(404, f"nothing is at {_path(request)}; {_what_there_is(request)}", error.headers)
    if error.detail == _NOT_ALLOWED:
        allowed = _methods_at(request.app, request.scope)
        detail = f"{request.method} is not for {_path(request)}; what can be done there: {', '.join(allowed)}"
        return HTTPException(405, detail, {"Allow": ", ".join(allowed)})
    if error.detail == _UNREADABLE:
        return HTTPException(400, "this is not JSON: it is not UTF-8 text, or it is nested too deeply", error.headers)
    return error


def _methods_at(app: FastAPI, scope: Scope) -> list[str]:
    """Return the methods of all routes at a URL: the framework only names those of the first."""
    found = {method for method in METHODS if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in app.routes)}
    return [method for method in METHODS if method in found or (method == "HEAD" and "GET" in found)]


def _path(request: Request) -> str:
    return str(request.scope["path"])[:_SHOWN]


def _what_there_is(request: Request) -> str:
    app: FastAPI = request.app
    if app.openapi_url:
        return f"{request.scope.get('root_path', '')}{app.openapi_url} lists what there is"
    return f"look under {', '.join(route.path for route in app.routes if isinstance(route, Mount))}"
