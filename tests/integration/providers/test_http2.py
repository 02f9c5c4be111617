"""Calls over HTTP/2: one connection for all, a written request decides here too, and one token serves for forty minutes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from libs.common.calling import Limits
from libs.common.clock import DrivenClock
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, NotSent, Unknown
from services.notifier.providers.apns import ADAPTER
from services.notifier.providers.carrier import Carrier
from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.http import HttpProvider
from services.notifier.providers.wire import Answer, HttpCall
from tests.integration.providers.accounts import ACCOUNTS
from tests.integration.providers.tls import loopback_tls
from tests.support.h2 import served_over_http2
from tests.unit.providers.values import NOW, a_message

LIMITS = Limits(connect_s=1.0, answer_s=1.0)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = 1
"""The type of the frame that begins a request."""


class Watching(FakeProviders):
    """A fake that keeps the tokens it was shown."""

    shown: list[str]

    def answer(self, name: str, call: HttpCall) -> Answer:
        self.shown.append(call.headers["authorization"])
        return super().answer(name, call)


def a_watching() -> Watching:
    fake = Watching({"apns": ACCOUNTS["apns"]})
    fake.shown = []
    return fake


@asynccontextmanager
async def a_provider(base_url: str, clock: DrivenClock | None = None, context: ssl.SSLContext | None = None) -> AsyncIterator[HttpProvider]:
    carrier = Carrier(LIMITS, http2=True, context=context)
    account = replace(ACCOUNTS["apns"], base_url=base_url)
    yield HttpProvider(account, ADAPTER, carrier, clock or DrivenClock(NOW))
    await carrier.close()


def pushes(count: int) -> list[OutgoingMessage]:
    return [a_message("push", f"device-{place}", id=f"m-{place}", deadline=None) for place in range(count)]


async def test_over_tls_http2_is_agreed_on_and_a_server_that_nobody_vouches_for_is_given_nothing() -> None:
    server, client = loopback_tls("h2")
    fake = a_watching()
    async with served_over_http2(fake, tls=server):
        async with a_provider(f"{fake.origin}/apns", context=client) as provider:
            assert all(isinstance(result, Accepted) for result in await provider.deliver(pushes(20)))
        async with a_provider(f"{fake.origin}/apns") as provider:
            assert await provider.deliver(pushes(2)) == [NotSent("tls_failed")] * 2
    assert len(fake.shown) == 20


async def test_one_token_serves_for_forty_minutes_and_then_there_is_another() -> None:
    fake, clock = a_watching(), DrivenClock(NOW)
    async with served_over_http2(fake), a_provider(f"{fake.origin}/apns", clock) as provider:
        for _ in range(3):
            assert all(isinstance(result, Accepted) for result in await provider.deliver(pushes(20)))
            clock.advance(timedelta(minutes=19))
        assert len(set(fake.shown[:40])) == 1
        await provider.deliver(pushes(1))
        assert len(set(fake.shown)) == 2


async def test_a_connection_that_is_told_to_go_away_loses_nothing_that_is_called_not_sent_and_sends_nothing_twice() -> None:
    fake = a_watching()
    async with served_over_http2(fake, most=7), a_provider(f"{fake.origin}/apns") as provider:
        results = []
        for first in range(0, 60, 6):
            results += await provider.deliver(pushes(60)[first : first + 6])
    taken = [one.reference for _, one in fake.kept]
    assert len(taken) == len(set(taken))
    for place, result in enumerate(results):
        assert isinstance(result, Accepted | Unknown | NotSent), result
        if isinstance(result, Accepted | NotSent):
            assert (f"m-{place}" in taken) == isinstance(result, Accepted)
    assert sum(isinstance(result, Accepted) for result in results) > 20


class Cut:
    """A server that ends a connection once it has read so much of it: nothing, the preface, or the frame that begins a request."""

    def __init__(self, after: str) -> None:
        self.after = after
        self.connections = 0
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self.after != "nothing":
            await reader.readexactly(len(PREFACE))
            if self.after == "request":
                while (frame := await reader.readexactly(9))[3] != HEADERS:
                    await reader.readexactly(int.from_bytes(frame[:3], "big"))
                self.requests += 1
        writer.transport.abort()


@pytest.mark.parametrize("after", ["nothing", "preface", "request"])
async def test_a_connection_that_is_cut_is_never_called_not_sent_once_a_request_was_written(after: str) -> None:
    cut = Cut(after)
    server = await asyncio.start_server(cut.serve, "127.0.0.1", 0)
    async with server, a_provider(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as provider:
        results = await provider.deliver(pushes(1))
    assert all(isinstance(result, Unknown | NotSent) for result in results), results
    if after == "request":
        assert (results, cut.requests, cut.connections) == ([Unknown("connection_lost")], 1, 1)


async def test_a_request_that_is_not_answered_is_unknown_when_its_time_is_over() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server, a_provider(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as provider:
        assert await provider.deliver(pushes(1)) == [Unknown("answer_timeout")]


async def test_a_batch_shares_a_connection() -> None:
    fake, opened = a_watching(), 0
    async with served_over_http2(fake):
        host, port = "127.0.0.1", int(fake.origin.rpartition(":")[2])

        async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            there, back = await asyncio.open_connection(host, port)
            await asyncio.gather(pumped(reader, back), pumped(there, writer))

        proxy = await asyncio.start_server(passed, host, 0)
        async with proxy, a_provider(f"http://{host}:{proxy.sockets[0].getsockname()[1]}/apns") as provider:
            results = await provider.deliver(pushes(50)) + await provider.deliver(pushes(50))
        assert all(isinstance(result, Accepted) for result in results)
    assert opened == 1


async def pumped(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while part := await source.read(65_536):
        sink.write(part)
        await sink.drain()
    sink.close()


def test_over_http2_nobody_can_be_kept_from_private_addresses_so_that_is_not_promised() -> None:
    with pytest.raises(ValueError, match="HTTP/2"):
        Carrier(public_only=True, http2=True)
