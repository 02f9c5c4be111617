"""A change of sealing keys in the ledger: borrowers' wrapped keys, said anew, and letters that nobody could read."""

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
    """Seals anew what ingest keeps sealed for the notifier; it is run with the notifier's keys, which ingest itself never has."""

    engine: AsyncEngine
    borrowers: Borrowers
    ring: Ring
    batch: int = BATCH

    async def steps(self) -> AsyncIterator[Done]:
        """Work until nothing is left."""
        async for done in rewrap(self.engine, KEYS, self.ring, follow=self._say, batch=self.batch):
            yield done
        async for done in rewrap(self.engine, LETTERS, self.ring, batch=self.batch):
            yield done

    async def _say(self, conn: AsyncConnection, rows: Sequence[Row[Any]]) -> None:
        """Say the profiles of these borrowers again: the compacted topic must hold no key that the newest does not open."""
        await self.borrowers.say_again(conn, [(row.tenant, row.borrower_id) for row in rows])
