"""The three services in one process, on an embedded PostgreSQL and an in-process bus."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import auth, sealing
from libs.common.api import answer, render_problems
from libs.common.auth import Principal
from libs.common.bus.inprocess import InProcessBus
from libs.common.clock import Clock
from libs.common.db import migrate
from libs.common.db.embedded import EmbeddedPostgres
from libs.common.db.engine import make_engine
from libs.common.heads import AnsweringHeads
from libs.common.lifecycle import Listening, Service
from libs.common.page_links import PageLinks, Verifier
from libs.common.ports import Ports
from libs.common.problems import problem
from libs.common.settings import Outlets, SettingsError, page_url, public_url, version
from services.ingest import service as ingest
from services.ingest.settings import Settings as IngestSettings
from services.notifier import service as notifier
from services.notifier.settings import Settings as NotifierSettings
from services.scheduler import service as scheduler
from services.scheduler.elsewhere import Elsewhere
from services.scheduler.settings import Settings as SchedulerSettings

DATABASE = "dunwell"
TENANT = "default"
DEV_KEYS = {"dunwell-dev": "dev", "dunwell-dev-2": "dev-2"}
"""Keys of two persons, so that one can approve what the other wrote; only ever on loopback."""
PAGE = "borrower-page"
LOOPBACK = ("127.0.0.1", "::1", "localhost")
PARTITIONS = 1
"""One process consumes partitions one after the other, so more of them would only mean more transactions."""
MOST_ROUNDS = 1000
"""The most rounds of pumping in one moment; more would mean that the services trigger each other endlessly."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How the platform is reached: from this machine alone or not, by borrowers, and by providers."""

    loopback: bool = True
    page_url: str | None = None
    """Where borrowers reach their page; None: their messages carry no link."""
    public_url: str | None = None
    """Where providers reach the notifier; None: no provider is asked for receipts."""

    @classmethod
    def over(cls, listening: Listening) -> Reached:
        """Derive it from the listening address; on loopback, that address also serves borrowers and providers."""
        host = f"[{listening.host}]" if ":" in listening.host else listening.host
        loopback = listening.host in LOOPBACK
        own = f"http://{host}:{listening.port}" if loopback else None
        return cls(loopback, page_url() or (own and f"{own}/scheduler"), public_url() or (own and f"{own}/notifier"))


ON_THIS_MACHINE = Reached()


@dataclass(frozen=True, slots=True)
class Secrets:
    """The keys of a one-process platform; made at its first start and kept in its folder."""

    sealing_private: bytes
    sealing_public: bytes
    digest: bytes
    sealing_older: tuple[bytes, ...] = ()

    @property
    def page_key(self) -> str:
        """Return the key with which the scheduler calls the other services for a borrower, who has none."""
        return f"dw_{sealing.as_text(sealing.digest(self.digest, TENANT, 'key', PAGE))}"

    @property
    def link_key(self) -> bytes:
        """Return the key with which the links to the page are signed."""
        return sealing.digest(self.digest, TENANT, "links", PAGE)


@dataclass(slots=True)
class Platform:
    """Everything in one process, wired but not started."""

    engine: AsyncEngine
    bus: InProcessBus
    clock: Clock
    ingest: Service
    scheduler: Service
    notifier: Service
    app: FastAPI

    @property
    def services(self) -> Sequence[Service]:
        """Return the three services, in the order in which data flows."""
        return self.ingest, self.scheduler, self.notifier

    async def settle(self) -> int:
        """Do everything due at this moment, in every service, until nothing is left; for a driven clock."""
        total = 0
        for _ in range(MOST_ROUNDS):
            done = sum([await service.pump() for service in self.services])
            if not done:
                return total
            total += done
        raise RuntimeError("the services do not come to rest")

    async def next_due(self) -> datetime | None:
        """Return the next moment at which one of the services has something to do."""
        moments = [await service.next_due() for service in self.services]
        return min((m for m in moments if m is not None), default=None)


def read_secrets(folder: Path) -> Secrets:
    """Return the folder's keys, made if there are none, readable only by their owner."""
    path = folder / "keys.json"
    if not path.exists():
        private, public = sealing.new_pair()
        made = {"sealing_private": private, "sealing_public": public, "digest": sealing.random_key()}
        folder.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump({name: base64.b64encode(key).decode() for name, key in made.items()}, file)
    stored = {name: base64.b64decode(key) for name, key in json.loads(path.read_text()).items()}
    return Secrets(stored["sealing_private"], stored["sealing_public"], stored["digest"])


@asynccontextmanager
async def running_postgres(folder: Path) -> AsyncIterator[EmbeddedPostgres]:
    """Run the folder's PostgreSQL until this ends; one platform at a time, as a second would not hear what the first publishes."""
    with _alone_in(folder):
        postgres = await asyncio.to_thread(EmbeddedPostgres, folder / "postgres")
        try:
            yield postgres
        finally:
            await postgres.stop()


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Lock a folder; the kernel releases it however this process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "in-use.lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"another dunwell runs on {folder}; choose another folder with --data") from None
        yield


async def migrate_all(engine: AsyncEngine) -> None:
    """Bring all three schemas to their newest version."""
    for service in migrate.SERVICES:
        await migrate.upgrade(engine, service)


async def put_page_key(engine: AsyncEngine, secrets: Secrets) -> None:
    """Let the scheduler ask the others what the borrower's page needs, and nothing else."""
    async with engine.begin() as conn:
        for schema, scope in (("ingest", "loans:read"), ("notifier", "contacts:read")):
            await auth.add_key(conn, schema, secrets.page_key, Principal(TENANT, None, frozenset({scope})))


async def put_dev_keys(engine: AsyncEngine, *, allowed: bool) -> None:
    """Add the two development keys, or remove them where the platform can be reached from outside."""
    async with engine.begin() as conn:
        for schema in migrate.SERVICES:
            for token, person in DEV_KEYS.items():
                if allowed:
                    await auth.add_key(conn, schema, token, Principal(TENANT, person, frozenset(auth.SCOPES), loopback_only=True))
                else:
                    await auth.remove_key(conn, schema, token)


def build(
    engine: AsyncEngine, secrets: Secrets, clock: Clock, *, seed: int | None = None, settle_s: float = 2.0, at: Reached = ON_THIS_MACHINE
) -> Platform:  # fmt: skip
    """Wire the three services on one bus; with a `seed` the bus misbehaves at random, over partitions that overtake each other.

    If reached from this machine alone, it may call webhooks on this machine.
    """
    outlets = Outlets(webhook_key=secrets.sealing_private, local=at.loopback)
    bus = InProcessBus(clock=clock, seed=seed, partitions=PARTITIONS if seed is None else 4)
    ports = Ports(engine, bus, clock, version())
    takes = IngestSettings((TENANT,), secrets.sealing_public, secrets.digest, publish_before_answer=seed is None, outlets=outlets)
    links = PageLinks(at.page_url, secrets.link_key) if at.page_url else None
    opens = NotifierSettings(
        secrets.sealing_private, secrets.digest, fakes=True, outlets=outlets, sealing_older=secrets.sealing_older,
        public_url=at.public_url, links=links,
    )  # fmt: skip
    ledger, sending = ingest.build(ports, takes), notifier.build(ports, opens)
    elsewhere = Elsewhere({service.name: _within(service) for service in (ledger, sending)})
    plans = SchedulerSettings(
        settle_s=settle_s, outlets=outlets, tenants=(TENANT,), service_keys={TENANT: secrets.page_key}, page_url=at.page_url,
        links=Verifier((secrets.link_key,), (TENANT,)),
    )  # fmt: skip
    parts = ledger, scheduler.build(ports, plans, elsewhere), sending
    return Platform(engine, bus, clock, *parts, _root(parts))


def _within(service: Service) -> httpx.AsyncClient:
    """Return a client that calls a service of this process as others call it over HTTP, with the caller's own key."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=service.app), base_url=f"http://{service.name}")


async def open_platform(postgres: EmbeddedPostgres, folder: Path, clock: Clock, at: Reached) -> Platform:
    """Create the database if it is missing, migrate it, and wire the platform on it."""
    engine = make_engine(await postgres.create(DATABASE), application="embedded", pool_size=16)
    await migrate_all(engine)
    await put_dev_keys(engine, allowed=at.loopback)
    secrets = read_secrets(folder)
    await put_page_key(engine, secrets)
    return build(engine, secrets, clock, at=at)


def _root(services: Sequence[Service]) -> FastAPI:
    app = FastAPI(title="Dunwell", docs_url=None, redoc_url=None, openapi_url=None)
    render_problems(app)
    app.add_middleware(AnsweringHeads)

    @app.get("/")
    async def index() -> HTMLResponse:
        rows = "".join(
            f'<li><b>{s.name}</b>: <a href="/{s.name}/docs">API</a>, <a href="/{s.name}/asyncapi.json">messages</a>,'
            f' <a href="/{s.name}/metrics">metrics</a>, <a href="/{s.name}/readyz">ready?</a></li>'
            for s in services
        )
        return HTMLResponse(
            f"<!doctype html><html lang=en><meta charset=utf-8><title>Dunwell</title><h1>Dunwell</h1><ul>{rows}</ul></html>"
        )

    @app.get("/healthz")
    async def healthz() -> Response:
        return answer({"status": "alive"})

    @app.get("/readyz")
    async def readyz(_: Request) -> Response:
        missing = {f"{s.name}.{check}": why for s in services for check, why in (await s.readiness.missing()).items()}
        if missing:
            return problem(
                503, "not_ready", "; ".join(f"{k}: {v}" for k, v in missing.items()), headers={"Retry-After": "2"}, checks=missing
            )
        return answer({"status": "ready"})

    for service in services:
        app.mount(f"/{service.name}", service.app)
    return app
