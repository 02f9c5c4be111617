"""A midnight on which many loans fall due at once, drained while payments arrive: until the last fact is on the bus."""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import asyncpg
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from libs.common.bus.kafka import KafkaBus
from libs.common.clock import WallClock, stopwatch
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.overdue_facts import OverdueFact
from tests.bench import due
from tests.bench.events import PARTITIONS, TENANT, disbursed, repaid
from tests.bench.ingest import require
from tests.bench.intake import taken_in
from tests.bench.measuring import Measured, Stopwatch, WorkerProcess, fine, measured, spread, whole
from tests.bench.stack import Stack
from tests.support.running import until

PAYING = 500
"""Loans that are paid in the meantime."""
AT_ONCE, EVERY_S = 25, 0.25
"""A hundred payments a second; their CPU is in the figures too."""
QUIET_S = 3.0
READ = 5_000
SLOWEST = 500
"""Loans per second: anything slower is broken."""
PAYMENT = "wallet.repayment.received.v1"
_STORM = f"{TENANT}/{due.PREFIX}".encode()


@dataclass
class Payments:
    """Payments sent one after the other on overdue loans, and how long each took until its fact was on the bus."""

    bus: KafkaBus
    loans: Sequence[str]
    sent_at: dict[str, float] = field(default_factory=dict)
    over: bool = False
    took_s: dict[str, float] = field(default_factory=dict)
    _next: dict[str, int] = field(default_factory=dict)
    """The first payment of each loan that has had no fact yet."""

    async def send(self) -> None:
        """Send a few now, a few a little later, until it is over."""
        now = WallClock().now().replace(microsecond=0)
        for at in itertools.count(0, AT_ONCE):
            if self.over:
                return
            some = [repaid(self.loans[n % len(self.loans)], n // len(self.loans), now) for n in range(at, at + AT_ONCE)]
            began = stopwatch()
            self.sent_at.update({sent.id: began for sent in some})
            await self.bus.publish([sent.message for sent in some])
            await asyncio.sleep(max(0.0, EVERY_S - (stopwatch() - began)))

    def heard(self, fact: OverdueFact) -> None:
        """Record a fact that follows from a payment, and from earlier ones ingested with it."""
        if fact.caused_by not in self.sent_at:
            return
        name, _, last = fact.caused_by.rpartition("-r")
        for turn in range(self._next.get(name, 0), int(last) + 1):
            event_id = f"{name}-r{turn}"
            self.took_s[event_id] = stopwatch() - self.sent_at[event_id]
        self._next[name] = int(last) + 1

    def between(self, began: float, ended: float) -> list[float]:
        """Return the milliseconds taken by the payments sent between two moments."""
        return [took * 1000 for name, took in self.took_s.items() if began <= self.sent_at[name] <= ended]


@dataclass
class Heard:
    """The facts on the bus: the storm's by loan, the payments' by event."""

    consumer: AIOKafkaConsumer
    payments: Payments
    storm: Counter[bytes] = field(default_factory=Counter)

    async def read(self) -> None:
        """Read until cancelled."""
        while True:
            for records in (await self.consumer.getmany(timeout_ms=100, max_records=READ)).values():
                for record in records:
                    if record.key.startswith(_STORM):
                        self.storm[record.key] += 1
                    elif record.key.startswith(TENANT.encode()):
                        self.payments.heard(msgspec.json.decode(record.value, type=OverdueFact))


@dataclass
class Storm:
    """The result of a round."""

    measured: Measured
    quiet_ms: list[float]
    meanwhile_ms: list[float]


async def run(stack: Stack, loans: int, rounds: int) -> list[str]:
    """Measure in rounds, and return the figures."""
    limit, ours = [], []
    for number in range(rounds):
        limit.append(await _limit(stack, loans))
        ours.append(await _ours(stack, loans, number))
    rates = [a.measured.rate / b.rate for a, b in zip(ours, limit, strict=True)]
    return [
        *[
            f"  {name:<8} {spread([m.rate for m in rows], whole)} loans/s, {spread([m.cpu_ms for m in rows], fine)} ms of CPU a loan"
            f" ({rows[-1].cpu_parts} us)"
            for name, rows in (("limit", limit), ("ours", [one.measured for one in ours]))
        ],
        f"  ours / limit   {spread(rates, fine)} of its rate",
        f"  payment to fact, before   {_latency([one.quiet_ms for one in ours])}",
        f"  payment to fact, meanwhile {_latency([one.meanwhile_ms for one in ours])}",
    ]


def _latency(rounds: Sequence[Sequence[float]]) -> str:
    places = ((50, "median"), (99, "99 of 100 within"))
    found = [(name, [statistics.quantiles(one, n=100)[place - 1] for one in rounds]) for place, name in places]
    return ", ".join(f"{name} {spread(values, whole)} ms" for name, values in found) + f", {len(rounds[-1]):,} payments in the last round"


async def _limit(stack: Stack, loans: int) -> Measured:
    async with stack.database("ingest") as url:
        await due.seed(url, loans)
        result = measured("due_limit", [url], items=loans, trees={"postgres": stack.postgres_pid})
        require("the limit's loans", int(result.said), loans)
    return result


async def _ours(stack: Stack, loans: int, number: int) -> Storm:
    async with stack.database("ingest") as url:
        await due.seed(url, loans)
        paying = [f"P{number}{n:05d}" for n in range(PAYING)]
        now = WallClock().now().replace(microsecond=0)
        await stack.put([disbursed(name, 1, now).message for name in paying])
        worker = WorkerProcess("ticking", stack.broker.bootstrap, url)
        try:
            worker.wait_for("begin")
            await taken_in(url, stack.put_so_far)
            async with _paying(stack, paying) as heard:
                storm = await _storm(stack, worker, heard, loans)
            await _check(url, heard, loans)
        finally:
            worker.end()
    return storm


@asynccontextmanager
async def _paying(stack: Stack, loans: Sequence[str]) -> AsyncIterator[Heard]:
    """Yield a reader of all facts from now on, ready to pay these loans."""
    bus = KafkaBus(stack.broker.bootstrap, clock=WallClock(), client_id="bench", partitions=PARTITIONS)
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.broker.bootstrap)
    await consumer.start()
    places = [TopicPartition(FACTS.name, n) for n in range(PARTITIONS)]
    consumer.assign(places)
    for place, end in (await consumer.end_offsets(places)).items():
        consumer.seek(place, end)
    heard = Heard(consumer, payments := Payments(bus, loans))
    reading = asyncio.create_task(heard.read())
    try:
        yield heard
        stack.put_so_far += len(payments.sent_at)
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        await consumer.stop()
        await bus.close()


async def _storm(stack: Stack, worker: WorkerProcess, heard: Heard, loans: int) -> Storm:
    payments, began = heard.payments, stopwatch()
    sending = asyncio.create_task(payments.send())
    await asyncio.sleep(QUIET_S)
    watch, midnight = Stopwatch({"ingest": worker.process.pid, **stack.trees}), stopwatch()
    worker.say("go")
    await until(lambda: len(heard.storm) >= loans, "the storm's end", within_s=60 + loans / SLOWEST)
    result, over, payments.over = watch.stop(loans), stopwatch(), True
    await sending
    await until(lambda: len(payments.took_s) >= len(payments.sent_at), "the last payment's fact", within_s=60)
    return Storm(result, payments.between(began, midnight), payments.between(midnight, over))


async def _check(url: str, heard: Heard, loans: int) -> None:
    """Check that each loan has had one fact and waits for its next day, and that each payment is in the ledger."""
    require("the facts of the storm", Counter(heard.storm.values()), Counter({1: loans}))
    await due.check(url, loans)
    conn = await asyncpg.connect(url)
    try:
        paid = await conn.fetchval(
            "select count(*) from ingest.events where type = $1 and loan_id = any($2)", PAYMENT, heard.payments.loans
        )
    finally:
        await conn.close()
    require("the payments", paid, len(heard.payments.sent_at))
