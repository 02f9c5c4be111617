"""A midnight on which many loans fall due at once, through all three services on Kafka, while others are paid."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import msgspec
from aiokafka import TopicPartition

from libs.common.bus.kafka import KafkaBus
from libs.common.clock import WallClock, stopwatch
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.db.engine import make_engine
from tests.bench import due, late, silencing
from tests.bench.events import PARTITIONS, TENANT
from tests.bench.ingest import fact_ends, one_row, records, require
from tests.bench.intake import taken_in
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess, fine, whole
from tests.bench.silencing import Silencing, percentiles
from tests.bench.stack import Stack
from tests.support.apart import Apart
from tests.support.running import until

QUIET_S = 10.0
SLOWEST = 500
"""Loans per second: anything slower is broken."""
LEAST_S = 120.0
LOOK_EVERY_S = 0.1
DOCUMENT = """\
policy: wallet
cure: {cool_down: 7d}
steps:
  - {id: gentle, at: {day: 2, between: "09:30-11:30"}, send: {template: gentle, channels: [push, sms], fallback_after: 4h}}
  - {id: firm, at: {day: 7, between: "09:30-11:30"}, send: {template: firm, channels: [sms, email]}}
"""
"""A borrower who became late today is planned now and contacted tomorrow, whatever the hour at which this runs."""
INGEST, SCHEDULER, PLANS, NOTIFIER = "ingest, facts on the bus", "scheduler, cases", "scheduler, plans", "notifier, facts"
_BORROWERS = f"B-{due.PREFIX}%"
_TO_BE_PLANNED = (
    "select exists (select from scheduler.cases"
    f" where next_at < now() + interval '1 minute' and borrower_id like '{_BORROWERS}')"
)  # fmt: skip
_COMMITTED = (
    "select (select count(*) from scheduler.cases where state = 'open' and stage = 'overdue' and next_at > now()"
    f" and borrower_id like '{_BORROWERS}'), (select count(*) from scheduler.cases where borrower_id like '{_BORROWERS}'),"
    f" (select count(*) from notifier.facts where borrower_id like '{_BORROWERS}'), (select count(*) from notifier.deliveries)"
)
_storm = f"{TENANT}/{due.PREFIX}".encode()


@dataclass
class Hops:
    """When each stage had all loans, in seconds after midnight."""

    conn: asyncpg.Connection
    stack: Stack
    within_s: float
    began: float = field(default_factory=stopwatch)
    took_s: dict[str, float] = field(default_factory=dict)

    async def wait(self) -> None:
        """Return when the last stage has them."""
        await until(self._none_due, "the last loan that is due", within_s=self.within_s, look_every_s=LOOK_EVERY_S)
        last = await self.conn.fetchval("select coalesce(max(id), 0) from ingest.outbox")
        await until(lambda: self._published(last), "the last fact", within_s=self.within_s, look_every_s=LOOK_EVERY_S)
        self._note(INGEST)
        ends = await fact_ends(self.stack)
        left: dict[str, Callable[[], Awaitable[bool]]] = {
            SCHEDULER: lambda: self._taken("scheduler", ends), NOTIFIER: lambda: self._taken("notifier", ends), PLANS: self._planned,
        }  # fmt: skip

        async def look() -> bool:
            for hop in [hop for hop, has_all in left.items() if await has_all()]:
                self._note(hop)
                del left[hop]
            return not left

        await until(look, "the last hop", within_s=self.within_s, look_every_s=LOOK_EVERY_S)

    def _note(self, hop: str) -> None:
        self.took_s[hop] = stopwatch() - self.began

    async def _none_due(self) -> bool:
        return not await self.conn.fetchval("select exists (select from ingest.loans where next_at <= now())")

    async def _published(self, last: int) -> bool:
        return not await self.conn.fetchval("select exists (select from ingest.outbox where id <= $1)", last)

    async def _taken(self, schema: str, ends: Mapping[TopicPartition, int]) -> bool:
        rows = await self.conn.fetch(f"select partition, next_offset from {schema}.positions where topic = $1", FACTS.name)  # ours
        stands = dict(map(tuple, rows))
        return all(stands.get(tp.partition, 0) >= end for tp, end in ends.items())

    async def _planned(self) -> bool:
        return SCHEDULER in self.took_s and not await self.conn.fetchval(_TO_BE_PLANNED)


async def run(stack: Stack, loans: int) -> list[str]:
    """Let so many loans fall due, once, and return the figures."""
    async with stack.database() as url:
        apart = Apart(url, stack.broker.bootstrap, stack.folder / "apart", partitions=PARTITIONS)
        apart.prepare()
        await due.seed(url, loans)
        await _put_policy(url)
        async with _running(apart) as worker:
            return await _midnight(stack, apart, worker, loans)


@asynccontextmanager
async def _running(apart: Apart) -> AsyncIterator[WorkerProcess]:
    """Yield ingest, whose ticker waits for a command; the others run the program as it is."""
    worker = WorkerProcess("ticking", apart.bootstrap, apart.database_url)
    try:
        apart.start("scheduler", "notifier")
        worker.wait_for("begin")
        yield worker
    finally:
        worker.end()
        apart.stop()


async def _put_policy(url: str) -> None:
    engine = make_engine(url, application="bench")
    try:
        await late.put_policy(engine, WallClock().now(), DOCUMENT)
    finally:
        await engine.dispose()


async def _midnight(stack: Stack, apart: Apart, worker: WorkerProcess, loans: int) -> list[str]:
    url, within_s = apart.database_url, LEAST_S + loans / SLOWEST
    paying = [f"P{n:07d}" for n in range(round((QUIET_S + within_s) / silencing.EVERY_S) * silencing.AT_ONCE)]
    before = await fact_ends(stack)
    await _let_be_late(stack, url, paying)
    bus = KafkaBus(stack.broker.bootstrap, clock=WallClock(), client_id="bench", partitions=PARTITIONS)
    conn = await asyncpg.connect(url)
    payments, quiet = Silencing(bus, paying), stopwatch()
    trees = {"ingest": worker.process.pid, **{name: process.pid for name, process in apart.processes.items()}, **stack.trees}
    try:
        async with asyncio.timeout(QUIET_S + 2 * within_s), asyncio.TaskGroup() as tasks:
            tasks.create_task(payments.pay())
            tasks.create_task(payments.listen(url))
            await asyncio.sleep(QUIET_S)
            watch, hops = Stopwatch(trees), Hops(conn, stack, within_s)
            worker.say("go")
            await hops.wait()
            result, ended, payments.over = watch.stop(loans), stopwatch(), True
    finally:
        await conn.close()
        await bus.close()
    said = await _check(stack, url, before, loans)
    return [
        *_lines(result, hops.took_s),
        *_waited("before", payments, said, quiet, hops.began),
        *_waited("meanwhile", payments, said, hops.began, ended),
    ]


async def _let_be_late(stack: Stack, url: str, loans: Sequence[str]) -> None:
    """Have these loans processed by all three services, and their cases settled."""
    now = WallClock().now().replace(microsecond=0)
    await stack.put([silencing.late(name, now).message for name in loans])
    await taken_in(url, stack.put_so_far)

    async def at_rest() -> bool:
        found = await one_row(
            url,
            "select (select count(*) from scheduler.cases where state = 'open' and next_at > now() + interval '1 minute'),"
            " (select count(*) from notifier.facts)",
        )
        return tuple(found) == (len(loans), len(loans))

    await until(at_rest, "the cases of the loans to be paid", within_s=LEAST_S, look_every_s=1)


async def _check(stack: Stack, url: str, before: dict[TopicPartition, int], loans: int) -> dict[str, int]:
    """Compare every stage with the loans; return when each payment's fact reached the bus, in milliseconds of the bus's clock."""
    storm: Counter[bytes] = Counter()
    said: dict[str, int] = {}
    async for record in records(stack, before):
        if record.key.startswith(_storm):
            storm[record.key] += 1
        elif record.key.startswith(TENANT.encode()):
            fact = msgspec.json.decode(record.value, type=OverdueFact)
            if fact.overdue.total == 0:
                said[fact.loan_id] = record.timestamp
    require("the facts", Counter(storm.values()), Counter({1: loans}))
    await due.check(url, loans)
    require("what is committed", tuple(await one_row(url, _COMMITTED)), (loans, loans, loans, 0))
    return said


def _lines(found: Measured, took_s: Mapping[str, float]) -> list[str]:
    slowest = max(took_s, key=lambda hop: took_s[hop])
    return [
        *[f"  {hop:<24} {whole(found.items / seconds)} loans/s, all after {seconds:.1f} s" for hop, seconds in took_s.items()],
        f"  slowest: {slowest}; {fine(found.cpu_ms)} ms of CPU a loan ({found.cpu_parts} us)",
    ]


def _waited(when: str, payments: Silencing, said: Mapping[str, int], began: float, ended: float) -> list[str]:
    silent = payments.to_silence(began, ended)
    return [
        f"  payment to fact on the bus, {when:<10} {percentiles(payments.to_fact(said, began, ended))}",
        f"  payment to silence, {when:<18} {percentiles(silent)}, {len(silent):,} payments",
    ]
