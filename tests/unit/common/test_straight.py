"""The route past the framework's layers keeps what they promise: problem documents, counts, and the same answer as by the longer way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from starlette.types import Receive, Scope, Send

from libs.common.api import Described, Readiness, add_straight, answer, make_app
from libs.common.auth import Keys, Principal
from libs.common.clock import WallClock
from libs.common.db.engine import make_engine
from libs.common.errors import DomainError, TransientError
from libs.common.metrics import Metrics
from libs.common.straight import StraightApp, StraightRoute

PATH = "/v1/things"
CALLER = Principal("default", "tester", frozenset())
Endpoint = Callable[[Request, Principal], Awaitable[Response]]


async def caller_of(_: Request) -> Principal:
    return CALLER


async def echo(request: Request, caller: Principal) -> Response:
    return answer({"tenant": caller.tenant, "body": (await request.body()).decode()}, 202)


def failing(error: Exception) -> Endpoint:
    async def endpoint(_: Request, __: Principal) -> Response:
        raise error

    return endpoint


@pytest.fixture
async def made() -> AsyncIterator[Callable[[Endpoint], tuple[StraightApp, Metrics]]]:
    engine = make_engine("postgresql://nobody@127.0.0.1/nothing", application="test")

    def make(endpoint: Endpoint) -> tuple[StraightApp, Metrics]:
        metrics = Metrics()
        app = make_app(Described("a", "b", "c", ()), keys=Keys(engine, "ingest", WallClock()), metrics=metrics, readiness=Readiness())
        add_straight(app, StraightRoute(PATH, endpoint, caller_of, methods=["POST"]))
        return app, metrics

    yield make
    await engine.dispose()


async def posted(app: FastAPI, path: str = PATH) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post(path, content=b"hello")


def counted(metrics: Metrics, code: int) -> float | None:
    labels = {"route": PATH, "method": "POST", "code": str(code)}
    return metrics.registry.get_sample_value("dunwell_http_requests_total", labels)


def layered(app: StraightApp) -> list[Scope]:
    """Return the requests that go through the framework's layers."""
    passed: list[Scope] = []
    inner = app.build_middleware_stack()

    async def noting(scope: Scope, receive: Receive, send: Send) -> None:
        passed.append(scope)
        await inner(scope, receive, send)

    app.middleware_stack = noting
    return passed


async def test_a_straight_route_is_called_past_the_layers_and_with_a_query_through_them_with_one_answer(
    made: Callable[[Endpoint], tuple[StraightApp, Metrics]],
) -> None:
    app, metrics = made(echo)
    passed = layered(app)
    straight, longer = await posted(app), await posted(app, f"{PATH}?a=1")
    assert (straight.status_code, straight.json()) == (202, {"tenant": "default", "body": "hello"})
    assert (longer.status_code, longer.json()) == (straight.status_code, straight.json())
    assert [scope["query_string"] for scope in passed] == [b"a=1"]
    assert counted(metrics, 202) == 2
    assert metrics.registry.get_sample_value("dunwell_http_request_duration_seconds_count", {"route": PATH}) == 2


async def test_a_straight_route_is_found_where_its_app_is_mounted(made: Callable[[Endpoint], tuple[StraightApp, Metrics]]) -> None:
    app, metrics = made(echo)
    root = FastAPI()
    root.mount("/ingest", app)
    passed = layered(app)
    assert (await posted(root, f"/ingest{PATH}")).status_code == 202
    assert (passed, counted(metrics, 202)) == ([], 1)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (DomainError(403, "forbidden", "not you", headers={"X-Why": "so"}, id="e1"), 403, "forbidden"),
        (OSError("the database is away"), 503, "unavailable"),
        (ZeroDivisionError("a fault"), 500, "internal"),
        (TransientError("the broker is away"), 503, "unavailable"),
    ],
    ids=["of the caller", "passing", "a fault", "outside"],
)
async def test_what_goes_wrong_on_a_straight_route_is_said_and_counted_as_by_the_longer_way(
    made: Callable[[Endpoint], tuple[StraightApp, Metrics]], error: Exception, status: int, code: str
) -> None:
    app, metrics = made(failing(error))
    said = await posted(app)
    assert (said.status_code, said.json()["code"], said.headers["content-type"]) == (status, code, "application/problem+json")
    assert counted(metrics, status) == 1
    if isinstance(error, DomainError):
        assert (said.json()["id"], said.headers["x-why"]) == ("e1", "so")
        longer = await posted(app, f"{PATH}?a=1")
        assert (longer.status_code, longer.json()) == (said.status_code, said.json())


async def test_another_method_on_the_path_of_a_straight_route_is_refused(
    made: Callable[[Endpoint], tuple[StraightApp, Metrics]],
) -> None:
    app, _ = made(echo)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        said = await client.get(PATH)
    assert (said.status_code, said.json()["code"]) == (405, "method_not_allowed")
