"""The scheduler on a real PostgreSQL, an in-process bus and a controlled clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import auth
from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import BusWorker, Message, Record, Subscription
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Envelope, Reader, Writer
from libs.common.contracts.borrower_profiles import Stamped, StatusState
from libs.common.contracts.catalogue import CASES, FACTS, OUTCOMES, PROFILES, TASKS
from libs.common.contracts.contact_outcomes import ContactOutcome
from libs.common.contracts.corrections import CorrectedDays
from libs.common.contracts.overdue_facts import Amounts, Anchor, DebtWatermark, NextDue, OverdueFact
from libs.common.lifecycle import Service
from libs.common.ports import Ports
from services.scheduler import service
from services.scheduler.elsewhere import Elsewhere
from services.scheduler.settings import Settings

ZONE = "Asia/Shanghai"
TODAY = date(2026, 11, 24)
MORNING = datetime(2026, 11, 24, 2, 15, tzinfo=UTC)
"""10:15 in Shanghai."""
SETTLED = timedelta(seconds=3)
KEY = "dw_test"


def amounts(total: int) -> Amounts:
    return Amounts(principal=total, total=total)


def late(loan_id: str = "L1", borrower_id: str = "B1", *, days: int = 1, total: int = 12050, version: int = 1, **other: Any) -> OverdueFact:
    """A debt this many days past due on `TODAY`."""
    due_on = TODAY - timedelta(days=days)
    given: dict[str, Any] = {
        "loan_id": loan_id, "borrower_id": borrower_id, "product": "cash-loan", "currency": "CNY", "timezone": ZONE,
        "jurisdictions": ("ZZ",),
        "status": "active", "epoch": 1, "version": version, "as_of": TODAY, "overdue": amounts(total),
        "outstanding": amounts(total), "bucket": "M1",
        "anchor": Anchor(n=1, due_on=due_on), "past_due_days_from": due_on, "delinquent_from": due_on,
    }  # fmt: skip
    return OverdueFact(**{**given, **other})


def paid(loan_id: str = "L1", borrower_id: str = "B1", *, version: int = 2, **other: Any) -> OverdueFact:
    """The same debt with nothing overdue."""
    nothing = {
        "anchor": None,
        "past_due_days_from": None,
        "delinquent_from": None,
        "overdue": amounts(0),
        "outstanding": amounts(0),
        "bucket": "M0",
    }
    return late(loan_id, borrower_id, version=version, **{**nothing, "status": "closed", **other})


def due_soon(loan_id: str = "L1", borrower_id: str = "B1", *, in_days: int = 3, version: int = 1) -> OverdueFact:
    """A debt whose next instalment is due in this many days."""
    upcoming = NextDue(n=2, due_on=TODAY + timedelta(days=in_days), total=5000)
    return paid(loan_id, borrower_id, version=version, status="active", outstanding=amounts(5000), next_due=upcoming)


@dataclass
class World:
    """A scheduler, what it publishes, and control of the clock."""

    engine: AsyncEngine
    bus: InProcessBus
    clock: DrivenClock
    scheduler: Service
    published: list[tuple[Envelope, Any]] = field(default_factory=list)
    http: httpx.AsyncClient = field(init=False)
    writer: Writer = field(init=False)

    def __post_init__(self) -> None:
        self.writer = Writer("test", self.bus.partitions)
        transport = httpx.ASGITransport(app=self.scheduler.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://scheduler", headers={"Authorization": f"Bearer {KEY}"})

    def message(
        self, kind: str, data: OverdueFact | Stamped | ContactOutcome, *, topic: Any = FACTS, corrects: tuple[CorrectedDays, ...] = ()
    ) -> Message:
        envelope = Envelope(kind, "e", "test", self.clock.now(), "default", data.borrower_id, corrects)
        return self.writer.message(topic, envelope, data, key=f"default/{data.borrower_id}", borrower_id=data.borrower_id)

    async def tell(self, *facts: OverdueFact, kind: str = "debt.changed.v1", corrects: tuple[CorrectedDays, ...] = ()) -> None:
        await self.bus.publish([self.message(kind, fact, corrects=corrects) for fact in facts])

    async def complete(self) -> None:
        """Move the watermark past now."""
        envelope = Envelope("debt.watermark.v1", "w", "test", self.clock.now(), "default", "watermark")
        await self.bus.publish(self.writer.broadcast(FACTS, envelope, DebtWatermark(until=self.clock.now()), key="w"))

    async def outcome(self, task: Any, kind: str, sequence: int, **other: Any) -> None:
        of = {name: getattr(task, name) for name in ("task_id", "borrower_id", "case_id", "step")}
        data = ContactOutcome(**of, at=self.clock.now(), sequence=sequence, **other)
        await self.bus.publish([self.message(f"contact.{kind}.v1", data, topic=OUTCOMES)])

    async def stop(self, status: Any, *, at: datetime | None = None, **other: Any) -> None:
        """Publish a status of the borrower that stops contacts."""
        moment = at or self.clock.now()
        data = StatusState(
            **{"borrower_id": "B1", "time": moment, "id": "e", "status_id": "s1", "status": status, "from_": moment, **other}
        )
        await self.bus.publish([self.message("borrower.status.v1", data, topic=PROFILES)])

    async def settle(self) -> None:
        """Let a case's settling time pass, and do what is due."""
        await self.complete()
        self.clock.advance(SETTLED)
        await self.scheduler.pump()

    async def at(self, moment: datetime) -> None:
        """Move to a moment and do what is due then."""
        self.clock.move_to(moment)
        await self.complete()
        await self.scheduler.pump()

    async def local(self, day: int, hour: int, minute: int = 0) -> None:
        """Move to an hour in Shanghai, this many days from today."""
        await self.at(datetime(2026, 11, 24, hour, minute, tzinfo=UTC) + timedelta(days=day, hours=-8))

    def of(self, kind: str) -> list[Any]:
        """What was published of a type, in order."""
        return [data for envelope, data in self.published if envelope.type == f"{kind}.v1"]

    async def get(self, path: str, **params: Any) -> Any:
        answered = await self.http.get(f"/v1{path}", params=params)
        assert answered.status_code == 200, answered.text
        return answered.json()

    async def case(self, borrower_id: str = "B1") -> Any:
        items = (await self.get("/cases", borrower_id=borrower_id))["items"]
        assert len(items) == 1
        return items[0]

    async def story(self, borrower_id: str = "B1") -> list[Any]:
        case = await self.case(borrower_id)
        return (await self.get(f"/cases/{case['case_id']}/timeline"))["items"]  # type: ignore[no-any-return]

    async def next_contact(self, borrower_id: str = "B1") -> Any:
        return await self.get(f"/cases/{(await self.case(borrower_id))['case_id']}/next-contact")

    async def rows(self, statement: str) -> Sequence[Any]:
        async with self.engine.connect() as conn:
            return (await conn.execute(text(statement))).all()


def _ear(heard: list[tuple[Envelope, Any]], engine: AsyncEngine, bus: InProcessBus) -> BusWorker:
    """Listen to what the scheduler publishes, as the notifier would."""
    reader = Reader.of(TASKS, CASES)

    async def hear(_: AsyncConnection, records: Sequence[Record]) -> None:
        heard.extend(reader.read(record) for record in records)

    return bus.consume(Subscription("ear", (TASKS.name, CASES.name), hear, engine, "scheduler"))


@asynccontextmanager
async def scheduling(
    engine: AsyncEngine, *, start: datetime = MORNING, seed: int | None = None, notifier: httpx.AsyncClient | None = None
) -> AsyncIterator[World]:
    """A scheduler with running consumers (a seeded bus is stepped instead) and with ticker and relay driven by hand."""
    clock = DrivenClock(start)
    bus = InProcessBus(clock=clock, partitions=4, seed=seed)
    world = World(
        engine,
        bus,
        clock,
        service.build(Ports(engine, bus, clock, "test"), Settings(), Elsewhere({"notifier": notifier} if notifier else {})),
    )
    consumers = (_ear(world.published, engine, bus), *world.scheduler.consumers)
    running = [asyncio.create_task(worker.run()) for worker in consumers if seed is None]
    async with engine.begin() as conn:
        await auth.add_key(conn, "scheduler", KEY, auth.Principal("default", "mei", frozenset(auth.SCOPES)))
    await world.scheduler.start()
    try:
        yield world
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await world.http.aclose()
