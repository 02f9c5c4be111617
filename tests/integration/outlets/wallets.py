"""A wallet that listens: what was sent to it, whether the signature is right, and how it answers."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine
from standardwebhooks import webhooks

from libs.common.clock import DrivenClock
from libs.common.feed.keeping import Bell
from libs.common.metrics import Metrics
from libs.common.settings import Outlets
from libs.common.webhooks.delivering import Deliverer
from libs.common.webhooks.metrics import WebhookMetrics

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
KEY = b"k" * 32
OUTLETS = Outlets(webhook_key=KEY, local=True)


@dataclass
class Wallet:
    """Takes calls; `answers` says how, call by call, and 200 once it is empty."""

    port: int = 0
    calls: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[web.Response] = field(default_factory=list)
    held: asyncio.Event = field(default_factory=asyncio.Event)
    on_call: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.held.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        """Return the events of all calls, in order."""
        said = [msgspec.json.decode(body) for _, body in self.calls]
        return [event for one in said for event in (one if isinstance(one, list) else [one])]

    @property
    def subjects(self) -> list[str]:
        return [event["subject"] for event in self.events]

    def are_signed(self, secret: str = SECRET) -> bool:
        """Say whether the specification's own library would have signed every call just so."""
        return all(
            headers["webhook-signature"]
            == webhooks.Webhook(secret).sign(
                headers["webhook-id"], datetime.fromtimestamp(int(headers["webhook-timestamp"]), tz=UTC), body.decode()
            )
            for headers, body in self.calls
        )

    async def take(self, request: web.Request) -> web.Response:
        self.calls.append(({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        self.on_call()
        await self.held.wait()
        return self.answers.pop(0) if self.answers else web.Response()


@asynccontextmanager
async def a_wallet() -> AsyncIterator[Wallet]:
    """A wallet on this machine."""
    wallet, app = Wallet(), web.Application()
    app.router.add_route("*", "/{tail:.*}", wallet.take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    wallet.port = runner.addresses[0][1]
    try:
        yield wallet
    finally:
        wallet.held.set()
        await runner.cleanup()


def a_webhook(wallet: Wallet, **changes: Any) -> dict[str, Any]:
    """Return a webhook as it is set."""
    return {"id": "main", "url": wallet.url, "topics": ["dunning.overdue-facts"], "secret": SECRET, **changes}


def a_deliverer(engine: AsyncEngine, clock: DrivenClock, schema: str = "ingest") -> Deliverer:
    """Return a worker as another replica has it."""
    return Deliverer(engine, clock, schema, KEY, Bell(), WebhookMetrics.of(Metrics()), local=True)
