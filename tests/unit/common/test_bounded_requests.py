"""What comes over a socket and is no whole request in time: broken off with a reason, and nobody else's answer is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from fastapi import Request, Response

from libs.common.api import Described, Readiness, add_straight, body_of, make_app
from libs.common.auth import Keys, Principal
from libs.common.bounded_requests import BoundedRequests
from libs.common.clock import WallClock
from libs.common.db.engine import make_engine
from libs.common.metrics import Metrics
from libs.common.straight import StraightApp, StraightRoute
from tests.support.running import served

DROP_S = 0.05
PART_S = 0.3


class Impatient(BoundedRequests):
    part_within_s = PART_S
    whole_within_s = 2 * PART_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.timeout_keep_alive = PART_S  # type: ignore[assignment]  # seconds, whole or not


@pytest.fixture
async def app() -> AsyncIterator[StraightApp]:
    """A route past the layers and one through them; each answers with the body it was sent."""
    engine = make_engine("postgresql://nobody@127.0.0.1/nothing", application="test")
    made = make_app(Described("a", "b", "c", ()), keys=Keys(engine, "ingest", WallClock()), metrics=Metrics(), readiness=Readiness())

    async def caller_of(_: Request) -> Principal:
        return Principal("default", None, frozenset())

    async def straight(request: Request, _: Principal) -> Response:
        body = await request.body()
        return Response(body + request.headers.get("x-behind", "").encode())

    add_straight(made, StraightRoute("/straight", straight, caller_of, methods=["POST"]))

    @made.post("/layered")
    async def layered(request: Request) -> Response:
        return Response(await body_of(request))

    yield made
    await engine.dispose()


def post(body: bytes, *fields: bytes, path: bytes = b"/straight") -> bytes:
    return b"\r\n".join([b"POST " + path + b" HTTP/1.1", b"Host: x", *fields, b"", body])


TEN = b"Content-Length: 10"
H2C = b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB"
CHUNKED = b"Transfer-Encoding: chunked"
WHOLE = post(b"0123456789", TEN)
DROPS = [b"x"] * 400
SENT = {
    "nothing": ([], b""),
    "half a head": ([b"POST /straight HT"], b"408 head_too_slow"),
    "a head by drops": ([b"POST /straight HTTP/1.1\r\nX: ", *DROPS], b"408 head_too_slow"),
    "a head without end": ([b"GET / HTTP/1.1\r\nX: ", *[b"x" * 30_000] * 3], b"400 too_long"),
    "a head in pieces": ([WHOLE[:9], WHOLE[9:]], b"200 0123456789"),
    "half a body": ([post(b"01234", TEN)], b"408 body_too_slow"),
    "half a body through the layers": ([post(b"01234", TEN, path=b"/layered")], b"408 body_too_slow"),
    "a body by drops": ([post(b"", b"Content-Length: 400"), *DROPS], b"408 body_too_slow"),
    "half a body of a route that is not there": ([post(b"01234", TEN, path=b"/nowhere")], b"404 not_found"),
    "a body in pieces": ([post(b"01234", TEN), b"56789"], b"200 0123456789"),
    "empty lines": ([WHOLE, *[b"\r\n"] * 400], b"200 0123456789"),
    "a length and chunks": ([post(b"0\r\n\r\n", TEN, CHUNKED)], b"400 not_http"),
    "two lengths": ([post(b"0123456789", TEN, b"Content-Length: 5")], b"400 not_http"),
    "no request": ([b"\x16\x03\x01\x02\x00\x01"], b"400 not_http"),
    "a field behind the body": ([post(b"2\r\nab\r\n0\r\nX-Behind: yes\r\n\r\n", CHUNKED)], b"200 ab"),
    "fields behind the body without end": ([post(b"1\r\na\r\n0\r\nX: ", CHUNKED), *[b"x" * 30_000] * 4], b"400 too_long"),
    "a request and garbage": ([WHOLE + b"\x16\x03\x01"], b"200 0123456789"),
    "two requests at once": ([WHOLE + post(b"abc", b"Content-Length: 3")], b"200 0123456789 200 abc"),
    "one that waits to be asked for its body": ([post(b"", TEN, b"Expect: 100-continue"), b"0123456789"], b"100 200 0123456789"),
    "one that would rather speak HTTP/2": ([post(b"01234", TEN, *H2C), b"56789"], b"200 0123456789"),
    "one that would rather speak another protocol, in pieces": ([post(b"", TEN, *H2C)[:-3], b"\n\r\n", b"0123456789"], b"200 0123456789"),
    "one to be passed on": ([b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n"], b"400 not_http"),
}


async def said_to(url: str, pieces: list[bytes]) -> bytes:
    """Return the codes and bodies of all answers until the server has hung up; of a problem its own code."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    reading = asyncio.create_task(reader.read())
    for piece in pieces:
        writer.write(piece)
        await asyncio.wait({reading}, timeout=DROP_S)
    answers = (await reading).split(b"HTTP/1.1 ")[1:]
    writer.close()
    parts = [(head[:3], body) for head, _, body in (answer.partition(b"\r\n\r\n") for answer in answers)]
    return b" ".join(part for code, body in parts for part in (code, body.partition(b'"code":"')[2].rstrip(b'"}') or body) if part)


@pytest.mark.parametrize(("pieces", "said"), SENT.values(), ids=SENT.keys())
async def test_what_is_no_whole_request_in_time_is_broken_off_with_a_reason(app: StraightApp, pieces: list[bytes], said: bytes) -> None:
    async with asyncio.timeout(10), served(app, Impatient) as url:
        assert await said_to(url, pieces) == said


async def test_a_body_that_is_not_read_yet_is_waited_for_by_nobody(app: StraightApp) -> None:
    busy = asyncio.Event()

    @app.post("/busy")
    async def reads_late(request: Request) -> Response:
        await busy.wait()
        return Response(str(len(await body_of(request))))

    async with asyncio.timeout(10), served(app, Impatient) as url:
        saying = asyncio.create_task(said_to(url, [post(b"x" * 900_000, b"Content-Length: 900000", path=b"/busy")]))
        await asyncio.wait({saying}, timeout=2 * PART_S)
        busy.set()
        assert await saying == b"200 900000"
