"""Records from the wallets' topics: decode, process, and set aside what cannot be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids
from libs.common.bus.consumer import dead_letter
from libs.common.bus.ports import DeadLetterBudget, Message, Record
from libs.common.contracts.wallet_borrowers import BORROWER_EVENTS
from libs.common.errors import PoisonError
from libs.common.outbox import Outbox
from services.ingest import decoding
from services.ingest.borrowers import Borrowers
from services.ingest.decoding import Refusal, WalletEvent
from services.ingest.ledger import Arrival, Counted, Ledger, uncounted
from services.ingest.observing import OVER_HTTP, IngestMetrics
from services.ingest.store.parked import ParkedRow
from services.ingest.tables import GROUP


@dataclass(frozen=True, slots=True)
class Route:
    """Whose topic it is, and whether it carries personal data."""

    tenant: str
    about_borrowers: bool


@dataclass(frozen=True, slots=True)
class Handlers:
    """The consumer group of ingest."""

    routes: Mapping[str, Route]
    ledger: Ledger
    borrowers: Borrowers
    outbox: Outbox
    budget: DeadLetterBudget
    metrics: IngestMetrics

    async def on_records(self, conn: AsyncConnection, records: Sequence[Record]) -> None:
        """Process a batch of one topic."""
        route = self.routes[records[0].topic]
        arrivals, refused, letters = await self._read(records, route)
        loans = [a for a in arrivals if a.event.type not in BORROWER_EVENTS]
        others = [a for a in arrivals if a.event.type in BORROWER_EVENTS]
        counted = [
            await self.ledger.take(conn, loans, refused[False]),
            await self.borrowers.take(conn, others, refused[True]),
        ]
        await self.outbox.append(conn, letters)
        came = uncounted(arrivals) + len(letters)
        self.metrics.took_in(_sum(counted), came=came, oldest=min(record.at for record in records), now=self.ledger.clock.now())

    async def _read(self, records: Sequence[Record], route: Route) -> tuple[list[Arrival], dict[bool, list[ParkedRow]], list[Message]]:
        """Return the events, what cannot be read (by whether it may contain personal data), and dead letters about the latter."""
        arrivals: list[Arrival] = []
        refused: dict[bool, list[ParkedRow]] = {False: [], True: []}
        letters: list[Message] = []
        for record, read in zip(records, await self.ledger.turns.each(records, decoding.binary), strict=True):
            match read:
                case WalletEvent() as event:
                    arrivals.append(Arrival(route.tenant, record.topic, event, record.at, record.headers[-1:] == OVER_HTTP))
                case Refusal() as refusal:
                    self.budget.spend(record, refusal.error)
                    personal = route.about_borrowers or decoding.names_borrowers(record)
                    refused[personal].append(self._parked(record, refusal, route.tenant, personal=personal))
                    letters.append(self._letter(record, refusal, route.tenant, personal=personal))
        return arrivals, refused, letters

    def _parked(self, record: Record, refusal: Refusal, tenant: str, *, personal: bool) -> ParkedRow:
        """Return the row for an unreadable record; the same bytes always get the same id."""
        raw = record.value or b""
        names = [f"{name}={value.decode(errors='replace')}" for name, value in record.headers if name.startswith("ce_")]
        parked_id = ids.derived("p", tenant, record.topic, *names, raw)
        event = self.borrowers.sealer.letter(raw, f"{tenant}/letter") if personal else decoding.whole_of(record)
        loan, borrower = (None, refusal.borrower_id) if personal else (refusal.loan_id, None)
        return ParkedRow(tenant, parked_id, loan, borrower, record.topic, event, refusal.error, refusal.detail, record.at)

    def _letter(self, record: Record, refusal: Refusal, tenant: str, *, personal: bool) -> Message:
        letter = dead_letter(record, GROUP, PoisonError(refusal.error, refusal.detail))
        if not personal:
            return letter
        sealed = self.borrowers.sealer.letter(record.value or b"", f"{tenant}/letter")
        return Message(letter.topic, letter.partition, letter.key, sealed, letter.headers)


def _sum(counted: Sequence[Counted]) -> Counted:
    return Counted(sum(c.accepted for c in counted), sum(c.repeats for c in counted), sum(c.parked for c in counted))
