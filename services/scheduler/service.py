"""Wires the scheduler; starts nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import httpx

from libs.common import lifecycle, logs
from libs.common.api import Described, Readiness, make_app
from libs.common.auth import Keys
from libs.common.bus.ports import Subscription
from libs.common.cloudevents import Reader, Writer
from libs.common.contracts.catalogue import CASES, FACTS, OUTCOMES, PROFILES, TASKS, group_of
from libs.common.db import lineage, migrate
from libs.common.metrics import Metrics
from libs.common.outbox import Outbox, Relay
from libs.common.outlets import Outlet
from libs.common.ports import Ports
from libs.common.settings import Kept
from libs.common.sweeping import Sweep, Sweeper
from libs.common.watching import Watcher, base_gauges
from services.scheduler.acting import Desk
from services.scheduler.authorizing import Gate
from services.scheduler.borrower.acts import Actor
from services.scheduler.borrower.linking import Links
from services.scheduler.borrower.page import BorrowerPage
from services.scheduler.borrower.reception import Reception
from services.scheduler.borrower.settings import PageSettings
from services.scheduler.casework import Casework
from services.scheduler.changing import LET_FACTS_BY
from services.scheduler.correcting import Review
from services.scheduler.dealing import Dealer
from services.scheduler.dossier import Archive
from services.scheduler.editing import PolicyDesk
from services.scheduler.elsewhere import Elsewhere
from services.scheduler.experimenting import Guard
from services.scheduler.handlers import Intake
from services.scheduler.metrics import meters
from services.scheduler.parking import ParkingLimit
from services.scheduler.pausing import SOURCE
from services.scheduler.routes import make_router
from services.scheduler.routes.borrower import routes_of as borrower_routes
from services.scheduler.routes.cases import Rooms
from services.scheduler.routes.links import routes_of as link_routes
from services.scheduler.routes.shapes import SHAPES
from services.scheduler.routes.simulations import Play
from services.scheduler.settings import Settings
from services.scheduler.simulator import Simulator
from services.scheduler.store import keeping, watch
from services.scheduler.tables import SCHEMA
from services.scheduler.ticker import Ticker
from services.scheduler.watcher import Alarm, CaseWatch

GROUP = group_of(SCHEMA)
BATCH_RECORDS = 4000
"""A batch of this size delays a fact by half a second; a quarter of it costs a tenth more per fact."""
JOINS_MS = 50
"""How long a fact may wait for others: watermarks alone arrive on all partitions every second, each in its own transaction otherwise."""


def build(ports: Ports, settings: Settings, elsewhere: Elsewhere | None = None) -> lifecycle.Service:
    """Return the scheduler on these ports; other services are reached at their addresses, unless `elsewhere` is given."""
    elsewhere = elsewhere or _elsewhere(settings)
    metrics, outbox = Metrics(), Outbox(SCHEMA)
    measured = meters(metrics)
    desk = Desk(Writer(SOURCE, ports.bus.partitions), outbox, measured, ParkingLimit(), tenants=settings.tenants)
    ticker = Ticker(ports.engine, ports.clock, desk, ports.bus.partitions)
    intake = Intake(desk, Review(desk), ports.clock, timedelta(seconds=settings.settle_s), Reader.of(FACTS, PROFILES, OUTCOMES))

    async def after_commit() -> None:
        outbox.wake.set()
        ticker.wake.set()

    subscription = Subscription(
        group=GROUP, topics=(FACTS.name, PROFILES.name, OUTCOMES.name), handler=intake.take, engine=ports.engine, schema=SCHEMA,
        batch_records=BATCH_RECORDS, joins_ms=JOINS_MS, after_commit=after_commit, on_went_back=lambda: _note_restore(ports),
    )  # fmt: skip
    outlet = Outlet.of(ports, SCHEMA, settings.outlets)
    consumer, relay = ports.bus.consume(subscription), Relay(ports.engine, outbox, ports.bus, outlet.kept)
    base = base_gauges(ports, SCHEMA, metrics, [consumer])
    readiness = Readiness(lifecycle.checks(ports, consumer))
    watcher = Watcher(
        ports, SCHEMA, [CaseWatch(ports.engine, ports.clock, measured).look, Alarm(ports.engine, ports.clock, desk).look, base], metrics,
        readiness=readiness,
    )  # fmt: skip
    described = Described("Dunwell scheduler", "Decides what to say or do next, and when", ports.version, (TASKS, CASES), SHAPES)
    dealer = Dealer(ports.engine, ports.clock, desk, ticker.wake.set)
    policy_desk = PolicyDesk(ports.engine, ports.clock, elsewhere, needs_simulation=settings.approval_needs_simulation)
    archive = Archive(ports.engine, ports.clock, desk.rulebook, elsewhere)
    guard = Guard(ports.engine, ports.clock, desk.rulebook)
    rooms = Rooms(ports.engine, ports.clock, desk.rulebook, policy_desk, ticker.wake.set, dealer, archive)
    simulator = Simulator(ports.engine, ports.clock, timedelta(seconds=settings.settle_s), settings.simulation_processes)
    app = make_app(described, keys=Keys(ports.engine, SCHEMA, ports.clock, ports.tokens), metrics=metrics, readiness=readiness)
    outlet.open(app, PageSettings, read_by="cases:read")
    casework, gate = Casework(ports.engine, ports.clock, desk, ticker.wake.set), Gate(elsewhere.clients.get("notifier"))
    app.include_router(make_router(rooms, casework, gate, Play(simulator.wake.set)))
    links = Links(ports.engine, ports.clock, Elsewhere(elsewhere.clients, settings.service_keys), settings.links)
    app.include_router(link_routes(links, settings.page_url))
    app.include_router(borrower_routes(Reception(ports.engine, links, Actor(casework, dealer), BorrowerPage.load(), desk.rulebook)))
    return lifecycle.Service(
        name=SCHEMA, app=app, readiness=readiness, consumers=(consumer,), start=lambda: _start(ports), close=elsewhere.close,
        workers=(
            lifecycle.consumer("consumer", consumer), lifecycle.Worker("ticker", ticker.run), lifecycle.Worker("relay", relay.run),
            lifecycle.Worker("watcher", watcher.run), *outlet.workers(metrics), lifecycle.Worker("simulator", simulator.run, by_time=False),
            lifecycle.Worker("guard", guard.run), lifecycle.Worker("sweeper", _sweeper(ports, settings.kept).run),
        ),
        pump=lambda: _pump(ticker, guard, relay), next_due=lambda: _next_due(ports),
    )  # fmt: skip


async def _start(ports: Ports) -> None:
    """Check that the schema matches this release, and record the database's position."""
    if (missing := await migrate.pending(ports.engine, SCHEMA)) is not None:
        raise RuntimeError(missing)
    async with ports.engine.begin() as conn:
        found = await lineage.check(conn, SCHEMA)
    if found.rose:
        logs.get("scheduler").warning("database_moved", epoch=found.epoch)


def _sweeper(ports: Ports, kept: Kept) -> Sweeper:
    sweeps = (
        Sweep(kept.facts, keeping.forget_facts), Sweep(kept.facts, keeping.forget_contacts),
        Sweep(kept.spent, keeping.forget_links), Sweep(kept.spent, keeping.forget_simulations),
    )  # fmt: skip
    return Sweeper(ports.engine, ports.clock, SCHEMA, sweeps)


async def _note_restore(ports: Ports) -> None:
    """Record that the database was restored to an earlier moment: the bus knows of a later one."""
    async with ports.engine.begin() as conn:
        raised = await lineage.raise_epoch(conn, SCHEMA)
    logs.get("scheduler").warning("database_went_back", epoch=raised.epoch)


def _elsewhere(settings: Settings) -> Elsewhere:
    """Return clients of the other services; engine and bus belong to whoever made them, these clients to the scheduler."""
    places = {"ingest": settings.ingest_url, "notifier": settings.notifier_url}
    return Elsewhere({name: httpx.AsyncClient(base_url=url) for name, url in places.items() if url}, settings.service_keys)


async def _pump(ticker: Ticker, guard: Guard, relay: Relay) -> int:
    """Stop experiments that must be, then plan everything due and publish the results until nothing is left."""
    total = await guard.look()
    while done := await ticker.make_pass():
        total += done
    return total + await relay.drain()


async def _next_due(ports: Ports) -> datetime | None:
    async with ports.engine.connect() as conn:
        return await watch.next_due(conn, LET_FACTS_BY)
