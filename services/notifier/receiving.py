"""Receipts: believed or not, kept sealed, and then all that was said of an attempt decides how far its contact came."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import sealing
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.outbox import Outbox
from services.notifier.announcing import Announcer
from services.notifier.directory import Directory
from services.notifier.domain.delivery import Change, Delivery, receipted
from services.notifier.domain.receipts import Receipt, Standing
from services.notifier.providers.kinds import ADAPTERS
from services.notifier.providers.wire import Callback, Denied, Fetch
from services.notifier.store import accounts, borrowers, contacts, deliveries, receipts
from services.notifier.store.accounts import AccountRow
from services.notifier.store.attempts import Attempt
from services.notifier.store.borrowers import Who
from services.notifier.store.receipts import Told, Word

MOST_FETCHED = 3
"""A callback needs a certificate and a confirmation at most."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Takes what providers post."""

    engine: AsyncEngine
    clock: Clock
    outbox: Outbox
    announcer: Announcer
    directory: Directory
    fetch: Callable[[str], Awaitable[bytes | None]]

    async def take(self, name: str, secret: str, callback: Callback) -> int:
        """Take a callback in, and return how many words in it were new; one that is not believed changes nothing."""
        async with self.engine.connect() as conn:
            row = await accounts.find_by_secret(conn, name, self.directory.secret_hash(secret))
        if row is None:
            raise DomainError(404, "not_found", "there is nothing here")
        found = await self._read(row, callback)
        words = [Word(_id_of(receipt), receipt) for receipt in found]
        if not words:
            return 0
        plain = msgspec.json.encode({"url": callback.url, "body": callback.body})
        sealed = sealing.seal(plain, sealing.public_of(self.directory.private_key), f"callback/{row.tenant}/{row.name}")
        async with self.engine.begin() as conn:
            new = await self._apply(conn, row, words, sealed)
        self.outbox.wake.set()
        return new

    async def _read(self, row: AccountRow, callback: Callback) -> Sequence[Receipt]:
        read = ADAPTERS[row.kind].receipts
        if read is None:
            raise DomainError(404, "not_found", f"{row.kind} sends no receipts")
        account = self.directory.account(row)
        for _ in range(MOST_FETCHED):
            found = read(callback, account, self.clock.now())
            match found:
                case Denied(why):
                    raise DomainError(403, "not_believed", f"{why}: this does not come from the provider")
                case Fetch(url):
                    content = await self.fetch(url)
                    if content is None:
                        break
                    callback = replace(callback, fetched={**callback.fetched, url: content})
                case _:
                    return found
        raise DomainError(503, "unavailable", "what is needed to believe it cannot be fetched now", headers={"Retry-After": "60"})

    async def _apply(self, conn: AsyncConnection, row: AccountRow, words: Sequence[Word], sealed: bytes) -> int:
        """Keep what is new, lock the borrowers it is about, and lift their deliveries by all that was ever said."""
        now = await self.clock.at(conn)
        new = await receipts.keep(conn, row.tenant, row.name, words, sealed=sealed, now=now)
        about = await receipts.attempts_of(conn, row.tenant, row.name, [word.receipt for word in new]) if new else []
        if not about:
            return len(new)
        await borrowers.lock(conn, {(attempt.tenant, attempt.borrower_id) for attempt in about})
        told = {_of(one.attempt): one for one in await receipts.told(conn, about)}
        found = await deliveries.locked(conn, sorted({key[:3] for key in told}))
        changes = [_change(delivery, told[key]) for delivery in found if (key := _of(delivery)) in told]
        await deliveries.save(conn, [change.delivery for change in changes])
        await receipts.note(conn, list(told.values()), now=now)
        await contacts.note_results(conn, [_delivered(one) for one in told.values() if one.reduced.standing is Standing.DELIVERED])
        await self.outbox.append(conn, self.announcer.messages(changes, now=now))
        return len(new)


def _change(delivery: Delivery, told: Told) -> Change:
    return receipted(delivery, told.reduced, told.attempt.provider, told.loans, code=told.code)


def _of(one: Delivery | Attempt) -> tuple[str, str, str, int]:
    """Return the attempt that this is; what is said of an earlier one changes no delivery."""
    return one.tenant, one.borrower_id, one.task_id, one.turn


def _delivered(told: Told) -> tuple[Who, str, str]:
    one = told.attempt
    return (one.tenant, one.borrower_id), contacts.id_of(one.task_id, one.channel), "delivered"


def _id_of(receipt: Receipt) -> bytes:
    """Return by what a word is known again: the provider's id of it, else all that it says."""
    said = receipt.event_id or msgspec.json.encode(replace(receipt, address=None)).decode()
    return hashlib.sha256(said.encode()).digest()
