"""The one place that makes HTTP calls, and says at which stage a call failed.

What matters is not which error was raised but whether a byte of the request had been written by then: aiohttp, and httpx over HTTP/2,
tell us right before they write the first one. Nothing is retried, no redirect is followed, no cookie is kept, no proxy is taken from the
environment.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Literal, Protocol

import aiohttp
import httpx

from libs.common.clock import stopwatch
from libs.common.dialing import why
from libs.common.public import PublicResolver, public_socket

NOT_IN_TIME = "not_in_time"
"""Why a call that had to start by a certain moment was not begun."""
KEPT_S = 60.0
"""How long an idle HTTP/2 connection is kept."""
BODY_LIMIT = 256 * 1024
"""The most bytes read of an answer or a receipt; anything longer is not one."""
_HEADERS = {"user-agent": "dunwell", "accept-encoding": "identity"}
"""Default headers of every request."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A request; whatever sends something is a `POST`, because a client may itself repeat methods that HTTP calls idempotent."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: Literal["POST", "GET"] = "POST"


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer; headers are looked up by lower-case name."""

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
    """How many calls at once, and how long each stage may last; in total less than the sender waits for a batch."""

    at_once: int = 100
    slot_s: float = 5.0
    connect_s: float = 3.0
    """Resolving, connecting and TLS."""
    answer_s: float = 12.0
    """From the first byte written to the last byte read."""


class _Progress:
    """The progress of one call: its deadline is extended when its first byte is written."""

    def __init__(self, scope: asyncio.Timeout, answer_s: float) -> None:
        self.begun = False
        self._scope = scope
        self._answer_s = answer_s

    def first_byte(self) -> None:
        self.begun = True
        self._scope.reschedule(asyncio.get_running_loop().time() + self._answer_s)


class _Transport(Protocol):
    """What exchanges a request for an answer, and says when it begins to write."""

    async def exchange(self, call: HttpCall, headers: Mapping[str, str], progress: _Progress) -> Answer: ...

    async def close(self) -> None: ...


class Caller:
    """Makes a limited number of calls at once; with `public_only`, only to public addresses."""

    def __init__(
        self, limits: Limits | None = None, *, public_only: bool = False, context: ssl.SSLContext | None = None, http2: bool = False
    ) -> None:
        if http2 and public_only:
            raise ValueError("over HTTP/2 addresses cannot be checked")
        self.limits = limits or Limits()
        context = context or (ssl.create_default_context() if http2 else _trusting_the_usual())
        self._slots = asyncio.Semaphore(self.limits.at_once)
        self._transport: _Transport = _Http2(self.limits, context) if http2 else _Http1(self.limits, context, public_only=public_only)

    async def call(self, call: HttpCall, *, start_by: float | None = None) -> Answer:
        """Return the answer; CallFailedError where there is none, NOT_IN_TIME where it got no slot by that reading of the stopwatch."""
        await self._slot()
        try:
            if start_by is not None and stopwatch() > start_by:
                raise CallFailedError(NOT_IN_TIME, begun=False)
            return await self._carry(call)
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Close the kept connections."""
        await self._transport.close()

    async def _slot(self) -> None:
        if not self._slots.locked():
            await self._slots.acquire()
            return
        try:
            async with asyncio.timeout(self.limits.slot_s):
                await self._slots.acquire()
        except TimeoutError:
            raise CallFailedError("no_slot", begun=False) from None

    async def _carry(self, call: HttpCall) -> Answer:
        scope = asyncio.timeout(self.limits.connect_s)
        progress = _Progress(scope, self.limits.answer_s)
        try:
            async with scope:
                return await self._transport.exchange(call, {**_HEADERS, **call.headers}, progress)
        except Exception as error:  # whatever it is, only whether a byte was written matters
            timed_out = isinstance(error, TimeoutError)
            if progress.begun:
                raise CallFailedError("answer_timeout" if timed_out else "connection_lost", begun=True) from error
            raise CallFailedError(why(error), begun=False) from error


class _Http1:
    """Keeps connections alive and gives each one request at a time."""

    def __init__(self, limits: Limits, context: ssl.SSLContext, *, public_only: bool) -> None:
        self._limits = limits
        self._context = context
        self._public_only = public_only
        self._session: aiohttp.ClientSession | None = None

    async def exchange(self, call: HttpCall, headers: Mapping[str, str], progress: _Progress) -> Answer:
        """Return the answer; any exception means that there is none."""
        if self._session is None:
            self._session = self._open()
        asked = self._session.request(
            call.method, call.url, data=call.body or None, headers=headers, allow_redirects=False, trace_request_ctx=progress
        )
        async with asked as answer:
            return Answer(answer.status, answer.headers, await _whole(answer.content.iter_any()))

    async def close(self) -> None:
        """Close the kept connections."""
        if self._session is not None:
            await self._session.close()

    def _open(self) -> aiohttp.ClientSession:
        """Return a session; one can only be made inside the event loop."""
        trace = aiohttp.TraceConfig()
        trace.on_request_headers_sent.append(_on_first_byte)
        connector = aiohttp.TCPConnector(
            limit=self._limits.at_once,
            ssl=self._context,
            resolver=PublicResolver() if self._public_only else None,
            use_dns_cache=not self._public_only,
            socket_factory=public_socket if self._public_only else None,
        )
        return aiohttp.ClientSession(
            connector=connector, trace_configs=[trace], cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, auto_decompress=False,
            timeout=aiohttp.ClientTimeout(),
        )  # fmt: skip


class _Http2:
    """Shares one HTTP/2 connection between requests."""

    def __init__(self, limits: Limits, context: ssl.SSLContext) -> None:
        bounds = httpx.Limits(max_connections=limits.at_once, max_keepalive_connections=1, keepalive_expiry=KEPT_S)
        self._transport = httpx.AsyncHTTPTransport(verify=context, http1=False, http2=True, limits=bounds, trust_env=False)

    async def exchange(self, call: HttpCall, headers: Mapping[str, str], progress: _Progress) -> Answer:
        """Return the answer; any exception means that there is none."""

        async def on_step(step: str, _: dict[str, object]) -> None:
            if step == "http2.send_request_headers.started":
                progress.first_byte()

        request = httpx.Request(call.method, call.url, headers=headers, content=call.body, extensions={"trace": on_step})
        response = await self._transport.handle_async_request(request)
        try:
            return Answer(response.status_code, response.headers, await _whole(response.aiter_raw()))
        finally:
            await response.aclose()

    async def close(self) -> None:
        """Close the kept connection."""
        await self._transport.aclose()


@cache
def _trusting_the_usual() -> ssl.SSLContext:
    """Return the context of HTTP/1.1 calls: reading the machine's certificate authorities takes longer than building the service."""
    return ssl.create_default_context()


async def _whole(parts: AsyncIterable[bytes]) -> bytes:
    """Return a body; one that exceeds the limit is not an answer."""
    body = b""
    async for part in parts:
        body += part
        if len(body) > BODY_LIMIT:
            raise ValueError("too long for an answer")
    return body


async def _on_first_byte(_: aiohttp.ClientSession, context: SimpleNamespace, __: aiohttp.TraceRequestHeadersSentParams) -> None:
    progress: _Progress = context.trace_request_ctx
    progress.first_byte()
