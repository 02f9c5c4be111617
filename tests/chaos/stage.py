"""A wallet that publishes on Kafka, the three services as processes, and a database that can be restored."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from sqlalchemy import text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from libs.common.bus.kafka import KafkaBus
from libs.common.bus.ports import Message, partition_of
from libs.common.clock import WallClock
from libs.common.contracts.catalogue import BORROWER_EVENTS_TOPIC, LOAN_EVENTS_TOPIC
from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS
from libs.common.errors import TransientError
from tests.support.apart import Apart
from tests.support.kafka import Broker
from tests.support.postgres import Databases
from tests.support.wallet import Event, event

PARTITIONS = 4
AMOUNT = 12050


@dataclass
class Stage:
    """Everything that a chaos test needs."""

    apart: Apart
    databases: Databases
    database: str
    bus: KafkaBus
    zone: str
    today: date
    http: httpx.AsyncClient
    """For all services: each is called at its own URL."""
    sent: list[Event] = field(default_factory=list)

    async def publish(self, *events: Event) -> None:
        """Put events on the wallets' topics, retrying until the broker has accepted them."""
        messages = [_message(one) for one in events]
        async with asyncio.timeout(60):
            while True:
                try:
                    await self.bus.publish(messages)
                except TransientError:
                    continue
                self.sent += events
                return

    async def get(self, service: str, path: str, **params: Any) -> Any:
        """Return a service's answer, or None while it does not answer."""
        headers = {"Authorization": f"Bearer {self.apart.key}"}
        try:
            answer = await self.http.get(f"{self.apart.url(service)}{path}", params=params, headers=headers)
        except httpx.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    async def messages(self) -> list[Any]:
        """Return what the sandbox delivered."""
        return ((await self.get("notifier", "/v1/sandbox/messages", limit=1000)) or {"items": []})["items"]  # type: ignore[no-any-return]

    async def deliveries(self) -> list[Any]:
        """Return every delivery."""
        return ((await self.get("notifier", "/v1/deliveries", limit=1000)) or {"items": []})["items"]  # type: ignore[no-any-return]

    async def rows(self, statement: str) -> Sequence[Any]:
        """Return the rows of a statement on the services' database."""
        engine = _plain(self.databases.server.url(self.database))
        try:
            async with engine.connect() as conn:
                return (await conn.execute(text(statement))).all()
        finally:
            await engine.dispose()

    async def counted(self) -> dict[str, int]:
        """Return how many events the ledger holds for each loan."""
        return {row[0]: row[1] for row in await self.rows("select loan_id, count(*) from ingest.events group by 1")}

    def expected(self) -> dict[str, int]:
        """Return how many different events were published for each loan."""
        ids: dict[str, set[str]] = {}
        for one in self.sent:
            if "loan_id" in one["data"]:
                ids.setdefault(one["data"]["loan_id"], set()).add(one["id"])
        return {loan_id: len(found) for loan_id, found in ids.items()}

    async def all_taken_in(self) -> bool:
        """Tell whether the ledger holds every event exactly once."""
        return await self.counted() == self.expected()

    async def copy_database(self, name: str) -> None:
        """Copy the database as it is now; the services must be stopped."""
        await self._admin(f'create database "{name}" template "{self.database}"')

    async def put_back(self, copy: str) -> None:
        """Replace the database by the copy: everything since it was made is lost."""
        await self._admin(f'drop database "{self.database}" with (force)', f'alter database "{copy}" rename to "{self.database}"')

    async def drop_database(self) -> None:
        """Drop the database."""
        await self._admin(f'drop database if exists "{self.database}" with (force)')

    async def _admin(self, *statements: str) -> None:
        engine = _plain(self.databases.server.url("postgres"))
        async with engine.connect() as conn:
            for statement in statements:
                await conn.execute(text(statement))
        await engine.dispose()

    def borrower(self, name: str) -> list[Event]:
        """Return a borrower who can be reached."""
        number, now = random.Random(name).randrange(10**8, 10**9), datetime.now(UTC).isoformat()  # noqa: TID251  # the services' own clock
        addresses = [{"channel": "sms", "address": f"+8613{number}"}, {"channel": "email", "address": f"{name}@example.org"}]
        return [
            event("borrower.updated", event_id=_id(), borrower_id=name, name="Li Wei", locale="en", timezone=self.zone,
                  jurisdictions=["ZZ"], addresses=addresses),
            *[event("borrower.consent", event_id=_id(), borrower_id=name, channel=c, purpose="dunning", granted=True, at=now)
              for c in ("sms", "email")],
        ]  # fmt: skip

    def late_loan(self, name: str) -> Event:
        """Return the borrower's loan, one day late."""
        due_on = self.today - timedelta(days=1)
        begun = due_on - timedelta(days=30)
        return event(
            "loan.disbursed", event_id=_id(), recorded=datetime(begun.year, begun.month, begun.day, tzinfo=UTC), loan_id=f"loan-{name}",
            borrower_id=name, product="cash-loan", currency="CNY", disbursed_on=begun.isoformat(), timezone=self.zone, jurisdictions=["ZZ"],
            schedule=[{"n": 1, "due_on": due_on.isoformat(), "principal": AMOUNT}],
        )  # fmt: skip

    def payment(self, name: str, amount: int = AMOUNT) -> Event:
        """Return a payment made now."""
        now = datetime.now(UTC)  # noqa: TID251  # the services' own clock
        return event(
            "repayment.received", event_id=_id(), recorded=now, loan_id=f"loan-{name}", repayment_id=_id(), amount=amount,
            paid_at=now.isoformat(),
        )  # fmt: skip


@asynccontextmanager
async def on_stage(databases: Databases, broker: Broker, folder: Path) -> AsyncIterator[Stage]:
    """Started services, on their own database and topics."""
    database = f"chaos_{uuid4().hex[:8]}"
    url = await databases.server.create(database)
    apart = Apart(url, broker.bootstrap, folder, partitions=PARTITIONS)
    bus = KafkaBus(broker.bootstrap, clock=WallClock(), client_id="wallet", partitions=PARTITIONS)
    zone, today = zone_where_it_is_ten()
    stage = Stage(apart, databases, database, bus, zone, today, httpx.AsyncClient(timeout=10))
    await asyncio.to_thread(apart.prepare)
    try:
        await asyncio.to_thread(apart.start)
        yield stage
    finally:
        for process in apart.processes.values():
            process.kill()
            process.wait()
        await stage.http.aclose()
        await bus.close()
        await stage.drop_database()


def zone_where_it_is_ten() -> tuple[str, date]:
    """Return a zone in which the built-in policy's window is open now, and the day there."""
    now = datetime.now(UTC)  # noqa: TID251  # the services' own clock
    offset = (10 - now.hour + 11) % 24 - 11
    return (f"Etc/GMT{-offset:+d}" if offset else "Etc/GMT"), (now + timedelta(hours=offset)).date()


def _message(one: Event) -> Message:
    topic = BORROWER_EVENTS_TOPIC if one["type"] in BORROWER_EVENTS else LOAN_EVENTS_TOPIC
    about = str(one["subject"])
    headers = tuple((f"ce_{name}", str(one[name]).encode()) for name in ("specversion", "id", "source", "type", "time", "subject"))
    return Message(topic.name, partition_of("default", about, PARTITIONS), about.encode(), msgspec.json.encode(one["data"]), headers)


def _plain(url: str) -> AsyncEngine:
    return create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT")


def _id() -> str:
    return uuid4().hex
