"""A notifier on a real database and an in-process bus, and what ingest and the scheduler would tell it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import sealing
from libs.common.addresses import lookup_of
from libs.common.auth import Principal, add_key
from libs.common.bus.inprocess import InProcessBus
from libs.common.bus.ports import Record, Subscription
from libs.common.clock import DrivenClock
from libs.common.cloudevents import Envelope, Reader, Writer
from libs.common.contracts.borrower_profiles import BorrowerErasure, BorrowerProfile, ConsentState, SealedAddress, StatusState
from libs.common.contracts.catalogue import FACTS, OUTCOMES, PROFILES, TASKS, Topic
from libs.common.contracts.contact_outcomes import ContactOutcome
from libs.common.contracts.contact_tasks import ContactCancelled, ContactRequested, DebtRef, HoldEnded, HoldSet, PolicyRef
from libs.common.contracts.overdue_facts import Amounts, Anchor, DebtWatermark, OverdueFact
from libs.common.contracts.wallet_borrowers import ChannelName, ContactRecorded
from libs.common.lifecycle import Service
from libs.common.ports import Ports
from services.notifier.service import Options, build
from services.notifier.settings import Settings
from tests.support.postgres import Databases

TENANT = "default"
ZONE = "Asia/Shanghai"
MORNING = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
"""10:00 in Shanghai."""
NIGHT = datetime(2026, 11, 24, 18, 0, tzinfo=UTC)
"""02:00 of the 25th in Shanghai."""
KEY = "dw_test"
PATIENCE_S = 20.0
SCOPES = frozenset({"contacts:read", "contacts:write", "templates:write", "pii:read", "ops"})
DIGEST_KEY = bytes(range(32))
PRIVATE, PUBLIC = sealing.new_pair()
_TIMED = "select tenant, borrower_id, task_id, state, next_at from notifier"
_ASTRAY = text(
    f"({_TIMED}.deliveries where next_at is not null except {_TIMED}.queue) union all"
    f" ({_TIMED}.queue except {_TIMED}.deliveries where next_at is not null)"
)


@dataclass(frozen=True)
class Told:
    """An outcome as published on the bus."""

    type: str
    data: ContactOutcome


@dataclass
class World:
    """Everything around a notifier."""

    engine: AsyncEngine
    bus: InProcessBus
    clock: DrivenClock
    service: Service
    settings: Settings
    told: list[Told] = field(default_factory=list)
    _count: int = 0

    @property
    def writer(self) -> Writer:
        return Writer("test", self.bus.partitions)

    async def hear(
        self, topic: Topic, kind: str, data: msgspec.Struct | None, *, borrower: str, what: str = "", said_at: datetime | None = None
    ) -> None:
        """Publish a message and wait until the notifier has committed it."""
        self._count += 1
        envelope = Envelope(kind, f"e-{self._count}", "test", said_at or self.clock.now(), TENANT, borrower)
        await self.bus.publish([self.writer.message(topic, envelope, data, key=f"{TENANT}/{borrower}/{what}", borrower_id=borrower)])

    async def fresh_watermarks(self, until: datetime | None = None, stale_feeds: Sequence[str] = ()) -> None:
        mark = DebtWatermark(until=until or self.clock.now(), stale_feeds=tuple(stale_feeds))
        for topic in (FACTS, PROFILES):
            envelope = Envelope("debt.watermark.v1", "w", "test", self.clock.now(), TENANT, "watermark")
            await self.bus.publish(self.writer.broadcast(topic, envelope, mark, key="watermark"))

    async def profile(self, borrower: str, *, addresses: dict[str, str] | None = None, **changes: Any) -> None:
        await self.hear(PROFILES, "borrower.profile.v1", self.a_profile(borrower, addresses, **changes), borrower=borrower, what="profile")

    def a_profile(self, borrower: str, addresses: dict[str, str] | None = None, **changes: Any) -> BorrowerProfile:
        context = f"{TENANT}/{borrower}"
        key = sealing.new_borrower_key(PUBLIC, context)

        def sealed(value: str, what: str) -> str:
            return sealing.as_text(sealing.seal(value.encode(), key.public, f"{context}/{what}"))

        profile = BorrowerProfile(
            borrower_id=borrower,
            time=self.clock.now(),
            id=f"p-{self._count}",
            key=sealing.as_text(key.wrapped_private),
            sealed_name=sealed("Li Wei", "name"),
            locale="en",
            timezone=ZONE,
            jurisdictions=("ZZ",),
            addresses=tuple(
                SealedAddress(channel=channel, sealed=sealed(to, "address"), lookup=lookup_of(DIGEST_KEY, TENANT, channel, to))  # type: ignore[arg-type]
                for channel, to in (addresses or {"sms": phone_of(borrower)}).items()
            ),
        )
        return msgspec.structs.replace(profile, **changes)

    async def fact(
        self,
        borrower: str,
        loan: str | None = None,
        *,
        overdue: int = 12050,
        version: int = 1,
        said_at: datetime | None = None,
        **changes: Any,
    ) -> None:
        fact = a_fact(borrower, loan, overdue=overdue, version=version, **changes)
        await self.hear(FACTS, "debt.overdue.v1", fact, borrower=borrower, said_at=said_at)

    async def late_borrower(self, borrower: str, *, addresses: dict[str, str] | None = None, **changes: Any) -> None:
        await self.profile(borrower, addresses=addresses, **changes)
        await self.fact(borrower)

    def a_request(self, borrower: str, task: str | None = None, **changes: Any) -> ContactRequested:
        request = ContactRequested(
            task_id=task or f"t-{borrower}",
            borrower_id=borrower,
            case_id=f"c-{borrower}",
            policy=PolicyRef(name="standard", version=1),
            step="gentle",
            template="gentle",
            purpose="dunning",
            channels=("sms", "email"),
            not_before=self.clock.now(),
            expires_at=self.clock.now() + timedelta(days=2),
            debts=(DebtRef(loan_id=loan_of(borrower), fact_epoch=1, fact_version=1),),
        )
        return msgspec.structs.replace(request, **changes)

    async def request(self, borrower: str, task: str | None = None, **changes: Any) -> None:
        await self.hear(TASKS, "contact.requested.v1", self.a_request(borrower, task, **changes), borrower=borrower)

    async def cancel(self, borrower: str, task: str | None = None) -> None:
        data = ContactCancelled(task_id=task or f"t-{borrower}", borrower_id=borrower, case_id=f"c-{borrower}", reason="cured")
        await self.hear(TASKS, "contact.cancelled.v1", data, borrower=borrower)

    async def hold(self, borrower: str, **changes: Any) -> None:
        data = HoldSet(hold_id="h", borrower_id=borrower, case_id=f"c-{borrower}", stop="dispute", contacts="none", from_=self.clock.now())
        await self.hear(TASKS, "case.hold_set.v1", msgspec.structs.replace(data, **changes), borrower=borrower)

    async def end_hold(self, borrower: str) -> None:
        data = HoldEnded(hold_id="h", borrower_id=borrower, case_id=f"c-{borrower}", at=self.clock.now())
        await self.hear(TASKS, "case.hold_ended.v1", data, borrower=borrower)

    async def status(self, borrower: str, status: str, **changes: Any) -> None:
        data = StatusState(borrower_id=borrower, time=self.clock.now(), id="s", status_id="s-1", status=status, from_=self.clock.now())  # type: ignore[arg-type]
        await self.hear(PROFILES, "borrower.status.v1", msgspec.structs.replace(data, **changes), borrower=borrower, what="status:s-1")

    async def recorded(self, borrower: str, contact: str, *, by_wallet: bool = False, **changes: Any) -> None:
        """Publish that a person has contacted a borrower: from the scheduler, or from the wallet through ingest."""
        data = ContactRecorded(
            contact_id=contact, borrower_id=borrower, channel="call", at=self.clock.now(), by="wu", loan_id=loan_of(borrower)
        )  # fmt: skip
        topic, what = (PROFILES, f"contact:{contact}") if by_wallet else (TASKS, "")
        await self.hear(topic, "contact.recorded.v1", msgspec.structs.replace(data, **changes), borrower=borrower, what=what)

    async def consent(self, borrower: str, channel: ChannelName, *, granted: bool = True) -> None:
        now = self.clock.now()
        data = ConsentState(borrower_id=borrower, time=now, id="c", channel=channel, purpose="dunning", granted=granted, at=now)
        await self.hear(PROFILES, "borrower.consent.v1", data, borrower=borrower, what=f"consent:{channel}:dunning")

    async def close(self, borrower: str, kind: str, what: str) -> None:
        """Close a compacted key."""
        await self.hear(PROFILES, kind, None, borrower=borrower, what=what)

    async def erase(self, borrower: str) -> None:
        data = BorrowerErasure(borrower_id=borrower, time=self.clock.now(), id="x")
        await self.hear(PROFILES, "borrower.erased.v1", data, borrower=borrower, what="profile")

    async def lift_the_days_limit(self) -> None:
        """Allow as many dunning messages a day as the rules do, for tests that are not about days."""
        answer = await self.call("PUT", "/v1/settings", json={"dunning_a_day": None}, headers={"If-Match": '"0"'})
        assert answer.status_code == 200, answer.text

    async def pass_to(self, moment: datetime, *, fresh: bool = True) -> None:
        """Let time pass, and the watermarks with it, and do what is due then."""
        self.clock.move_to(moment)
        if fresh:
            await self.fresh_watermarks()
        await self.service.pump()

    async def messages(self, borrower: str | None = None, **params: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self.get("/v1/sandbox/messages", borrower_id=borrower, **params))["items"]
        return items

    async def delivery(self, borrower: str, task: str | None = None) -> dict[str, Any]:
        return await self.get(f"/v1/deliveries/{task or f't-{borrower}'}")

    async def get(self, path: str, **params: str | None) -> dict[str, Any]:
        answer = await self.call("GET", path, params={name: value for name, value in params.items() if value is not None})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        transport = httpx.ASGITransport(app=self.service.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://notifier", headers={"Authorization": f"Bearer {KEY}"}) as client:
            return await client.request(method, path, **options)

    def outcomes(self, borrower: str) -> list[str]:
        return [told.type.split(".")[1] for told in self.told if told.data.borrower_id == borrower]

    async def scalar(self, statement: str, **values: object) -> Any:
        async with self.engine.connect() as conn:
            return (await conn.execute(text(statement), values)).scalar_one()

    def another(self, options: Options | None = None, **changes: Any) -> Service:
        """A second notifier on the same database, as after a restart or beside the first; its consumer does not run."""
        bus = InProcessBus(clock=self.clock, partitions=self.bus.partitions)
        settings = dataclasses.replace(self.settings, **changes)
        return build(Ports(self.engine, bus, self.clock, "test"), settings, options)


def phone_of(borrower: str) -> str:
    return f"+8613800{sum(borrower.encode()):06d}"


def loan_of(borrower: str) -> str:
    return f"loan-{borrower}"


def a_fact(borrower: str, loan: str | None = None, *, overdue: int = 12050, version: int = 1, **changes: Any) -> OverdueFact:
    fact = OverdueFact(
        loan_id=loan or loan_of(borrower),
        borrower_id=borrower,
        product="cash-loan",
        currency="CNY",
        timezone=ZONE,
        jurisdictions=("ZZ",),
        status="active",
        epoch=1,
        version=version,
        as_of=date(2026, 11, 24),
        overdue=Amounts(principal=overdue, total=overdue),
        outstanding=Amounts(principal=overdue, total=overdue),
        bucket="M1" if overdue else "M0",
        anchor=Anchor(n=1, due_on=date(2026, 11, 23)) if overdue else None,
        past_due_days_from=date(2026, 11, 23) if overdue else None,
    )
    return msgspec.structs.replace(fact, **changes)


@contextlib.asynccontextmanager
async def a_keyed_database(databases: Databases) -> AsyncIterator[AsyncEngine]:
    """A database with the notifier's schema and one key."""
    async with databases.fresh("notifier") as engine:
        async with engine.begin() as conn:
            await add_key(conn, "notifier", KEY, Principal(TENANT, "anna", SCOPES))
        yield engine
        async with engine.connect() as conn:
            astray = (await conn.execute(_ASTRAY)).all()
        assert not astray, "what is to be done stands in the queue as it stands in the deliveries"


@contextlib.asynccontextmanager
async def a_world(databases: Databases, *, at: datetime = MORNING, options: Options | None = None, **changes: Any) -> AsyncIterator[World]:
    """A notifier whose consumer runs and whose sender is driven by hand."""
    async with a_keyed_database(databases) as engine:
        clock = DrivenClock(at)
        bus = InProcessBus(clock=clock)
        settings = Settings(sealing_private=PRIVATE, digest_key=DIGEST_KEY, **changes)
        world = World(engine, bus, clock, build(Ports(engine, bus, clock, "test"), settings, options), settings)
        await world.service.start()
        async with _running(world):
            await world.fresh_watermarks()
            yield world
        await world.service.close()


@contextlib.asynccontextmanager
async def _running(world: World) -> AsyncIterator[None]:
    reader = Reader.of(OUTCOMES)

    async def note(_: AsyncConnection, records: Sequence[Record]) -> None:
        for record in records:
            envelope, data = reader.read(record)
            assert isinstance(data, ContactOutcome)
            world.told.append(Told(envelope.type, data))

    witness = world.bus.consume(Subscription("witness", (OUTCOMES.name,), note, world.engine, "notifier"))
    stop = asyncio.Event()
    consumers = [*world.service.consumers, witness]
    tasks = [asyncio.create_task(each.run()) for each in consumers]
    try:
        yield
    finally:
        stop.set()
        for each in consumers:
            await each.stop()
        await asyncio.gather(*tasks)
