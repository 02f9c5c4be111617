"""Bodies are unpacked where they were packed, and have an end."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest
from fastapi import Request, Response
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from libs.common import bodies
from libs.common.api import Described, Readiness, add_straight, answer, body_of, make_app
from libs.common.auth import Keys, Principal
from libs.common.clock import WallClock
from libs.common.db.engine import make_engine
from libs.common.metrics import Metrics
from libs.common.straight import StraightRoute

MIB = 1024 * 1024
ROUTES = ("/straight", "/by-hand", "/form")


class Form(BaseModel):
    text: str


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """An app with a route of each kind that reads a body: past the layers, by hand, and by the framework."""
    engine = make_engine("postgresql://nobody@127.0.0.1/nothing", application="test")
    app = make_app(Described("a", "b", "c", ()), keys=Keys(engine, "ingest", WallClock()), metrics=Metrics(), readiness=Readiness())

    async def caller_of(_: Request) -> Principal:
        return Principal("default", None, frozenset())

    async def straight(request: Request, _: Principal) -> Response:
        return Response(await request.body())

    add_straight(app, StraightRoute("/straight", straight, caller_of, methods=["POST"]))

    @app.post("/by-hand")
    async def by_hand(request: Request) -> Response:
        return Response(await body_of(request))

    @app.post("/form")
    async def form(asked: Form) -> Response:
        return answer(asked.model_dump())

    @app.put("/form")
    async def fault() -> Response:
        raise ZeroDivisionError

    transport = httpx.ASGITransport(app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://test", headers={"Content-Type": "application/json"}) as made:
        yield made
    await engine.dispose()


def coded(coding: str) -> dict[str, str]:
    return {"Content-Encoding": coding}


async def test_a_body_that_was_packed_is_read_as_it_was(client: httpx.AsyncClient) -> None:
    body = b'{"text":"as it was"}'
    for path in ROUTES:
        for coding, packed in (
            ("gzip", gzip.compress(body)),
            ("GZip", gzip.compress(body[:9]) + gzip.compress(body[9:])),
            ("identity", body),
        ):
            said = await client.post(path, content=packed, headers=coded(coding))
            assert (said.status_code, said.content) == (200, body), (path, coding)


REFUSED = [
    (coded("br"), b"{}", 415, "or with gzip"),
    (coded("gzip, gzip"), b"{}", 415, "or with gzip"),
    (coded("gzip"), b"{}", 400, "this is not gzip"),
    (coded("gzip"), b"", 400, "or it is incomplete"),
    (coded("gzip"), gzip.compress(b'{"text":"cut"}')[:-4], 400, "or it is incomplete"),
    (coded("gzip"), gzip.compress(b"0" * 40 * MIB), 413, f"{bodies.MOST_BYTES} bytes"),
]


async def test_a_body_that_cannot_be_unpacked_is_refused_with_what_can(client: httpx.AsyncClient) -> None:
    for path in ROUTES:
        for headers, body, status, why in REFUSED:
            said = await client.post(path, content=body, headers=headers)
            assert (said.status_code, why in said.json()["detail"]) == (status, True), (path, headers, said.text)
            assert (said.headers.get("accept-encoding") == "gzip") is (status == 415)


async def test_no_route_takes_a_body_without_end(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * MIB

    for path in ROUTES[1:]:
        said = await client.post(path, content=endless())
        assert (said.status_code, said.json()["code"]) == (413, "body_too_large"), path


async def test_a_fault_of_ours_is_answered_and_goes_no_further(client: httpx.AsyncClient) -> None:
    said = await client.put("/form")
    assert (said.status_code, said.json()["code"]) == (500, "internal")


def receiving(parts: Iterable[bytes]) -> Receive:
    left = list(parts)

    async def receive() -> Message:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    return receive


@given(body=st.binary(max_size=200), cut=st.lists(st.integers(0, 300)), members=st.integers(1, 3))
async def test_however_a_packed_body_is_cut_its_parts_give_the_whole(body: bytes, cut: list[int], members: int) -> None:
    packed, places = gzip.compress(body) * members, sorted([0, *cut])
    parts = [packed[a:b] for a, b in zip(places, [*places[1:], None], strict=True)]
    receive = bodies.unpacked({"headers": [(b"content-encoding", b"gzip")]}, receiving(parts))
    assert b"".join([(await receive())["body"] for _ in parts]) == body * members


async def test_a_bomb_is_given_up_long_before_it_has_gone_off() -> None:
    packer, fed = zlib.compressobj(wbits=31), 0

    async def bomb() -> Message:
        nonlocal fed
        fed += 1
        return {"type": "http.request", "body": packer.compress(b"0" * 8 * MIB), "more_body": True}

    receive = bodies.unpacked({"headers": [(b"content-encoding", b"gzip")]}, bomb)
    with pytest.raises(HTTPException, match="413"):
        _ = [await receive() for _ in range(10)]
    assert fed <= 3
