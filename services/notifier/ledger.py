"""The contacts that count towards caps, read under the locks of their counters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.daily import NO_CONTACT
from services.notifier.domain.gatekeeping import Earlier
from services.notifier.store import contacts
from services.notifier.store.borrowers import Who
from services.notifier.store.contacts import Contact

LOOKBACK = timedelta(days=400)
"""No rule looks further back."""


@dataclass(slots=True)
class Ledger:
    """The contacts that count, including those this claim has just started."""

    by_borrower: dict[Who, list[Contact]] = field(default_factory=dict)
    by_lookup: dict[tuple[str, str], list[Contact]] = field(default_factory=dict)

    def add(self, contact: Contact) -> None:
        """Add a contact."""
        self.by_borrower.setdefault((contact.tenant, contact.borrower_id), []).append(contact)
        if contact.lookup is not None and (found := self.by_lookup.get((contact.tenant, contact.lookup))) is not None:
            found.append(contact)

    def dunned(self, who: Who, task_id: str) -> tuple[datetime, ...]:
        """Return when a borrower was sent dunning messages of other tasks."""
        mine = (c for c in self.by_borrower.get(who, ()) if c.kind == "dunning" and c.task_id not in {None, task_id})
        return tuple(contact.at for contact in mine if contact.result not in NO_CONTACT)

    def earlier(self, who: Who, lookup: str) -> Earlier:
        """Return the contacts that count for a borrower and an address."""
        own = self.by_borrower.get(who, ())
        others = [contact for contact in self.by_lookup.get((who[0], lookup), ()) if contact.borrower_id != who[1]]
        others = _without_own(others, own) if others else others
        slots = tuple(contact.lapses_at for contact in (*own, *others) if contact.lapses_at is not None)
        return Earlier(tuple(contact.prior() for contact in own), tuple(contact.prior() for contact in others), slots)


async def counted(
    conn: AsyncConnection, keys: set[tuple[str, str, str]], lookups: set[tuple[str, str]], who: Iterable[Who], *, now: datetime
) -> Ledger:  # fmt: skip
    """Lock these counters, then return the contacts they count."""
    await contacts.lock_caps(conn, keys)
    ledger = Ledger(by_lookup={pair: [] for pair in lookups})
    for contact in await contacts.of_borrowers(conn, who, since=now - LOOKBACK, now=now):
        ledger.by_borrower.setdefault((contact.tenant, contact.borrower_id), []).append(contact)
    for contact in await contacts.of_lookups(conn, lookups, since=now - LOOKBACK, now=now):
        ledger.by_lookup[contact.tenant, contact.lookup or ""].append(contact)
    return ledger


def _without_own(others: list[Contact], own: Sequence[Contact]) -> list[Contact]:
    """Leave out ownerless contacts that are known to be the borrower's own: from before an erasure, after which the borrower came back."""
    known = {(contact.at, contact.channel) for contact in own if contact.lookup is None}
    return [contact for contact in others if contact.borrower_id or (contact.at, contact.channel) not in known]
