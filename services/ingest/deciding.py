"""People's decisions about parked events: carried out and recorded in one transaction, or refused without any change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.clock import Clock
from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS
from libs.common.contracts.wallet_loans import LOAN_EVENTS
from libs.common.errors import NOT_JSON, DomainError
from services.ingest import decoding
from services.ingest.borrowers import SEALED_PARTS, Borrowers
from services.ingest.decoding import Refusal, WalletEvent
from services.ingest.ledger import Arrival, Ledger
from services.ingest.store import loans, parked
from services.ingest.store.parked import Decision, ParkedRow

UPDATED = "wallet.borrower.updated.v1"
Chosen = Callable[[ParkedRow], WalletEvent | None]


@dataclass(frozen=True, slots=True)
class ParkedDesk:
    """Lists parked events and carries out decisions; each decision is a record of the loan, and the last one ends its doubt."""

    engine: AsyncEngine
    clock: Clock
    ledger: Ledger
    borrowers: Borrowers

    async def page(self, tenant: str, loan_id: str | None, *, since: datetime | None, after: str, limit: int) -> list[ParkedRow]:
        """Return the events that wait for a decision."""
        async with self.engine.connect() as conn:
            return await parked.page(conn, tenant, loan_id=loan_id, since=since, after=after, limit=limit)

    async def discard(self, tenant: str, parked_id: str, *, by: str, reason: str) -> ParkedRow:
        """Discard a parked event."""
        return await self._decide(tenant, parked_id, Decision("discarded", by, reason), lambda _: None)

    async def retry(self, tenant: str, parked_id: str, *, by: str) -> ParkedRow:
        """Process a parked event as if it had just arrived."""
        return await self._decide(tenant, parked_id, Decision("retried", by, ""), _stored)

    async def replace(self, tenant: str, parked_id: str, *, event: bytes, by: str, reason: str) -> ParkedRow:
        """Process another event about the same loan or borrower instead."""
        instead = decoding.structured(event)
        if isinstance(instead, Refusal):
            raise DomainError(422, instead.error, instead.detail, id=instead.event_id)
        named = f"replaced by event {instead.id} of {instead.source}"
        decision = Decision("replaced", by, f"{named}: {reason}" if reason else named)
        return await self._decide(tenant, parked_id, decision, lambda row: _about_the_same(row, instead))

    async def _decide(self, tenant: str, parked_id: str, decision: Decision, chosen: Chosen) -> ParkedRow:
        async with self.engine.begin() as conn:
            row = await _claimed(conn, tenant, parked_id)
            event, now = chosen(row), await self.clock.at(conn)
            arrivals = [] if event is None else [Arrival(tenant, row.topic, event, now, counted=True)]
            about_borrower = event is not None and event.type in BORROWER_EVENTS
            aside = (await self.borrowers.take(conn, arrivals)).aside if about_borrower else []
            aside += (await self.ledger.take(conn, [] if about_borrower else arrivals, decided=[(row, decision)])).aside
            if aside:
                raise DomainError(409, "parked_again", f"nothing has changed: {aside[0].detail}", error=aside[0].error)
            if row.borrower_id is not None:
                ended = self.borrowers.doubt(tenant, row.borrower_id, parked_id, now=now, until=now)
                await self.ledger.outbox.append(conn, [ended])
        self.ledger.outbox.wake.set()
        return row


async def _claimed(conn: AsyncConnection, tenant: str, parked_id: str) -> ParkedRow:
    """Lock an undecided event: the loan before its parked event, as the ledger does when a retraction decides."""
    row = await parked.find(conn, tenant, parked_id)
    if row is None:
        raise DomainError(404, "not_found", f"no parked event {parked_id[:128]}")
    if row.loan_id is not None:
        await loans.lock(conn, [(tenant, row.loan_id)])
    decided_at = await parked.claim(conn, row)
    if decided_at is not None:
        raise DomainError(409, "already_decided", f"this event was decided on at {decided_at.isoformat()}")
    return row


def _stored(row: ParkedRow) -> WalletEvent:
    """Return the parked event, if it can be read."""
    if _is_sealed(row):
        raise DomainError(409, "sealed", "the parked event is sealed and only the notifier can open it: replace or discard it")
    event = decoding.structured(row.event)
    if isinstance(event, Refusal):
        raise DomainError(409, "parked_again", f"nothing has changed: {event.detail}", error=event.error)
    return event


def _is_sealed(row: ParkedRow) -> bool:
    """Return whether the event or its personal parts are sealed; processing it would seal them twice."""
    try:
        document: Any = msgspec.json.decode(row.event)
    except NOT_JSON:
        return False
    if not isinstance(document, dict):
        return False
    if document.keys() == {"sealed"}:
        return True
    data = document.get("data")
    updated = row.borrower_id is not None and document.get("type") == UPDATED
    return updated and isinstance(data, dict) and any(data.get(part) is not None for part in SEALED_PARTS)


def _about_the_same(row: ParkedRow, event: WalletEvent) -> WalletEvent:
    if row.loan_id is not None and not (event.type in LOAN_EVENTS and event.about == row.loan_id):
        raise DomainError(422, "about_another", f"the parked event is about loan {row.loan_id}, but this event is not")
    if row.borrower_id is not None and not (event.type in BORROWER_EVENTS and getattr(event.data, "borrower_id", None) == row.borrower_id):
        raise DomainError(422, "about_another", f"the parked event is about borrower {row.borrower_id}, but this event is not")
    return event
