"""Wires the notifier: turns what is passed in into a service that somebody else starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fastapi import FastAPI

from libs.common import lifecycle
from libs.common.api import Described, Readiness, make_app
from libs.common.auth import Keys
from libs.common.bus.ports import Subscription
from libs.common.cloudevents import Reader, Writer
from libs.common.contracts.catalogue import FACTS, OUTCOMES, PROFILES, TASKS, group_of
from libs.common.db import migrate
from libs.common.lifecycle import Service, Worker
from libs.common.metrics import Metrics
from libs.common.outbox import Outbox, Relay
from libs.common.outlets import Outlet
from libs.common.ports import Ports
from libs.common.settings import Kept
from libs.common.sweeping import Sweep, Sweeper
from libs.common.watching import Watcher, base_gauges
from libs.compliance import CapScope, Packs, load_packs, longest_reach
from services.notifier.announcing import SOURCE, Announcer
from services.notifier.asking import Asker
from services.notifier.authorizing import Desk
from services.notifier.calendars import Calendars
from services.notifier.claiming import Claimer
from services.notifier.connections import Connector, Hearing
from services.notifier.contact_book import Book
from services.notifier.directory import Directory
from services.notifier.domain.tenant import TenantSettings
from services.notifier.handlers import TOPICS, Intake
from services.notifier.mailbox import Mailbox
from services.notifier.metrics import NotifierMetrics
from services.notifier.permitting import Till
from services.notifier.providers.port import Provider
from services.notifier.providers.sandbox import SandboxProvider
from services.notifier.publishing import Publisher
from services.notifier.receiving import Receiver
from services.notifier.recording import Recorder
from services.notifier.replying import Listener
from services.notifier.routes import Inside, router
from services.notifier.routes.accounts import AccountDesk
from services.notifier.routes.accounts import routes_of as account_routes
from services.notifier.routes.authorize import routes_of as authorize_routes
from services.notifier.routes.personal import routes_of as personal_routes
from services.notifier.routes.preferences import routes_of as preference_routes
from services.notifier.routes.providers import routes_of as provider_routes
from services.notifier.routes.recognising import routes_of as recognising_routes
from services.notifier.routes.replies import routes_of as reply_routes
from services.notifier.routes.shapes import SHAPES
from services.notifier.routes.switch import routes_of as switch_routes
from services.notifier.routes.templates import routes_of as template_routes
from services.notifier.sender import Sender
from services.notifier.settings import Settings
from services.notifier.store import keeping, queue
from services.notifier.tables import SCHEMA
from services.notifier.tending import Ward
from services.notifier.texts import Texts
from services.notifier.unreported import Querier
from services.notifier.watcher import DeliveryWatch
from services.notifier.wording import languages

GROUP = group_of(SCHEMA)
JOINS_MS = 50
"""How long a fact may wait for others to join its batch: otherwise each watermark, every second on every partition, makes payments wait."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a test may replace in the shipped notifier: packs, providers."""

    packs: Packs | None = None
    providers: Sequence[Provider] | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """The wired parts."""

    directory: Directory
    intake: Intake
    sender: Sender
    relay: Relay
    watch: DeliveryWatch
    outlet: Outlet
    receiver: Receiver
    asker: Asker
    sweeper: Sweeper


def build(ports: Ports, settings: Settings, options: Options | None = None) -> Service:
    """Return the notifier, wired but not started."""
    options = options or Options()
    packs = options.packs or load_packs()
    ring = settings.ring
    mailbox = Mailbox(ports.engine, ports.clock, ring, settings.digest_key)
    providers = {p.name: p for p in options.providers or [SandboxProvider(mailbox.keep)]}
    metrics = Metrics()
    directory = Directory(
        ports.engine,
        ports.clock,
        ring,
        settings.digest_key,
        builtin=providers,
        public_url=settings.public_url,
        private_hosts=settings.private_hosts,
    )
    parts = _parts(ports, settings, packs, directory=directory, metrics=NotifierMetrics.of(metrics, tuple(providers)))
    readiness = Readiness()
    app = make_app(
        Described(
            "Dunwell notifier", "Decides on contacts, sends and tracks them", ports.version, (FACTS, PROFILES, TASKS, OUTCOMES), SHAPES
        ),
        keys=Keys(ports.engine, SCHEMA, ports.clock, ports.tokens), metrics=metrics, readiness=readiness,
    )  # fmt: skip
    app.include_router(router(Inside(ports.engine, ports.clock, packs, directory)))
    app.include_router(switch_routes(ports.engine, ports.clock, packs))
    app.include_router(template_routes(Publisher(ports.engine, ports.clock, parts.sender.claimer.texts, packs)))
    parts.outlet.open(app, TenantSettings, read_by="contacts:read")
    app.include_router(preference_routes(ports.engine, ports.clock))
    book = Book(ports.engine, ports.clock, ring, settings.digest_key, mailbox)
    app.include_router(personal_routes(ports.engine, book))
    app.include_router(recognising_routes(book))
    app.include_router(authorize_routes(_desk(ports, settings, parts)))
    app.include_router(provider_routes(ports.engine))
    receiver = parts.receiver
    listener = Listener(
        ports.engine, ports.clock, receiver.outbox, receiver.announcer, directory, directory.fetch, languages()
    )  # fmt: skip
    directory.hears = Hearing(receiver, listener).of
    app.include_router(reply_routes(listener))
    app.include_router(account_routes(AccountDesk(ports.engine, ports.clock, directory, receiver, fakes=settings.fakes)))
    return _service(ports, parts, app, metrics)


def _parts(
    ports: Ports, settings: Settings, packs: Packs, *, directory: Directory, metrics: NotifierMetrics
) -> Parts:  # fmt: skip
    outbox = Outbox(SCHEMA)
    announcer = Announcer(Writer(SOURCE, ports.bus.partitions))
    outlet = Outlet.of(ports, SCHEMA, settings.outlets)
    receiver = Receiver(ports.engine, ports.clock, outbox, announcer, directory, directory.fetch)
    resolve_within = timedelta(seconds=settings.resolve_within_s)
    claimer = Claimer(
        engine=ports.engine, clock=ports.clock, outbox=outbox, announcer=announcer, packs=packs, texts=Texts.load(settings.links),
        directory=directory, metrics=metrics, calendars=Calendars(packs, metrics.holidays_end),
        partitions=ports.bus.partitions, stale_after=timedelta(seconds=settings.stale_after_s), grace=timedelta(seconds=settings.grace_s),
        resolve_within=resolve_within, group=GROUP, places=len(TOPICS) * ports.bus.partitions,
    )  # fmt: skip
    sender = Sender(
        till=Till(ports.engine, ports.clock, metrics), ward=Ward(ports.engine, ports.clock), claimer=claimer,
        recorder=Recorder(ports.engine, ports.clock, outbox, announcer, resolve_within, ports.bus.reads_again, receiver.catch_up),
        directory=directory,
        ring=directory.ring, batch=settings.batch, answer_within_s=settings.answer_within_s,
        start_within_s=settings.start_within_s, metrics=metrics,
    )  # fmt: skip
    return Parts(
        directory, Intake(ports.clock, outbox, announcer, Reader.of(*TOPICS), metrics, resolve_within, directory.ring), sender,
        Relay(ports.engine, outbox, ports.bus, outlet.kept),
        DeliveryWatch(ports.engine, ports.clock, metrics), outlet, receiver,
        Asker(receiver, metrics, Querier(receiver, metrics)), _sweeper(ports, settings.kept, packs),
    )  # fmt: skip


def _sweeper(ports: Ports, kept: Kept, packs: Packs) -> Sweeper:
    sweeps = (
        Sweep(kept.requests, keeping.forget_requests), Sweep(kept.requests, keeping.forget_history),
        Sweep(kept.spent, keeping.forget_sandbox), Sweep(kept.spent, keeping.forget_parts), Sweep(kept.requests, keeping.forget_slots),
        Sweep(kept.requests, keeping.forget_unclaimed),
        Sweep(longest_reach(packs, CapScope.NUMBER), keeping.forget_nameless),
    )  # fmt: skip
    return Sweeper(ports.engine, ports.clock, SCHEMA, sweeps)


def _desk(ports: Ports, settings: Settings, parts: Parts) -> Desk:
    claimer = parts.sender.claimer
    return Desk(
        ports.engine, ports.clock, claimer.packs, parts.directory, settings.digest_key, claimer.partitions, claimer.stale_after
    )  # fmt: skip


def _service(ports: Ports, parts: Parts, app: FastAPI, metrics: Metrics) -> Service:
    consumer = ports.bus.consume(_subscription(ports, parts))
    readiness = app.state.readiness
    watcher = Watcher(ports, SCHEMA, [parts.watch.look, base_gauges(ports, SCHEMA, metrics, [consumer])], metrics, readiness=readiness)

    async def start() -> None:
        if missing := await migrate.pending(ports.engine, SCHEMA):
            raise RuntimeError(missing)
        await parts.sender.settle_in()

    async def close() -> None:
        await parts.directory.close()

    async def pump() -> int:
        sent = await parts.sender.drain()
        asked = await parts.asker.drain() if parts.directory.in_use else 0
        return sent + asked + await parts.relay.drain()

    async def next_due() -> datetime | None:
        async with ports.engine.connect() as conn:
            return await queue.next_due(conn)

    readiness.checks.update(lifecycle.checks(ports, consumer))
    workers = (
        lifecycle.consumer("consumer", consumer),
        Worker("sender", parts.sender.run),
        Worker("asker", parts.asker.run),
        Worker("relay", parts.relay.run),
        Worker("watcher", watcher.run),
        *parts.outlet.workers(metrics),
        Worker("listener", Connector(ports.engine, parts.directory).run),
        Worker("sweeper", parts.sweeper.run),
    )
    return Service(
        name=SCHEMA, app=app, workers=workers, consumers=(consumer,), readiness=readiness, start=start, close=close, pump=pump,
        next_due=next_due,
    )  # fmt: skip


def _subscription(ports: Ports, parts: Parts) -> Subscription:
    async def after_commit() -> None:
        parts.sender.wake.set()
        parts.relay.outbox.wake.set()

    return Subscription(
        group=GROUP, topics=tuple(topic.name for topic in TOPICS), handler=parts.intake.take, engine=ports.engine, schema=SCHEMA,
        joins_ms=JOINS_MS, after_commit=after_commit, on_went_back=parts.sender.went_back,
    )  # fmt: skip
