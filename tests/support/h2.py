"""Fakes over HTTP/2, without TLS, as hypercorn speaks it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config

from services.notifier.providers.fake.server import FakeProviders
from services.notifier.providers.wire import HttpCall


@asynccontextmanager
async def served_over_http2(fake: FakeProviders, *, most: int = 100_000) -> AsyncIterator[FakeProviders]:
    """Listen until the end of the block; after so many requests a connection is told to go away."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    fake.origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config, ended = Config(), asyncio.Event()
    config.bind = [f"fd://{listening.detach()}"]
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
