"""The ledger's parts, wired by hand, so that two of them can work in two open transactions."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import DrivenClock
from libs.common.cloudevents import Writer
from libs.common.contracts import corrections
from libs.common.contracts.catalogue import FACTS
from libs.common.contracts.corrections import CorrectedDays
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.metrics import Metrics
from libs.common.outbox import Outbox
from services.ingest import decoding, observing
from services.ingest.decoding import WalletEvent
from services.ingest.ledger import SOURCE, Arrival, Counted, Ledger
from services.ingest.store.products import ProductBook
from services.ingest.ticker import Ticker
from tests.support.running import unpublished
from tests.support.wallet import NOON, Event

PARTITIONS = 4


@dataclass(frozen=True)
class Said:
    """A fact as it stands in the outbox."""

    type: str
    tenant: str
    partition: int
    fact: OverdueFact
    corrects: tuple[CorrectedDays, ...] = ()


@dataclass
class Books:
    """A ledger and its ticker, as one replica has them."""

    engine: AsyncEngine
    clock: DrivenClock = field(default_factory=lambda: DrivenClock(NOON))
    outbox: Outbox = field(default_factory=lambda: Outbox("ingest"))
    ledger: Ledger = field(init=False)
    ticker: Ticker = field(init=False)

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.clock, self.outbox, Writer(SOURCE, PARTITIONS), ProductBook())
        self.ticker = Ticker(self.engine, self.ledger, observing.make(Metrics()))

    async def take(self, conn: AsyncConnection, *events: Event, tenant: str = "default") -> Counted:
        """Take events in, in the caller's transaction."""
        return await self.ledger.take(conn, [arrival(event, tenant, self.clock.now()) for event in events])

    async def commit(self, *events: Event, tenant: str = "default") -> Counted:
        """Take events in, in a transaction of their own."""
        async with self.engine.begin() as conn:
            return await self.take(conn, *events, tenant=tenant)

    async def said(self, loan_id: str | None = None) -> list[Said]:
        """Return the facts in the outbox, in order."""
        found = []
        for message in await unpublished(self.engine, "ingest"):
            headers = {name: value.decode() for name, value in message.headers}
            if message.topic == FACTS.name and headers["ce_type"] != "debt.watermark.v1":
                fact = msgspec.json.decode(message.value or b"", type=OverdueFact)
                corrects = corrections.read({name.removeprefix("ce_"): value for name, value in headers.items()})
                found.append(Said(headers["ce_type"], headers["ce_tenant"], message.partition, fact, corrects))
        return [one for one in found if loan_id in (None, one.fact.loan_id)]

    async def rows(self, statement: str, **values: Any) -> Any:
        """Return the rows of a statement."""
        async with self.engine.connect() as conn:
            return (await conn.execute(text(statement), values)).all()


def arrival(event: Event, tenant: str, at: datetime) -> Arrival:
    """Return an event as it comes off the topic."""
    decoded = decoding.structured(msgspec.json.encode(event))
    assert isinstance(decoded, WalletEvent), decoded
    return Arrival(tenant, "wallet.loan-events", decoded, at)


async def waiting_for_a_lock(engine: AsyncEngine) -> bool:
    """Say whether some connection to this database waits for another one."""
    async with engine.connect() as conn:
        waits = text("select exists (select from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock')")
        return bool((await conn.execute(waits)).scalar_one())
