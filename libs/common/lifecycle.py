"""The life of a process: workers that end it when they die, readiness that says why, and a shutdown that loses nothing."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import uvicorn
from fastapi import FastAPI

from libs.common import logs
from libs.common.api import Check, Readiness
from libs.common.bounded_requests import BoundedRequests
from libs.common.bus.ports import BusWorker
from libs.common.clock import pause
from libs.common.db.engine import answers
from libs.common.ports import Ports

WORKERS_END_WITHIN_S = 20.0
EXIT_DEAD_WORKER = 70
COLLECT_AFTER = 200_000
BACKLOG = 2048


@dataclass(frozen=True, slots=True)
class Worker:
    """Something that runs until stopped; a worker that returns earlier or raises has died."""

    name: str
    run: Callable[[asyncio.Event], Awaitable[None]]
    by_time: bool = True
    """Whether it acts on its own as time passes; such a worker does not run while something else drives the clock."""


@dataclass(slots=True)
class Service:
    """A service, wired but not started."""

    name: str
    app: FastAPI
    workers: Sequence[Worker]
    consumers: Sequence[BusWorker]
    readiness: Readiness
    start: Callable[[], Awaitable[None]]
    """Run once before the workers: checks that the database is still the same one."""
    close: Callable[[], Awaitable[None]]
    pump: Callable[[], Awaitable[int]]
    """Do everything due now and publish the results, once, without the workers; returns how much was done. For a driven clock."""
    next_due: Callable[[], Awaitable[datetime | None]]
    """The next moment at which something is due; None when nothing is waiting. For a driven clock."""


@dataclass(slots=True)
class Ending:
    """Why the process ends."""

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    code: int = 0
    reason: str = ""

    def ask(self, reason: str, code: int = 0) -> None:
        """Ask for the end; the first reason counts."""
        if not self.asked.is_set():
            self.reason, self.code = reason, code
            self.asked.set()


def checks(ports: Ports, worker: BusWorker) -> dict[str, Check]:
    """Return the readiness checks of every service: its database, the bus, and a running consumer."""

    async def database() -> str | None:
        return await answers(ports.engine)

    async def consuming() -> str | None:
        health = worker.health
        if health.stopped_topics:
            return f"too many unusable records on {', '.join(sorted(health.stopped_topics))}"
        return None if health.joined else f"the consumer has not joined its group: {health.last_error or 'not yet'}"

    return {"database": database, "bus": ports.bus.ready, "consumer": consuming}


def consumer(name: str, worker: BusWorker) -> Worker:
    """Return a consumer group as a worker."""

    async def run(stop: asyncio.Event) -> None:
        running = asyncio.ensure_future(worker.run())
        stopping = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if stop.is_set():
                await worker.stop()
            await running
        finally:
            stopping.cancel()
            running.cancel()

    return Worker(name, run, by_time=False)


@dataclass(slots=True)
class Crew:
    """The running workers of some services."""

    services: Sequence[Service]
    ending: Ending
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def set_to_work(self, *, by_time: bool) -> None:
        """Start the workers of one kind."""
        chosen = [(service, worker) for service in self.services for worker in service.workers if worker.by_time is by_time]
        self.tasks += [asyncio.create_task(_watched(service, worker, self.stop, self.ending)) for service, worker in chosen]

    async def rest(self) -> None:
        """Stop all of them, letting each finish its work in hand."""
        self.stop.set()
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=WORKERS_END_WITHIN_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)


@contextlib.asynccontextmanager
async def working(services: Sequence[Service], ending: Ending, *, clock_is_driven: bool = False) -> AsyncIterator[Crew]:
    """Run the workers of these services; one that dies asks for the end. While the clock is driven, those that act by time wait."""
    crew = Crew(services, ending)
    for service in services:
        await service.start()
    crew.set_to_work(by_time=False)
    if not clock_is_driven:
        crew.set_to_work(by_time=True)
    try:
        yield crew
    finally:
        await crew.rest()
        for service in services:
            await service.close()


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to serve, and how long to keep serving once the end was asked for."""

    host: str
    door: socket.socket
    drain_s: float

    @property
    def port(self) -> int:
        """Return the port it listens on."""
        return int(self.door.getsockname()[1])


@contextlib.contextmanager
def listening_on(host: str, port: int, *, drain_s: float, choose: str) -> Iterator[Listening]:
    """Take the port before anything else is started; if it is not available, an OSError says how to choose another."""
    try:
        door = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG)
    except OSError as error:
        why = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
        raise OSError(f"cannot listen on {host}:{port}: {why}; choose another port with {choose}") from error
    with door:
        yield Listening(host, door, drain_s)


async def serve(
    app: FastAPI, services: Sequence[Service], listening: Listening, *, prepare: Callable[[], Awaitable[None]] | None = None
) -> int:
    """Serve until a signal or a dead worker, and return the exit code; not ready until `prepare` has returned."""
    spare_the_collector()
    ending = Ending()
    server = _Server(
        uvicorn.Config(
            app, http=BoundedRequests, ws="none", log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=30
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.ask, number.name)
    async with working(services, ending, clock_is_driven=prepare is not None) as crew:
        serving = asyncio.create_task(server.serve([listening.door]))
        asked = asyncio.create_task(ending.asked.wait())
        preparing = asyncio.create_task(_prepare(crew, prepare))
        await asyncio.wait({serving, asked}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            ending.ask("the server ended", 1)
        await drain(services, ending, listening.drain_s)
        server.should_exit = True
        asked.cancel()
        preparing.cancel()
        await asyncio.gather(serving, preparing, return_exceptions=True)
    return ending.code


def spare_the_collector() -> None:
    """Collect cyclic garbage rarely: a batch makes tens of thousands of values that live as long as it does, and no cycles.

    Scanning them took a fifth of the CPU time of ingestion.
    """
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER, 50, 100)


async def drain(services: Sequence[Service], ending: Ending, drain_s: float) -> None:
    """Report not ready and keep serving until the load balancer has noticed."""
    for service in services:
        service.readiness.closed = f"ending: {ending.reason}"
    logs.get("lifecycle").info("ending", reason=ending.reason, code=ending.code)
    if ending.code in (0, EXIT_DEAD_WORKER):
        await pause(asyncio.Event(), drain_s)


async def _prepare(crew: Crew, prepare: Callable[[], Awaitable[None]] | None) -> None:
    if prepare is None:
        return
    for service in crew.services:
        service.readiness.closed = "starting"
    try:
        await prepare()
    except Exception as error:  # noqa: BLE001  # it runs in a task of its own: the reason for the end must say what happened there
        logs.get("lifecycle").error("preparing_failed", reason=str(error)[:500], exc_info=error)
        crew.ending.ask(f"preparing failed: {error}", EXIT_DEAD_WORKER)
        return
    crew.set_to_work(by_time=True)
    for service in crew.services:
        service.readiness.closed = None


async def _watched(service: Service, worker: Worker, stop: asyncio.Event, ending: Ending) -> None:
    try:
        await worker.run(stop)
        if not stop.is_set():
            raise RuntimeError("it returned without being asked to stop")
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  # whatever killed it, the process must end and say why
        reason = f"worker {service.name}/{worker.name} died: {type(error).__name__}: {error}"
        service.readiness.closed = reason
        logs.get("lifecycle").error("worker_died", worker=f"{service.name}/{worker.name}", reason=reason[:500], exc_info=error)
        ending.ask(reason, EXIT_DEAD_WORKER)


class _Server(uvicorn.Server):
    """uvicorn would close its socket at SIGTERM, while the load balancer still sends; here the lifecycle decides."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield
