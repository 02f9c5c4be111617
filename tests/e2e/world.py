"""All three services in one process on their own database, with a clock moved by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import sealing
from libs.common.bus.ports import BusWorker, Record, Subscription
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Reader
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.corrections import CorrectedDays
from libs.common.contracts.overdue_facts import OverdueFact
from services import embedded
from services.embedded import ON_THIS_MACHINE, Platform, Reached, Secrets
from tests.support.wallet import Event, event

TODAY = date(2026, 11, 24)
MORNING = datetime(2026, 11, 24, 10, 15, tzinfo=UTC)
ZONE = "Etc/GMT"
BEARER = {"Authorization": "Bearer dunwell-dev"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ROUNDS = 500
READER = Reader.of(FACTS)


@dataclass
class World:
    """The platform, a client, and the last fact of every loan."""

    platform: Platform
    clock: DrivenClock
    seeded: bool
    http: httpx.AsyncClient = field(init=False)
    facts: dict[str, OverdueFact] = field(default_factory=dict)
    corrected: dict[str, tuple[CorrectedDays, ...]] = field(default_factory=dict)
    """The corrected days of the last correcting fact of each loan."""

    def __post_init__(self) -> None:
        transport = httpx.ASGITransport(self.platform.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://dunwell", headers=BEARER)

    async def publish(self, *events: Event) -> None:
        """Publish over HTTP; all events must be accepted."""
        body = b"\n".join(msgspec.json.encode(one) for one in events)
        answer = await self.http.post("/ingest/v1/events", content=body, headers=NDJSON)
        assert (answer.status_code, answer.json()) == (202, {"accepted": len(events), "rejected": []})

    async def quiet(self) -> None:
        """Do everything due at this moment until nothing is left or in flight."""
        for _ in range(ROUNDS):
            moved = 0
            while self.seeded and await self.platform.bus.step():
                moved += 1
            if not moved + await self.platform.settle():
                return
        raise AssertionError("the services do not come to rest")

    async def pass_time(self, until: datetime) -> None:
        """Move the clock from one due moment to the next, up to a given one."""
        await self.quiet()
        while (due := await self.platform.next_due()) is not None and due <= until:
            self.clock.move_to(due)
            await self.quiet()
        self.clock.move_to(until)
        await self.quiet()

    async def let_pass(self, **span: float) -> None:
        """Let that much time pass."""
        await self.pass_time(self.clock.now() + timedelta(**span))

    async def get(self, path: str, **params: Any) -> Any:
        """Return the answer of a path."""
        answer = await self.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def messages(self, borrower_id: str | None = None) -> list[Any]:
        """Return what the sandbox delivered, oldest first."""
        params = {"borrower_id": borrower_id} if borrower_id else {}
        return list((await self.get("/notifier/v1/sandbox/messages", limit=1000, **params))["items"])

    async def case(self, borrower_id: str) -> Any:
        """Return the borrower's case."""
        [case] = (await self.get("/scheduler/v1/cases", borrower_id=borrower_id))["items"]
        return case

    async def story(self, borrower_id: str) -> list[Any]:
        """Return the timeline of the borrower's case."""
        return list((await self.get(f"/scheduler/v1/cases/{(await self.case(borrower_id))['case_id']}/timeline"))["items"])

    async def hear(self, _: AsyncConnection, records: Sequence[Record]) -> None:
        """Keep the highest fact of each loan, as any consumer does."""
        for envelope, data in [READER.read(record) for record in records]:
            if isinstance(data, OverdueFact) and (known := self.facts.get(data.loan_id, data)).order <= data.order:
                self.facts[known.loan_id] = data
            if envelope.corrects:
                self.corrected[envelope.subject] = envelope.corrects


@asynccontextmanager
async def one_process(
    engine: AsyncEngine,
    *,
    start: datetime = MORNING,
    seed: int | None = None,
    secrets: Secrets | None = None,
    at: Reached = ON_THIS_MACHINE,
) -> AsyncIterator[World]:
    """A running platform; a seeded bus is stepped, the other one runs by itself."""
    clock = DrivenClock(start)
    secrets = secrets or new_secrets()
    platform = embedded.build(engine, secrets, clock, seed=seed, at=at)
    await embedded.put_page_key(engine, secrets)
    await embedded.put_dev_keys(engine, allowed=True)
    world = World(platform, clock, seeded=seed is not None)
    ear = platform.bus.consume(Subscription("ear", (FACTS.name,), world.hear, engine, "ingest"))
    workers: list[BusWorker] = [ear, *[worker for service in platform.services for worker in service.consumers]]
    for service in platform.services:
        await service.start()
    running = [] if world.seeded else [asyncio.create_task(worker.run()) for worker in workers]
    if world.seeded:
        for worker in workers:
            await worker.join()  # type: ignore[attr-defined]  # the in-process worker has it
    try:
        yield world
    finally:
        for worker in workers if running else ():
            await worker.stop()
        await asyncio.gather(*running)
        await world.http.aclose()


def new_secrets(*older: Secrets) -> Secrets:
    """Return new keys to seal with; data sealed for older ones can still be opened, and addresses are found by the same key."""
    private, public = sealing.new_pair()
    return Secrets(private, public, b"d" * 32, tuple(one.sealing_private for one in older))


def borrower(borrower_id: str, *, zone: str = ZONE) -> list[Event]:
    """Return a borrower who can be reached by SMS and e-mail and has consented to it."""
    number = random.Random(borrower_id).randrange(10**8, 10**9)
    addresses = [{"channel": "sms", "address": f"+8613{number}"}, {"channel": "email", "address": f"{borrower_id}@example.org"}]
    profile = event(
        "borrower.updated", recorded=MORNING - timedelta(days=60), borrower_id=borrower_id, name="Li Wei", locale="en", timezone=zone,
        jurisdictions=["ZZ"], addresses=addresses,
    )  # fmt: skip
    at = MORNING - timedelta(days=60)
    agreed = [
        event("borrower.consent", recorded=at, borrower_id=borrower_id, channel=c, purpose="dunning", granted=True, at=at.isoformat())
        for c in ("sms", "email")
    ]
    return [profile, *agreed]


def late_loan(loan_id: str, borrower_id: str, *, days: int = 1, zone: str = ZONE, amount: int = 12050, today: date = TODAY) -> Event:
    """Return a loan of one instalment that is so many days late today."""
    due_on = today - timedelta(days=days)
    begun = due_on - timedelta(days=30)
    return event(
        "loan.disbursed", recorded=datetime(begun.year, begun.month, begun.day, 12, tzinfo=UTC), loan_id=loan_id, borrower_id=borrower_id,
        product="cash-loan", currency="CNY", disbursed_on=begun.isoformat(), timezone=zone, jurisdictions=["ZZ"],
        schedule=[{"n": 1, "due_on": due_on.isoformat(), "principal": amount}],
    )  # fmt: skip


def payment(loan_id: str, amount: int, *, at: datetime = MORNING) -> Event:
    """Return a payment."""
    return event(
        "repayment.received", recorded=at, loan_id=loan_id, repayment_id=f"r-{loan_id}-{amount}", amount=amount, paid_at=at.isoformat()
    )


async def count(engine: AsyncEngine, statement: str) -> int:
    """Return the one number of a statement."""
    async with engine.connect() as conn:
        return int((await conn.execute(text(statement))).scalar_one())
