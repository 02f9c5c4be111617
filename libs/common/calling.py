"""The one place that calls others over HTTP, and says where a call failed.

What decides is not which error was raised but whether a byte of the request had been written when it was: aiohttp tells us right before
it writes the first one. The names of the errors say less (its httpx transport calls a connection that was lost after the request
`ConnectTimeout`). Nothing is repeated, no redirect is followed, no cookie kept, no proxy taken from the environment.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Literal

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from libs.common.clock import stopwatch
from libs.common.dialing import why
from libs.common.public import PublicResolver, public_socket

AGENT = "dunwell"
NOT_IN_TIME = "not_in_time"
"""Why a call was not begun that had to start by a certain moment."""
KEPT_S = 60.0
"""For how long a connection over HTTP/2 is kept that nothing uses."""
BODY_LIMIT = 256 * 1024
"""Bytes of an answer or a receipt that are read; what is longer is none."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request; what sends something is always a `POST`: what HTTP calls idempotent, a client may repeat by itself."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: Literal["POST", "GET"] = "POST"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CallFailedError(Exception):
    """There is no answer; `begun` says whether a byte of the request had been written."""

    def __init__(self, why: str, *, begun: bool) -> None:
        super().__init__(why)
        self.why = why
        self.begun = begun


@dataclass(frozen=True, slots=True)
class Limits:
    """How many calls at once, and for how long each part of one may last; together less than the sender waits for a batch."""

    at_once: int = 100
    slot_s: float = 5.0
    connect_s: float = 3.0
    """Resolving, connecting and TLS."""
    answer_s: float = 12.0
    """From the first byte written to the last byte read."""


class _Progress:
    """How far one call has come."""

    def __init__(self, written: Callable[[], None]) -> None:
        self.begun = False
        self._written = written

    def first_byte(self) -> None:
        self.begun = True
        self._written()


_PROGRESS: ContextVar[_Progress] = ContextVar("progress")


class Caller:
    """Makes calls, so many at once; with `public_only`, to none but public addresses."""

    def __init__(
        self, limits: Limits | None = None, *, public_only: bool = False, context: ssl.SSLContext | None = None, http2: bool = False
    ) -> None:
        if http2 and public_only:
            raise ValueError("over HTTP/2 no address can be kept out")
        self.limits = limits or Limits()
        self._public_only = public_only
        self._context = context or (ssl.create_default_context() if http2 else _trusting_the_usual())
        self._slots = asyncio.Semaphore(self.limits.at_once)
        self._transport = self._over_http2() if http2 else AiohttpTransport(verify=self._context, client=self._session)

    async def call(self, call: HttpCall, *, start_by: float | None = None) -> Answer:
        """Return the answer; CallFailedError where there is none, NOT_IN_TIME where it had no slot by that second of the stopwatch."""
        try:
            async with asyncio.timeout(self.limits.slot_s):
                await self._slots.acquire()
        except TimeoutError:
            raise CallFailedError("no_slot", begun=False) from None
        try:
            if start_by is not None and stopwatch() > start_by:
                raise CallFailedError(NOT_IN_TIME, begun=False)
            return await self._carry(call)
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close the connections that were kept."""
        await self._transport.aclose()

    async def _carry(self, call: HttpCall) -> Answer:
        loop = asyncio.get_running_loop()
        scope = asyncio.timeout(self.limits.connect_s)
        progress = _Progress(lambda: scope.reschedule(loop.time() + self.limits.answer_s))
        before = _PROGRESS.set(progress)
        try:
            async with scope:
                return await self._exchange(call)
        except Exception as error:  # whatever it is: only whether a byte was written counts
            timed_out = isinstance(error, TimeoutError)
            if progress.begun:
                raise CallFailedError("answer_timeout" if timed_out else "connection_lost", begun=True) from error
            raise CallFailedError(why(error), begun=False) from error
        finally:
            _PROGRESS.reset(before)

    async def _exchange(self, call: HttpCall) -> Answer:
        headers = {"user-agent": AGENT, "accept-encoding": "identity", **call.headers}
        request = httpx.Request(call.method, call.url, headers=headers, content=call.body, extensions={"trace": _on_step})
        response = await self._transport.handle_async_request(request)
        try:
            body = b""
            async for part in response.aiter_raw():
                body += part
                if len(body) > BODY_LIMIT:
                    raise ValueError("too long for an answer")
        finally:
            await response.aclose()
        return Answer(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)

    def _over_http2(self) -> httpx.AsyncHTTPTransport:
        """Return a transport whose calls share a connection; nothing but HTTP/2 is spoken on it."""
        limits = httpx.Limits(max_connections=self.limits.at_once, max_keepalive_connections=1, keepalive_expiry=KEPT_S)
        return httpx.AsyncHTTPTransport(verify=self._context, http1=False, http2=True, limits=limits, trust_env=False)

    def _session(self) -> aiohttp.ClientSession:
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_on_first_byte)
        connector = aiohttp.TCPConnector(
            limit=self.limits.at_once,
            ssl=self._context,
            resolver=PublicResolver() if self._public_only else None,
            use_dns_cache=not self._public_only,
            socket_factory=public_socket if self._public_only else None,
        )
        return aiohttp.ClientSession(connector=connector, trace_configs=[trace], cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


@cache
def _trusting_the_usual() -> ssl.SSLContext:
    """Return the context of HTTP/1.1 calls: to read the machine's authorities takes longer than to build the service that calls."""
    return ssl.create_default_context()


async def _on_step(step: str, _: dict[str, object]) -> None:
    """Hear from the HTTP/2 transport that it will now write a request on its connection; the other one has no such steps."""
    if step == "http2.send_request_headers.started":
        _PROGRESS.get().first_byte()


async def _on_first_byte(_: aiohttp.ClientSession, __: SimpleNamespace, ___: aiohttp.TraceRequestHeadersSentParams) -> None:
    _PROGRESS.get().first_byte()
