"""Late borrowers: ingest's facts about them, the policy they are under, and a book of cases that are all due at nine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import asyncpg
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import Message
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.borrower_profiles import StatusState
from libs.common.contracts.catalogue import FACTS, OUTCOMES, PROFILES, Topic
from libs.common.contracts.contact_outcomes import ContactOutcome
from libs.common.contracts.overdue_facts import Amounts, Anchor, DebtWatermark, OverdueFact
from libs.common.db.engine import make_engine
from libs.common.lifecycle import Service, spare_the_collector
from libs.common.ports import Ports
from services.scheduler.proposing import written
from services.scheduler.rulebook import AssignmentItem
from services.scheduler.service import build
from services.scheduler.settings import Settings
from services.scheduler.store import policies
from services.scheduler.store.policies import Doing, Which
from tests.bench.events import PARTITIONS, TENANT

ZONE = "Asia/Shanghai"
EVE = datetime(2026, 11, 24, 2, 15, tzinfo=UTC)
"""A quarter past ten in Shanghai: the first message goes out at once."""
NINE = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
"""Nine the next morning: the second one."""
SETTLED = timedelta(seconds=3)
TWO_DEBTS_EACH, HELD_EACH = 4, 20
"""Every fourth borrower has two debts; for every twentieth a moratorium begins at nine, so that the case is due but sends nothing."""
LEAST = 5_000
CHUNK = 5_000
SECOND = "firm"
DOCUMENT = """\
policy: wallet
cure: {cool_down: 7d}
steps:
  - {id: gentle, at: {day: 1, between: "09:00-11:30"}, send: {template: gentle, channels: [push, sms], fallback_after: 4h}}
  - {id: firm, at: {day: 2, between: "09:00-11:30"}, when: "debt.total >= 5000 && !promise.open",
     send: {template: firm, channels: [sms, email]}}
  - {id: last, at: {day: 9, between: "09:00-11:30"}, send: {template: final, channels: [sms, email]}}
  - {id: risk, at: {day: 20}, flag: high_risk, task: {queue: phone, kind: call}}
"""


@dataclass
class Late:
    """A scheduler of which only the consumer runs on its own."""

    engine: AsyncEngine
    bus: InProcessBus
    clock: DrivenClock
    service: Service

    async def hear(self, messages: Sequence[Message]) -> None:
        """Publish, and wait until the scheduler has committed them."""
        for at in range(0, len(messages), CHUNK):
            await self.bus.publish(messages[at : at + CHUNK])

    async def settle(self) -> None:
        """Let the cases settle, publish that all facts have arrived, and do what is due."""
        self.clock.advance(SETTLED)
        mark, envelope = (
            DebtWatermark(until=self.clock.now()),
            Envelope("debt.watermark.v1", "w", "bench", self.clock.now(), "-", "watermark"),
        )
        await self.bus.publish(Writer("bench", self.bus.partitions).broadcast(FACTS, envelope, mark, key="watermark"))
        await self.service.pump()


def facts(borrowers: int, today: date, at: datetime) -> list[Message]:
    """Return ingest's facts about these borrowers on their first day overdue."""
    said = [(borrower, _fact(borrower, debt, today)) for n in range(borrowers) for borrower in [name(n)] for debt in range(debts_of(n))]
    return _messages(FACTS, "debt.overdue.v1", said, at)


def facts_of(borrowers: int) -> int:
    """Return how many debts they have."""
    return sum(debts_of(n) for n in range(borrowers))


def held(borrowers: int) -> int:
    """Return the number of them for whom a moratorium begins at nine."""
    return len(range(0, borrowers, HELD_EACH))


def name(number: int) -> str:
    """Return a borrower's id."""
    return f"b{number:07d}"


def debts_of(number: int) -> int:
    """Return how many debts a borrower has."""
    return 1 if number % TWO_DEBTS_EACH else 2


async def fill(url: str, borrowers: int) -> None:
    """Make so many borrowers late, with their first message sent and the second due at nine; nothing is left to publish."""
    async with _desk(url) as here:
        await put_policy(here.engine, here.clock.now())
        await here.hear(facts(borrowers, EVE.date(), EVE))
        await here.settle()
        async with here.engine.connect() as conn:
            asked = (await conn.execute(text("select task_id, borrower_id, case_id, step from scheduler.case_steps"))).all()
        here.clock.advance(SETTLED)
        outcomes = [
            (row.borrower_id, ContactOutcome(**row._mapping, at=here.clock.now(), sequence=1, channel="push"))  # its public name
            for row in asked
        ]  # fmt: skip
        await here.hear(_messages(OUTCOMES, "contact.delivered.v1", outcomes, here.clock.now()))
        stops = [(borrower, _moratorium(borrower)) for n in range(0, borrowers, HELD_EACH) for borrower in [name(n)]]
        await here.hear(_messages(PROFILES, "borrower.status.v1", stops, here.clock.now()))
        await here.settle()
    admin = await asyncpg.connect(url)
    try:
        await admin.execute("truncate scheduler.outbox")
        await admin.execute("vacuum analyze", timeout=None)
    finally:
        await admin.close()


async def put_policy(engine: AsyncEngine, at: datetime, source: str = DOCUMENT) -> None:
    """Make this policy the active one of the bench's tenant."""
    which, doing = Which(TENANT, "wallet", 1), Doing("bench", at)
    async with engine.begin() as conn:
        await policies.add_draft(conn, which, doing, source=source, document=written(source).document)
        await policies.put_state(conn, which, doing, "approved")
        await policies.activate(conn, which, doing, effective_at=at, in_flight="pin")
        await policies.assign(conn, TENANT, doing, msgspec.json.encode([AssignmentItem(policy="wallet")]))


@asynccontextmanager
async def _desk(url: str) -> AsyncIterator[Late]:
    clock, engine = DrivenClock(EVE), make_engine(url, application="scheduler")
    bus = InProcessBus(clock=clock, partitions=PARTITIONS)
    service = build(Ports(engine, bus, clock, "bench"), Settings())
    await service.start()
    spare_the_collector()
    running = [asyncio.create_task(worker.run()) for worker in service.consumers]
    try:
        yield Late(engine, bus, clock, service)
    finally:
        for worker in service.consumers:
            await worker.stop()
        await asyncio.gather(*running)
        await service.close()
        await engine.dispose()


def _messages(topic: Topic, kind: str, said: Sequence[tuple[str, msgspec.Struct]], at: datetime) -> list[Message]:
    writer = Writer("bench", PARTITIONS)
    return [
        writer.message(
            topic, Envelope(kind, f"{kind}-{n}", "bench", at, TENANT, borrower), data, key=f"{TENANT}/{borrower}", borrower_id=borrower
        )
        for n, (borrower, data) in enumerate(said)
    ]


def _fact(borrower: str, debt: int, today: date) -> OverdueFact:
    due_on, total = today - timedelta(days=1), LEAST + int(borrower[1:]) * 37 % 90_000
    owed = Amounts(principal=total, total=total)
    return OverdueFact(
        loan_id=f"loan-{borrower}-{debt}", borrower_id=borrower, product="cash-loan", currency="CNY", timezone=ZONE, jurisdictions=("CN",),
        status="active", epoch=1, version=2, as_of=today, overdue=owed, outstanding=owed, bucket="M1", anchor=Anchor(n=1, due_on=due_on),
        past_due_days_from=due_on, delinquent_from=due_on, next_change_on=today + timedelta(days=30), caused_by="ev-1",
    )  # fmt: skip


def _moratorium(borrower: str) -> StatusState:
    return StatusState(
        borrower_id=borrower, time=EVE, id=f"m-{borrower}", status_id="m1", status="moratorium", from_=NINE, until=NINE + timedelta(days=30)
    )
