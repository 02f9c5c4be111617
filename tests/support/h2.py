"""Fakes over HTTP/2, served by hypercorn."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.wire import HttpCall


class _Bound(Config):
    """Where it listens, with TLS if there is a context."""

    def __init__(self, listening: socket.socket, tls: ssl.SSLContext | None) -> None:
        self.bind = [f"fd://{listening.detach()}"]
        self._tls = tls

    @property
    def ssl_enabled(self) -> bool:
        return self._tls is not None

    def create_ssl_context(self) -> ssl.SSLContext | None:
        return self._tls


@asynccontextmanager
async def served_over_http2(fake: FakeProviders, *, most: int = 100_000, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeProviders]:
    """Listen until the end of the block; after so many requests a connection is sent GOAWAY."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    fake.origin = f"{'https' if tls else 'http'}://127.0.0.1:{listening.getsockname()[1]}"
    config, ended = _Bound(listening, tls), asyncio.Event()
    config.errorlog = None
    config.keep_alive_max_requests = most
    config.graceful_timeout = 0.1

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        assert scope["http_version"] == "2"
        body, more = b"", True
        while more:
            part = await receive()
            body, more = body + part.get("body", b""), part.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path = scope["raw_path"].decode()
        said = fake.answer(path.split("/")[1], HttpCall(f"{fake.origin}{path}", headers, body))
        named = [(name.encode(), value.encode()) for name, value in said.headers.items()]
        await send({"type": "http.response.start", "status": said.status, "headers": named})
        await send({"type": "http.response.body", "body": said.body})

    serving = asyncio.create_task(serve(app, config, shutdown_trigger=ended.wait))
    try:
        yield fake
    finally:
        ended.set()
        await serving
