"""One of our services running in the test's process, on a real database and the in-process bus."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import msgspec
import uvicorn
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.types import ASGIApp

from libs.common import auth, sealing
from libs.common.auth import Principal
from libs.common.bounded_requests import BoundedRequests
from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import Message, Record, Subscription
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Envelope, Reader
from libs.common.contracts.catalogue import Topic
from libs.common.lifecycle import Service
from libs.common.outbox import Outbox, said_in
from libs.common.ports import Ports
from libs.common.settings import Outlets
from services.ingest import service as ingest
from services.ingest.settings import Settings as IngestSettings
from tests.support.wallet import NOON, Event

KEY = "test-key"
LOOK_EVERY_S = 0.02
NDJSON = {"Content-Type": "application/x-ndjson"}


@dataclass
class Heard:
    """What an outside consumer has read from some topics, in order."""

    reader: Reader
    messages: list[tuple[Envelope, Any]] = field(default_factory=list)

    async def take(self, _: AsyncConnection, records: Sequence[Record]) -> None:
        """Keep a batch."""
        self.messages += [self.reader.read(record) for record in records]

    def of(self, *types: str) -> list[Any]:
        """Return the data of the messages of these types."""
        return [data for envelope, data in self.messages if envelope.type in types]


@dataclass
class Running:
    """A service that ingests what is published."""

    service: Service
    bus: InProcessBus
    clock: DrivenClock
    engine: AsyncEngine
    client: httpx.AsyncClient

    async def post(self, *events: Event) -> Any:
        """Publish events over HTTP; all of them must be accepted."""
        body = b"\n".join(msgspec.json.encode(event) for event in events)
        answer = await self.client.post("/v1/events", content=body, headers=NDJSON)
        assert answer.status_code == 202, answer.text
        assert answer.json()["rejected"] == []
        await self.service.pump()
        return answer.json()

    async def get(self, path: str, **params: Any) -> Any:
        """Return the answer of a path."""
        answer = await self.client.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()


@asynccontextmanager
async def running_ingest(
    engine: AsyncEngine, *topics: Topic, tenants: tuple[str, ...] = ("default",), outlets: Outlets | None = None
) -> AsyncIterator[tuple[Running, Heard]]:
    """Ingest on this database, at noon, with a listener on these topics."""
    clock = DrivenClock(NOON)
    bus = InProcessBus(clock=clock)
    _, public = sealing.new_pair()
    told = IngestSettings(tenants, public, b"d" * 32, publish_before_answer=True, outlets=outlets or Outlets())
    service = ingest.build(Ports(engine, bus, clock, "test"), told)
    heard = Heard(Reader.of(*topics))
    workers = [*service.consumers]
    if topics:
        workers.append(bus.consume(Subscription("test", tuple(t.name for t in topics), heard.take, engine, "ingest")))
    await add_key(engine, "ingest", tenants[0])
    await service.start()
    tasks = [asyncio.create_task(worker.run()) for worker in workers]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://test", headers=bearer()) as client:
        try:
            yield Running(service, bus, clock, engine, client), heard
        finally:
            for worker in workers:
                await worker.stop()
            await asyncio.gather(*tasks)


@asynccontextmanager
async def served(app: ASGIApp, protocol: type[BoundedRequests] = BoundedRequests) -> AsyncIterator[str]:
    """The app behind a real server on a free loopback port, and its URL."""
    server = uvicorn.Server(uvicorn.Config(app, http=protocol, host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started, what="the server")
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


async def add_key(engine: AsyncEngine, schema: str, tenant: str, key: str = KEY) -> None:
    """Store a key of that tenant with every scope."""
    async with engine.begin() as conn:
        await auth.add_key(conn, schema, key, Principal(tenant, "tester", frozenset(auth.SCOPES)))


def bearer(key: str = KEY) -> dict[str, str]:
    """Return the authorization header for a key."""
    return {"Authorization": f"Bearer {key}"}


async def unpublished(engine: AsyncEngine, schema: str) -> list[Message]:
    """Return the messages in the outbox, in order."""
    async with engine.connect() as conn:
        return said_in(await Outbox(schema).lowest(conn, 1_000_000))


async def until(
    condition: Callable[[], Any], what: str = "the condition", *, within_s: float = 20.0, look_every_s: float = LOOK_EVERY_S
) -> Any:
    """Wait until the condition returns something true, and return it; TimeoutError after a limit."""
    try:
        async with asyncio.timeout(within_s):
            while True:
                found = condition()
                found = await found if asyncio.iscoroutine(found) else found
                if found:
                    return found
                await asyncio.sleep(look_every_s)
    except TimeoutError:
        raise TimeoutError(f"{what} did not come within {within_s:g} s") from None
