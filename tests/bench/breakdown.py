"""Where the time of ingest goes: the real handlers on batches in memory, one after the other, with a stopwatch around each stage."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

from libs.common import sealing
from libs.common.bus.inprocess import InProcessBus, InProcessWorker
from libs.common.bus.ports import Message, Record
from libs.common.clock import WallClock
from libs.common.contracts.catalogue import LOAN_EVENTS_TOPIC
from libs.common.db import positions
from libs.common.db.engine import make_engine
from libs.common.lifecycle import spare_the_collector
from libs.common.outbox import Outbox
from libs.common.ports import Ports
from services.ingest import service as ingest
from services.ingest.handlers import Handlers
from services.ingest.ledger import Ledger
from services.ingest.settings import Settings
from services.ingest.store import events as log
from services.ingest.store import loans as store
from tests.bench.events import PARTITIONS, TENANT, Book
from tests.bench.ingest import check_ledger
from tests.bench.machine import cpu_s
from tests.bench.stack import Stack

BATCH = 1_000
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("decode", Handlers, "_read"),
    ("position", positions, "move"),
    ("lock", store, "lock"),
    ("log", Ledger, "_log_rows"),
    ("log", log.Adding, "add"),
    ("fold", Ledger, "_fold"),
    ("read the log again", log, "of_loans"),
    ("say", Ledger, "announce"),
    ("write loans", store, "save"),
    ("write loans", store, "link"),
    ("outbox", Outbox, "append"),
)
REST = "transaction and rest"


@dataclass
class Tracer:
    """Time spent in each stage itself, excluding the stages it calls."""

    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    _inside: list[str] = field(default_factory=lambda: [REST])
    _since: tuple[float, float] = (0.0, 0.0)

    def begin(self) -> None:
        """Start counting."""
        self._since = time.perf_counter(), time.process_time()

    def turn(self, stage: str | None) -> None:
        """Count the time passed, and enter a stage or (None) leave it."""
        wall, cpu = time.perf_counter(), time.process_time()
        inside = self._inside[-1]
        self.wall[inside] = self.wall.get(inside, 0) + wall - self._since[0]
        self.cpu[inside] = self.cpu.get(inside, 0) + cpu - self._since[1]
        self._since = wall, cpu
        if stage is None:
            self._inside.pop()
        else:
            self._inside.append(stage)

    @contextmanager
    def within(self, stage: str) -> Any:
        """Count a block as a stage."""
        self.turn(stage)
        try:
            yield
        finally:
            self.turn(None)

    def around(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with a stopwatch."""

        @functools.wraps(function)
        def plain(*args: Any, **kwargs: Any) -> Any:
            with self.within(stage):
                return function(*args, **kwargs)

        @functools.wraps(function)
        async def waited(*args: Any, **kwargs: Any) -> Any:
            with self.within(stage):
                return await function(*args, **kwargs)

        return waited if inspect.iscoroutinefunction(function) else plain


@contextmanager
def traced() -> Any:
    """Put stopwatches around the stages for the duration of the block."""
    tracer, before = Tracer(), [(owner, name, getattr(owner, name)) for _, owner, name in STAGES]
    for stage, owner, name in STAGES:
        setattr(owner, name, tracer.around(stage, getattr(owner, name)))
    try:
        yield tracer
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


async def run(stack: Stack, book: Book) -> list[str]:
    """Ingest the events, and return the microseconds per event of each stage."""
    async with stack.database("ingest") as url:
        async with handlers(url) as take:
            postgres = cpu_s(stack.postgres_pid)
            with traced() as tracer:
                tracer.begin()
                for batch in batches(book):
                    await take(batch)
                tracer.turn(None)
            postgres = cpu_s(stack.postgres_pid) - postgres
        await check_ledger(url, book)
    events = len(book.events)
    total = sum(tracer.wall.values())
    lines = [
        f"  {stage:<22} {wall * 1e6 / events:6.1f} us, of which {tracer.cpu[stage] * 1e6 / events:6.1f} us CPU of the process"
        for stage, wall in tracer.wall.items()
    ]
    cpu = sum(tracer.cpu.values())
    return [
        *lines,
        f"  {'all':<22} {total * 1e6 / events:6.1f} us, CPU {cpu * 1e6 / events:.1f}, of postgres {postgres * 1e6 / events:.1f}",
    ]


@asynccontextmanager
async def handlers(url: str) -> AsyncIterator[Callable[[Sequence[Record]], Any]]:
    """Yield a function that ingests a batch as the consumer does, without a broker."""
    spare_the_collector()
    clock = WallClock()
    engine = make_engine(url, application="ingest")
    bus = InProcessBus(clock=clock, partitions=PARTITIONS)
    service = ingest.build(Ports(engine, bus, clock, "bench"), Settings((TENANT,), sealing.new_pair()[1], sealing.random_key()))
    worker = service.consumers[0]
    assert isinstance(worker, InProcessWorker)
    await service.start()
    await worker.join()

    async def take(batch: Sequence[Record]) -> None:
        await worker._intake.take(batch, expected=batch[0].offset)

    try:
        yield take
    finally:
        await engine.dispose()


def batches(book: Book) -> list[list[Record]]:
    """Return the events as the bus would deliver them: in batches of one partition each."""
    by_partition: dict[int, list[Message]] = {}
    for sent in book.events:
        message = sent.message
        by_partition.setdefault(message.partition, []).append(message)
    now, made = WallClock().now(), []
    for partition, messages in by_partition.items():
        records = [Record(LOAN_EVENTS_TOPIC.name, partition, n, m.key, m.value, m.headers, now) for n, m in enumerate(messages)]
        made += [records[at : at + BATCH] for at in range(0, len(records), BATCH)]
    return made
