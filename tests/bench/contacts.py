"""Contacts through the sandbox: deliveries due at one moment, fed through the notifier's own handlers, drained by its sender."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common import sealing
from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import Message
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.borrower_profiles import BorrowerProfile, SealedAddress
from libs.common.contracts.catalogue import FACTS, PROFILES, TASKS, Topic
from libs.common.contracts.contact_tasks import ContactRequested, DebtRef, PolicyRef
from libs.common.contracts.overdue_facts import Amounts, Anchor, DebtWatermark, OverdueFact
from libs.common.contracts.wallet_borrowers import ChannelName
from libs.common.db.engine import make_engine
from libs.common.lifecycle import Service, spare_the_collector
from libs.common.ports import Ports
from services.notifier.domain.message import OutgoingMessage
from services.notifier.service import build
from services.notifier.settings import Settings
from tests.bench.events import PARTITIONS, TENANT
from tests.bench.ingest import require
from tests.bench.measuring import Measured, Stopwatch, fine, spread, whole
from tests.bench.stack import Stack

ZONE = "Asia/Shanghai"
MORNING = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
"""Ten o'clock in Shanghai, on a Tuesday: a contact is lawful."""
CHUNK = 3_000
_RECORDED = text(
    "select (select count(*) from notifier.deliveries where state = :state), (select count(*) from notifier.contacts),"
    " (select count(*) from notifier.outbox)"
)
_SENT = text("select count(*), count(distinct task_id) from notifier.sandbox_messages")


@dataclass
class World:
    """A notifier of which only the consumer runs on its own."""

    engine: AsyncEngine
    bus: InProcessBus
    clock: DrivenClock
    service: Service
    place: str
    channel: ChannelName
    private: bytes
    public: bytes
    digest: bytes

    async def hear(self, topic: Topic, kind: str, said: Sequence[tuple[str, msgspec.Struct]]) -> None:
        """Publish one message per borrower and wait until the notifier has committed them."""
        writer = Writer("bench", self.bus.partitions)
        messages: list[Message] = []
        for borrower, data in said:
            envelope = Envelope(kind, f"{kind}-{borrower}", "bench", self.clock.now(), TENANT, borrower)
            messages.append(writer.message(topic, envelope, data, key=f"{TENANT}/{borrower}/{kind}", borrower_id=borrower))
        for at in range(0, len(messages), CHUNK):
            await self.bus.publish(messages[at : at + CHUNK])

    async def fresh_watermarks(self) -> None:
        """Publish watermarks up to now."""
        mark = DebtWatermark(until=self.clock.now())
        for topic in (FACTS, PROFILES):
            envelope = Envelope("debt.watermark.v1", "w", "bench", self.clock.now(), "-", "watermark")
            await self.bus.publish(Writer("bench", self.bus.partitions).broadcast(topic, envelope, mark, key="watermark"))


async def run(stack: Stack, contacts: int, rounds: int) -> list[str]:
    """Send so many contacts in each round, and return the figures."""
    found = [await _round(stack, contacts) for _ in range(rounds)]
    cpu = spread([m.cpu_ms for m in found], fine)
    return [f"  {spread([m.rate for m in found], whole)} contacts/s, {cpu} ms of CPU a contact ({found[-1].cpu_parts} us)"]


async def _round(stack: Stack, contacts: int) -> Measured:
    async with stack.database("notifier") as url, world(url) as here:
        await fill(here, contacts)
        watch = Stopwatch({"notifier": os.getpid(), "postgres": stack.postgres_pid}, alone=[os.getpid()])
        await here.service.pump()
        result = watch.stop(contacts)
        require("the contacts", await recorded(here, "delivered"), (contacts, contacts, 0))
        async with here.engine.connect() as conn:
            require("the messages", tuple((await conn.execute(_SENT)).one()), (contacts, contacts))
    return result


async def fill(here: World, contacts: int) -> None:
    """Make so many borrowers late, with a contact due to each."""
    borrowers = [f"b{n:06d}" for n in range(contacts)]
    await here.hear(PROFILES, "borrower.profile.v1", [(b, _profile(here, b)) for b in borrowers])
    await here.hear(FACTS, "debt.overdue.v1", [(b, _fact(here, b)) for b in borrowers])
    await here.hear(TASKS, "contact.requested.v1", [(b, _request(here, b)) for b in borrowers])
    await here.fresh_watermarks()


async def recorded(here: World, state: str) -> tuple[int, ...]:
    """Return how many deliveries are in this state, how many contacts there are, and how many outcomes are not published."""
    async with here.engine.connect() as conn:
        return tuple((await conn.execute(_RECORDED, {"state": state})).one())


def message(number: int) -> OutgoingMessage:
    """Return a message like those of these contacts."""
    borrower = f"b{number:06d}"
    body = "Your payment of CNY 120.50 to your lender is overdue. Please pay it as soon as you can."
    return OutgoingMessage(
        f"a-{number:020d}", TENANT, f"t-{borrower}", borrower, "sms", _phone(borrower), None, body, deadline=MORNING + timedelta(days=2)
    )


@contextlib.asynccontextmanager
async def world(url: str, *, place: str = "ZZ", fakes: bool = False, channel: ChannelName = "sms") -> AsyncIterator[World]:
    """Start a notifier on this database, for borrowers in this place, reached on this channel."""
    clock = DrivenClock(MORNING)
    engine, bus = make_engine(url, application="notifier"), InProcessBus(clock=clock, partitions=PARTITIONS)
    private, public = sealing.new_pair()
    digest = sealing.random_key()
    service = build(Ports(engine, bus, clock, "bench"), Settings(private, digest, fakes=fakes))
    await service.start()
    spare_the_collector()
    running = [asyncio.create_task(worker.run()) for worker in service.consumers]
    try:
        yield World(engine, bus, clock, service, place, channel, private, public, digest)
    finally:
        for worker in service.consumers:
            await worker.stop()
        await asyncio.gather(*running)
        await engine.dispose()


def _profile(here: World, borrower: str) -> BorrowerProfile:
    context, to = f"{TENANT}/{borrower}", _phone(borrower) if here.channel == "sms" else f"{borrower}@borrower.example"
    key = sealing.new_borrower_key(here.public, context)

    def sealed(value: str, what: str) -> str:
        return sealing.as_text(sealing.seal(value.encode(), key.public, f"{context}/{what}"))

    lookup = sealing.digest(here.digest, to).hex()
    address = SealedAddress(channel=here.channel, sealed=sealed(to, "address"), lookup=lookup)
    return BorrowerProfile(
        borrower_id=borrower, time=here.clock.now(), id=f"p-{borrower}", key=sealing.as_text(key.wrapped_private),
        sealed_name=sealed("Li Wei", "name"), locale="en", timezone=ZONE, jurisdictions=(here.place,), addresses=(address,),
    )  # fmt: skip


def _phone(borrower: str) -> str:
    return f"+86138{borrower[1:]:0>8}"


def _fact(here: World, borrower: str) -> OverdueFact:
    today = here.clock.now().date()
    due_on = today - timedelta(days=1)
    owed = 12_050 + int(borrower[1:])
    amounts = Amounts(principal=owed, total=owed)
    return OverdueFact(
        loan_id=f"loan-{borrower}", borrower_id=borrower, product="cash-loan", currency="CNY", timezone=ZONE, jurisdictions=(here.place,),
        status="active", epoch=1, version=1, as_of=today, overdue=amounts, outstanding=amounts,
        bucket="M1", anchor=Anchor(n=1, due_on=due_on), past_due_days_from=due_on,
    )  # fmt: skip


def _request(here: World, borrower: str) -> ContactRequested:
    now = here.clock.now()
    return ContactRequested(
        task_id=f"t-{borrower}", borrower_id=borrower, case_id=f"c-{borrower}", policy=PolicyRef(name="standard", version=1),
        step="gentle", template="gentle", purpose="dunning", channels=(here.channel,), not_before=now, expires_at=now + timedelta(days=2),
        debts=(DebtRef(loan_id=f"loan-{borrower}", fact_epoch=1, fact_version=1),),
    )  # fmt: skip
