"""What the HTTP side of every service shares: problem documents, probes, metrics, and its own description."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse
from prometheus_client import Counter, Histogram
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from libs.common import bodies, logs
from libs.common.answering_once import BY_THEIR_OWN_IDS, AnsweringOnce
from libs.common.asyncapi import describe
from libs.common.auth import Keys
from libs.common.clock import stopwatch
from libs.common.contracts.catalogue import Topic
from libs.common.db.failures import is_transient
from libs.common.describing import Shapes, complete
from libs.common.errors import NOT_JSON, DomainError
from libs.common.heads import AnsweringHeads
from libs.common.metrics import LATENCY_BUCKETS_S, TEXT_FORMAT, Metrics
from libs.common.paging import cursor_at
from libs.common.parameters import Parameters
from libs.common.patience import answered
from libs.common.problems import problem
from libs.common.reference import Reference
from libs.common.slips import explained, told
from libs.common.straight import StraightApp, StraightRoute
from libs.common.whereabouts import METHODS, plainly

T = TypeVar("T")
Check = Callable[[], Coroutine[Any, Any, str | None]]
"""Returns None when all is well, else what is wrong."""

BODY_BYTES = 1024 * 1024
CHECK_WITHIN_S = 5.0
_UNSTORABLE = frozenset({"22000", "22008", "22021"})
"""SQLSTATEs of a caller's value that PostgreSQL cannot hold: not encodable, outside its calendar, the character 0."""
_CODES = {
    400: "not_json", 404: "not_found", 405: "method_not_allowed", 408: "body_too_slow", 413: "body_too_large",
    415: "unsupported_media_type",
}  # fmt: skip
"""Codes for what is refused before a route has seen it; 400 is for a body that is not even text."""


@dataclass(slots=True)
class Readiness:
    """Whether this service should get traffic, and why not."""

    checks: dict[str, Check] = field(default_factory=dict)
    closed: str | None = None
    """Set while starting and while draining: not ready, whatever the checks say."""
    within_s: float = CHECK_WITHIN_S

    async def missing(self) -> dict[str, str]:
        """Return what is missing, by check."""
        if self.closed is not None:
            return {"lifecycle": self.closed}
        found = await asyncio.gather(*(self._asked(check) for check in self.checks.values()))
        return {name: why for name, why in zip(self.checks, found, strict=True) if why is not None}

    async def _asked(self, check: Check) -> str | None:
        """Return what a check reports, or that it did not answer."""
        try:
            return await answered(check(), self.within_s)
        except TimeoutError as error:
            return str(error)


@dataclass(frozen=True, slots=True)
class Described:
    """How an app describes itself."""

    title: str
    summary: str
    version: str
    topics: Sequence[Topic]
    shapes: Shapes = field(default_factory=dict)


def make_app(described: Described, *, keys: Keys, metrics: Metrics, readiness: Readiness) -> StraightApp:
    """Return the app with everything all services share; the service adds its routes."""
    app = StraightApp(
        title=described.title, summary=described.summary, version=described.version, docs_url=None, redoc_url=None, redirect_slashes=False
    )
    app.state.keys = keys
    app.state.metrics = metrics
    app.state.readiness = readiness
    app.state.parameters = Parameters()
    render_problems(app)
    _add_probes(app, described)
    complete(app, described.shapes)
    metrics.of_process(described.version)
    requests = metrics.counter("http_requests_total", "HTTP requests answered", route=(), method=(), code=())
    seconds = metrics.histogram("http_request_duration_seconds", "First byte to answer", LATENCY_BUCKETS_S, "route")
    app.state.observed = Observed(requests, seconds)
    app.add_middleware(AnsweringOnce, keys=keys)
    app.add_middleware(Watched, observed=app.state.observed)
    app.add_middleware(AnsweringHeads)
    return app


def add_straight(app: StraightApp, route: StraightRoute) -> None:
    """Make the app try this route first; its errors are answered and counted as on any other route."""
    observed: Observed = app.state.observed

    async def straight(scope: Scope, receive: Receive, send: Send) -> None:
        began, status = stopwatch(), 500
        scope["app"], scope["route"] = app, route
        try:
            try:
                response = await route.answer(Request(scope, bodies.in_time(scope, bodies.unpacked(scope, receive)), send))
            except Exception as error:  # noqa: BLE001  # any error becomes a problem document
                response = refusal(error, route.path)
            status = response.status_code
            await response(scope, receive, send)
        finally:
            observed.note(scope, status, began)

    app.router.routes.insert(0, route)
    app.straight.update({(method, route.path): straight for method in route.methods or ()})


def answer(value: Any, status: int = 200, *, headers: Mapping[str, str] | None = None) -> Response:
    """Return a value as JSON: msgspec writes structs, dates and moments as the contract requires."""
    return Response(msgspec.json.encode(value), status, media_type="application/json", headers=headers)


class Page(Response):
    """A list in the contract's form; its `next` is written on sending, when the path of the list is known."""

    media_type = "application/json"

    def __init__(self, said: dict[str, Any], following: str | None) -> None:
        super().__init__()
        self._said = said
        self._following = following

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        cursor = None if self._following is None else cursor_at(self._following, scope["path"])
        self.body = msgspec.json.encode({**self._said, "next": cursor})
        self.headers["Content-Length"] = str(len(self.body))
        await super().__call__(scope, receive, send)


def page(items: Sequence[Any], following: str | None = None, **beside: object) -> Response:
    """Return a page whose list continues after the place `following`, with further fields beside it."""
    return Page({**beside, "items": items}, following)


def read_as(type_: type[T], body: bytes, *, code: str, what: str) -> T:
    """Return a JSON body as a value of the type, or refuse what is not JSON (400) or not that type (422 with this code)."""
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.ValidationError as error:
        raise DomainError(422, code, f"{what}: {explained(error, type_)}") from error
    except NOT_JSON as error:
        raise DomainError(400, "not_json", f"this is not JSON: {error}") from error


def takes(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that reads this JSON body itself."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": in_place(msgspec.json.schema(struct))}}}}


def in_place(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON Schema with every definition inlined: inside OpenAPI its references would lead nowhere."""
    definitions = schema["$defs"]

    def whole(part: Any) -> Any:
        if isinstance(part, list):
            return [whole(one) for one in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return whole(definitions[part["$ref"].removeprefix("#/$defs/")])
        return {name: whole(one) for name, one in part.items()}

    made: dict[str, Any] = whole({name: part for name, part in schema.items() if name not in ("$defs", "$schema", "$id")})
    return made


async def body_of(request: Request, *, most: int = BODY_BYTES) -> bytes:
    """Return the body of a request, or refuse one that is too large for this call."""
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise DomainError(413, "body_too_large", f"a body may have {most} bytes here", headers={"Connection": "close"})
        parts.append(part)
    return b"".join(parts)


def route_of(scope: Scope) -> str:
    """Return the pattern of a route, never the path: a path holds ids and tokens."""
    return str(getattr(scope.get("route"), "path", "unmatched"))


def render_problems(app: FastAPI) -> None:
    """Make the app answer errors with problem documents."""

    @app.exception_handler(DomainError)
    async def on_domain_error(request: Request, error: DomainError) -> Response:
        return refusal(error, route_of(request.scope))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        return refusal(plainly(request, error), route_of(request.scope))

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
        return _not_valid(request, error)

    @app.exception_handler(DBAPIError)
    @app.exception_handler(Exception)
    async def on_failure(request: Request, error: Exception) -> Response:
        return refusal(error, route_of(request.scope))


def refusal(error: Exception, route: str) -> Response:
    """Return the problem document for an error in a route; a fault of ours is logged."""
    if isinstance(error, DomainError):
        return problem(error.status, error.code, error.detail, headers=error.headers, **error.extra)
    if isinstance(error, HTTPException):
        return problem(error.status_code, _CODES.get(error.status_code, "http_error"), error.detail, headers=dict(error.headers or {}))
    if isinstance(error, ClientDisconnect):
        return problem(400, "body_cut", "the sender disconnected before the whole body had arrived")  # nobody reads it, but it is counted
    if is_transient(error):
        return problem(503, "unavailable", "try again in a few seconds", headers={"Retry-After": "2"})
    if getattr(getattr(error, "orig", None), "sqlstate", None) in _UNSTORABLE:
        return problem(422, "invalid_request", "a text contains the character 0, or a moment lies outside the calendar")
    logs.get("api").error("request_failed", route=route, reason=type(error).__name__, exc_info=error)
    return problem(500, "internal", "this is an error on our side; it has been logged")


def _not_valid(request: Request, error: RequestValidationError) -> Response:
    """Say where a request is invalid, and why."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first.get("loc", ()))
    if place == "body" and not isinstance(error.body, dict | list):
        return _not_an_object(request, error.body)
    if first.get("type") == "json_invalid":
        return problem(400, "not_json", f"this is not JSON: {first.get('ctx', {}).get('error', '')} (character {first['loc'][-1]})")
    return problem(422, "invalid_request", f"{place}: {told(first)}")


def _not_an_object(request: Request, body: object) -> Response:
    """Say why a body is not a JSON object: it is empty, of another media type, or another JSON value."""
    if not body:
        return problem(400, "not_json", "this is not JSON: the body is empty")
    if "json" not in (kind := request.headers.get("content-type", "")):
        return problem(415, "unsupported_media_type", f"send Content-Type: application/json, not {kind[:100] or 'none'}")
    return problem(422, "invalid_request", "body: a JSON object is expected")


def _add_probes(app: FastAPI, described: Described) -> None:
    @app.get("/healthz", include_in_schema=False)
    async def healthz() -> Response:
        return answer({"status": "alive"})

    @app.get("/readyz", include_in_schema=False)
    async def readyz(request: Request) -> Response:
        missing = await request.app.state.readiness.missing()
        if missing:
            detail = "; ".join(f"{name}: {why}" for name, why in missing.items())
            return problem(503, "not_ready", detail, headers={"Retry-After": "2"}, checks=missing)
        return answer({"status": "ready"})

    @app.get("/metrics", include_in_schema=False)
    async def metrics(request: Request) -> Response:
        return Response(request.app.state.metrics.exposed(), media_type=TEXT_FORMAT)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        reference = Reference.load()
        return HTMLResponse(await asyncio.to_thread(reference.render, app.openapi()), headers=dict(reference.page.headers))

    @app.get("/asyncapi.json", include_in_schema=False)
    async def asyncapi() -> Response:
        return answer(describe(described.title, described.version, described.topics))


@dataclass(frozen=True, slots=True)
class Observed:
    """Counts and times requests by route pattern, never by path: a path holds ids."""

    requests: Counter
    took: Histogram
    _bound: dict[tuple[str, str, int], tuple[Counter, Histogram]] = field(default_factory=dict, init=False)
    """The children by their labels: looking one up costs more than counting."""

    def note(self, scope: Scope, status: int, began: float) -> None:
        """Record the outcome of a request that began at this reading of the stopwatch."""
        route = route_of(scope)
        labels = route, scope["method"] if route != "unmatched" and scope["method"] in METHODS else "any", status
        if (bound := self._bound.get(labels)) is None:
            bound = self._bound[labels] = self.requests.labels(*labels[:2], str(status)), self.took.labels(route)
        requests, took = bound
        requests.inc()
        took.observe(stopwatch() - began)


class Watched:
    """Observes every request; an error in it is answered, and the connection stays open."""

    def __init__(self, app: ASGIApp, *, observed: Observed) -> None:
        self._app = app
        self._observed = observed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if "\0" in scope["path"] or b"%00" in scope["query_string"] or b"\0" in scope["query_string"]:
            await problem(400, "invalid_request", "an address contains the character 0, which no address of ours does")(
                scope, receive, send
            )
            return
        began, status = stopwatch(), 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, _body_of(scope, receive), noting)
        except Exception as error:
            if status:  # part of an answer has gone out: it must break off, so that nobody takes it for a whole one
                raise
            await refusal(error, route_of(scope))(scope, receive, noting)
        finally:
            self._observed.note(scope, status or 500, began)


def _body_of(scope: Scope, receive: Receive) -> Receive:
    """Return the `receive` for the body of a request; posts of events have their own limit."""
    plain = bodies.in_time(scope, bodies.unpacked(scope, receive))
    return plain if scope["path"].endswith(BY_THEIR_OWN_IDS) else bodies.bounded(plain)
