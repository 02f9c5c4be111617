"""Wires ingest: the ledger between the wallets' topics and the facts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import logs
from libs.common.api import Described, Readiness, add_straight, make_app
from libs.common.auth import Keys
from libs.common.bus.gathering import Gathering, Publish
from libs.common.bus.ports import BusWorker, DeadLetterBudget, Message, Subscription, UndeliveredError
from libs.common.clock import Clock
from libs.common.cloudevents import Writer
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC, FACTS, LOAN_EVENTS_TOPIC, PROFILES, of_tenant
from libs.common.db import lineage, migrate
from libs.common.lifecycle import Service, Worker, checks, consumer
from libs.common.metrics import Metrics
from libs.common.outbox import Outbox, Relay
from libs.common.outlets import Outlet
from libs.common.ports import Ports
from libs.common.sealing import Ring
from libs.common.sweeping import Sweep, Sweeper
from libs.common.tenant_settings.forms import ServiceSettings
from libs.common.watching import Watcher, base_gauges
from services.ingest import observing
from services.ingest.borrowers import Borrowers, Sealer
from services.ingest.deciding import ParkedDesk
from services.ingest.handlers import Handlers, Route
from services.ingest.intake import ANSWER_WITHIN_S, HttpIntake
from services.ingest.ledger import SOURCE, Ledger
from services.ingest.observing import IngestMetrics
from services.ingest.readers import Readers
from services.ingest.rebuilding import Rebuild, Upgrade
from services.ingest.retelling import Log
from services.ingest.rewrapping import Rewrap
from services.ingest.routes import event_route, loan_routes, parked_routes, product_routes, report_routes, source_routes, statement_routes
from services.ingest.routes.loans import LoanReader
from services.ingest.routes.products import ProductDesk
from services.ingest.routes.report import Reporter
from services.ingest.routes.shapes import SHAPES
from services.ingest.routes.sources import SourceDesk
from services.ingest.routes.statement import StatementDesk
from services.ingest.settings import Settings
from services.ingest.statement_page import StatementPage
from services.ingest.store import keeping, loans, parked
from services.ingest.store.products import ProductBook
from services.ingest.tables import GROUP, SCHEMA
from services.ingest.ticker import Ticker
from services.ingest.watermarks import Watermarks

JOINS_MS = 100
"""How long an event may wait for others: one transaction per two or three events would cost more than everything else."""
BATCH_RECORDS = 4000
"""A payment waits half a second behind this many; batches of a quarter of this size cost a fifth more per event."""

GATHERS_S = 0.005
"""How long a request may wait for as many others as came last time: a round trip to the broker costs as much as twenty requests."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """Parts that the wiring uses more than once."""

    ports: Ports
    ledger: Ledger
    borrowers: Borrowers
    relay: Relay
    ticker: Ticker
    watermarks: Watermarks
    worker: BusWorker
    metrics: Metrics
    own: IngestMetrics
    outlet: Outlet


def build(ports: Ports, settings: Settings) -> Service:
    """Return ingest, wired; nothing runs yet."""
    parts = _parts(ports, settings)
    readiness = Readiness(checks(ports, parts.worker))
    described = Described(
        "Dunwell ingest",
        "Loan events become overdue facts",
        ports.version,
        (LOAN_EVENTS_TOPIC, BORROWER_EVENTS_TOPIC, FACTS, PROFILES),
        SHAPES,
    )
    app = make_app(described, keys=Keys(ports.engine, SCHEMA, ports.clock, ports.tokens), metrics=parts.metrics, readiness=readiness)

    gathering = Gathering(_and_what_follows(parts) if settings.publish_before_answer else ports.bus.publish, GATHERS_S)
    within_s = None if settings.publish_before_answer else ANSWER_WITHIN_S
    intake = HttpIntake(gathering.publish, ports.bus.partitions, settings.tenants, parts.own, parts.own.durable, within_s)
    add_straight(app, event_route(intake))
    products = parts.ledger.products
    log = Log(ports.engine, ports.clock, products)
    app.include_router(loan_routes(LoanReader(ports.engine, log)))
    app.include_router(statement_routes(StatementDesk(log, StatementPage.load())))
    app.include_router(report_routes(Reporter(ports.engine, ports.clock, products)))
    app.include_router(product_routes(ProductDesk(ports.engine, ports.clock, products)))
    parts.outlet.open(app, ServiceSettings, read_by="loans:read")
    app.include_router(parked_routes(ParkedDesk(ports.engine, ports.clock, parts.ledger, parts.borrowers)))
    app.include_router(source_routes(SourceDesk(ports.engine, ports.clock)))
    return Service(
        name="ingest",
        app=app,
        workers=[
            consumer("consumer", parts.worker),
            Worker("relay", parts.relay.run),
            Worker("ticker", parts.ticker.run),
            Worker("watermarks", parts.watermarks.run),
            Worker("upgrade", Upgrade(ports.engine, parts.ledger).run),
            Worker("watcher", _watcher(parts, readiness).run),
            *parts.outlet.workers(parts.metrics),
            Worker("sweeper", Sweeper(ports.engine, ports.clock, SCHEMA, [Sweep(settings.kept.spent, keeping.forget_parked)]).run),
        ],
        consumers=[parts.worker],
        readiness=readiness,
        start=_start(parts),
        close=_nothing,
        pump=_pump(parts),
        next_due=lambda: _next_due(parts),
    )


def rebuild(engine: AsyncEngine, clock: Clock, *, partitions: int, repair: bool) -> Rebuild:
    """Return the rebuild of the ledger in this database; its messages wait in the outbox for a running service."""
    return Rebuild(engine, Ledger(clock, Outbox(SCHEMA), Writer(SOURCE, partitions), ProductBook()), repair)


def rewrap(engine: AsyncEngine, clock: Clock, ring: Ring, *, partitions: int, batch: int) -> Rewrap:
    """Return the rotation of sealing keys in this database; its messages wait in the outbox for a running service."""
    borrowers = Borrowers(clock, Outbox(SCHEMA), Writer(SOURCE, partitions), Sealer(ring.public, b""))
    return Rewrap(engine, borrowers, ring, batch)


def _parts(ports: Ports, settings: Settings) -> _Parts:
    outbox, writer, metrics = Outbox(SCHEMA), Writer(SOURCE, ports.bus.partitions), Metrics()
    own = observing.make(metrics)
    ledger = Ledger(ports.clock, outbox, writer, ProductBook())
    borrowers = Borrowers(ports.clock, outbox, writer, Sealer(settings.sealing_public, settings.digest_key))
    outlet = Outlet.of(ports, SCHEMA, settings.outlets)
    relay = Relay(ports.engine, outbox, ports.bus, outlet.kept)
    routes = _routes(settings)
    budget = DeadLetterBudget(1000)
    handlers = Handlers(routes, ledger, borrowers, outbox, budget, own)
    subscription = Subscription(
        GROUP, tuple(routes), handlers.on_records, ports.engine, SCHEMA,
        batch_records=BATCH_RECORDS, joins_ms=JOINS_MS, after_commit=_wake(outbox), on_went_back=lambda: _went_back(ports), budget=budget,
    )  # fmt: skip
    watermarks = Watermarks(ports.engine, ports.bus, ports.clock, outbox, writer, tuple(routes), own)
    worker = ports.bus.consume(subscription)
    ticker = Ticker(ports.engine, ledger, own, waiting=lambda: sum(worker.health.lag.values()), untaken=Readers(ports.bus).untaken)
    return _Parts(ports, ledger, borrowers, relay, ticker, watermarks, worker, metrics, own, outlet)


def _and_what_follows(parts: _Parts) -> Publish:
    """Return a function that publishes events and waits until everything that follows from them is published too."""

    async def publish(messages: Sequence[Message]) -> None:
        try:
            await parts.ports.bus.publish(messages)
        except UndeliveredError:
            await parts.relay.drain()
            raise
        await parts.relay.drain()

    return publish


def _routes(settings: Settings) -> dict[str, Route]:
    """Return the topics to read, with the tenant of each."""
    return {
        of_tenant(topic, tenant, first=settings.tenants[0]): Route(tenant, topic is BORROWER_EVENTS_TOPIC)
        for tenant in settings.tenants
        for topic in (LOAN_EVENTS_TOPIC, BORROWER_EVENTS_TOPIC)
    }


def _wake(outbox: Outbox) -> Callable[[], Awaitable[None]]:
    async def wake() -> None:
        outbox.wake.set()

    return wake


def _start(parts: _Parts) -> Callable[[], Awaitable[None]]:
    async def start() -> None:
        """Check that the schema is this release's and the database still the same; in a new epoch every fact is published again."""
        if (missing := await migrate.pending(parts.ports.engine, SCHEMA)) is not None:
            raise RuntimeError(missing)
        async with parts.ports.engine.begin() as conn:
            found = await lineage.check(conn, SCHEMA)
            if found.rose:
                await loans.wake_published(conn, await parts.ports.clock.at(conn))
        logs.get("ingest").info("started", epoch=found.epoch)

    return start


async def _went_back(ports: Ports) -> None:
    """Begin a new epoch: what this database published after the point it went back to is no longer in it."""
    async with ports.engine.begin() as conn:
        await lineage.raise_epoch(conn, SCHEMA)
        await loans.wake_published(conn, await ports.clock.at(conn))


def _pump(parts: _Parts) -> Callable[[], Awaitable[int]]:
    async def pump() -> int:
        done = await parts.ticker.one_pass()
        await parts.worker.observe()
        await parts.watermarks.say()
        return done + await parts.relay.drain()

    return pump


async def _next_due(parts: _Parts) -> datetime | None:
    async with parts.ports.engine.connect() as conn:
        return await loans.next_at(conn)


def _watcher(parts: _Parts, readiness: Readiness) -> Watcher:
    own = parts.own

    async def look() -> None:
        async with parts.ports.engine.connect() as conn:
            now = await parts.ports.clock.at(conn)
            due, oldest = await loans.backlog(conn, now)
            waiting = await parked.counts(conn)
        own.timers_due.set(due)
        own.timer_oldest.set(oldest.timestamp() if oldest else 0)
        own.parked.clear()
        own.parked_oldest.clear()
        for reason, number, since in waiting:
            own.parked.labels(reason).set(number)
            own.parked_oldest.labels(reason).set(since.timestamp())

    base = base_gauges(parts.ports, SCHEMA, parts.metrics, [parts.worker])
    return Watcher(parts.ports, SCHEMA, [look, base], parts.metrics, readiness=readiness)


async def _nothing() -> None:
    """Do nothing: engine and bus are closed by whoever made them."""
