"""Rotation of sealing keys in the ledger: borrowers' wrapped keys, which are republished, and sealed unreadable records."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.db.rewrapping import BATCH, LETTER, Done, Place, rewrap
from libs.common.sealing import Ring
from services.ingest.borrowers import Borrowers

KEYS = Place(
    "ingest.borrowers", {"tenant": "text", "borrower_id": "text"}, "wrapped_key", lambda row: f"{row.tenant}/{row.borrower_id}/key"
)  # fmt: skip
LETTERS = Place("ingest.parked", {"tenant": "text", "parked_id": "text"}, "event", lambda row: f"{row.tenant}/letter", form=LETTER)
PLACES = (KEYS, LETTERS)


@dataclass(frozen=True, slots=True)
class Rewrap:
    """Reseals what ingest keeps sealed for the notifier; run with the notifier's keys, which ingest itself never has."""

    engine: AsyncEngine
    borrowers: Borrowers
    ring: Ring
    batch: int = BATCH

    async def steps(self) -> AsyncIterator[Done]:
        """Work until nothing is left."""
        async for done in rewrap(self.engine, KEYS, self.ring, follow=self._republish, batch=self.batch):
            yield done
        async for done in rewrap(self.engine, LETTERS, self.ring, batch=self.batch):
            yield done

    async def _republish(self, conn: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
        """Republish the profiles of these borrowers: the compacted topic must have no key that the newest sealing key cannot open."""
        await self.borrowers.republish(conn, [(row.tenant, row.borrower_id) for row in rows])
