"""Where a call failed decides what is known of it, whatever the library calls the error."""

from __future__ import annotations

import asyncio
import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.notifier.domain.results import NotSent, Unknown
from services.notifier.providers.carrier import Carrier, Limits
from services.notifier.providers.wire import Answer, HttpCall
from tests.integration.providers.cutting import ANSWER, Cutter, closed_port, serving

SHORT = Limits(at_once=4, slot_s=0.3, connect_s=0.3, answer_s=0.3)
PATIENT = Limits(at_once=4, slot_s=5, connect_s=5, answer_s=5)


def a_call(port: int, *, body: bytes = b"to=1", scheme: str = "http", host: str = "127.0.0.1") -> HttpCall:
    return HttpCall(f"{scheme}://{host}:{port}/messages", {"content-type": "application/x-www-form-urlencoded"}, body)


async def called(call: HttpCall, limits: Limits = PATIENT, *, public_only: bool = False) -> Answer | NotSent | Unknown:
    carrier = Carrier(limits, public_only=public_only)
    try:
        return await carrier.call(call)
    finally:
        await carrier.close()


async def through(cutter: Cutter, *, body: bytes = b"to=1", limits: Limits = PATIENT) -> Answer | NotSent | Unknown:
    async with serving(cutter):
        return await called(a_call(cutter.port, body=body), limits)


async def test_an_answer_is_given_back_whole() -> None:
    outcome = await through(Cutter())
    assert isinstance(outcome, Answer)
    assert (outcome.status, outcome.body, outcome.headers["content-type"]) == (201, b'{"sid": "SM"}', "application/json")


@settings(max_examples=60, deadline=None)
@given(read=st.none() | st.integers(0, 400_000), size=st.sampled_from([4, 300_000]), reset=st.booleans(), answered=st.integers(0, 100))
def test_a_request_that_could_have_been_acted_upon_is_never_called_not_sent(
    read: int | None, size: int, reset: bool, answered: int
) -> None:
    cutter = Cutter(read=read, reset=reset, answered=answered)
    outcome = asyncio.run(through(cutter, body=b"x" * size))
    if cutter.seen:
        assert not isinstance(outcome, NotSent)
    if isinstance(outcome, Answer):
        assert cutter.has_whole
        assert answered >= len(ANSWER)


@pytest.mark.parametrize("reset", [True, False])
async def test_an_end_right_after_the_accept_is_not_taken_for_a_failed_connect(reset: bool) -> None:
    cutter = Cutter(read=0, reset=reset)
    outcome = await through(cutter, body=b"x" * 10)
    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize("reset", [True, False])
async def test_an_end_after_the_request_is_unknown_though_the_library_calls_it_a_connect_timeout(reset: bool) -> None:
    cutter = Cutter(answered=0, reset=reset)
    assert await through(cutter) == Unknown("connection_lost")
    assert cutter.has_whole


@pytest.mark.parametrize("answered", range(1, len(ANSWER), 7))
async def test_an_answer_that_is_cut_anywhere_is_unknown(answered: int) -> None:
    assert isinstance(await through(Cutter(answered=answered)), Unknown)


async def test_an_answer_that_does_not_come_is_unknown_in_time() -> None:
    assert await through(Cutter(answered=0, silent=True), limits=SHORT) == Unknown("answer_timeout")


async def test_an_answer_that_stops_half_way_is_unknown_in_time() -> None:
    assert await through(Cutter(answered=40, silent=True), limits=SHORT) == Unknown("answer_timeout")


async def test_a_peer_that_stops_reading_in_mid_request_is_unknown_in_time() -> None:
    cutter = Cutter(read=1000, silent=True)
    assert await through(cutter, body=b"x" * 1_000_000, limits=SHORT) == Unknown("answer_timeout")


async def test_a_closed_port_is_not_sent() -> None:
    assert await called(a_call(closed_port())) == NotSent("connect_failed")


async def test_a_name_that_does_not_exist_is_not_sent() -> None:
    assert await called(a_call(80, host="nobody.invalid")) == NotSent("connect_failed")


async def test_a_connect_that_hangs_is_not_sent_in_time() -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        assert await called(a_call(full.getsockname()[1]), SHORT) == NotSent("connect_timeout")


async def test_a_handshake_that_fails_or_hangs_is_not_sent() -> None:
    """A server that speaks no TLS has read the hello of the handshake, and nothing of the request."""
    async with serving(Cutter(read=1)) as deaf:
        assert isinstance(await called(a_call(deaf.port, scheme="https")), NotSent)
    async with serving(Cutter(read=1, silent=True)) as silent:
        assert await called(a_call(silent.port, scheme="https"), SHORT) == NotSent("connect_timeout")


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with serving(Cutter()) as other:
        away = f"HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:{other.port}/\r\nContent-Length: 0\r\n\r\n".encode()
        outcome = await through(Cutter(answer=away))
    assert isinstance(outcome, Answer)
    assert (outcome.status, other.connections) == (307, 0)


async def test_an_answer_without_an_end_is_not_read_for_ever() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 2_000_000
    assert await through(Cutter(answer=endless, silent=True), limits=PATIENT) == Unknown("connection_lost")


async def test_no_more_calls_than_allowed_are_made_at_once_and_those_that_find_no_slot_were_not_sent() -> None:
    async with serving(Cutter(answered=0, silent=True)) as cutter:
        carrier = Carrier(Limits(at_once=2, slot_s=0.2, connect_s=1, answer_s=1))
        outcomes = await asyncio.gather(*(carrier.call(a_call(cutter.port)) for _ in range(5)))
        await carrier.close()
    assert cutter.connections == 2
    assert sorted(map(str, outcomes)) == sorted(map(str, [NotSent("no_slot")] * 3 + [Unknown("answer_timeout")] * 2))


async def test_a_kept_connection_that_the_server_cuts_loses_no_certainty() -> None:
    """The second request goes out on the first one's connection and gets no answer: it is not sent again by the library."""
    answers = iter([ANSWER, b""])
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(65536):
            seen.append(request)
            answer = next(answers, b"")
            if not answer:
                break
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    carrier = Carrier(PATIENT)
    call = a_call(server.sockets[0].getsockname()[1])
    outcomes = [await carrier.call(call), await carrier.call(call)]
    await carrier.close()
    server.close()
    assert isinstance(outcomes[0], Answer)
    assert outcomes[1] == Unknown("connection_lost")
    assert len(seen) == 2


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0", "[64:ff9b::7f00:1]"]
)
async def test_only_public_addresses_are_called_where_the_url_is_a_customers(host: str) -> None:
    async with serving(Cutter()) as cutter:
        outcome = await called(a_call(cutter.port, host=host), PATIENT, public_only=True)
        assert (outcome, cutter.connections) == (NotSent("address_not_public"), 0)
