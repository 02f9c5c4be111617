"""Receipts: believed or not, kept sealed, and then all that was said of an attempt decides how far its contact came."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import sealing
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.outbox import Outbox
from services.notifier.announcing import Announcer
from services.notifier.directory import Directory
from services.notifier.domain.delivery import Change, Delivery, heard
from services.notifier.domain.receipts import News, Receipt, Standing, state_of
from services.notifier.domain.states import Reached
from services.notifier.providers.kinds import ADAPTERS
from services.notifier.providers.wire import Callback, Denied, Fetch
from services.notifier.store import accounts, attempts, borrowers, contacts, deliveries, receipts
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
        return await self.keep(row.tenant, row.name, words, sealed=sealed)

    async def keep(self, tenant: str, name: str, words: Sequence[Word], *, sealed: bytes) -> int:
        """Take in what an account of a tenant has said and is believed, and return how many of these words are new."""
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            new = await receipts.keep(conn, tenant, name, words, sealed=sealed, now=now)
            about = await receipts.attempts_of(conn, tenant, name, [word.receipt for word in new]) if new else []
            if about:
                await self._lift(conn, about, now)
        self.outbox.wake.set()
        return len(new)

    async def _read(self, row: AccountRow, callback: Callback) -> Sequence[Receipt]:
        adapter = ADAPTERS.get(row.kind)
        read = adapter.receipts if adapter else None
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

    async def _lift(self, conn: AsyncConnection, about: Sequence[Attempt], now: datetime) -> None:
        """Lock the borrowers that receipts are about, and let all that was ever said of these attempts decide on their deliveries."""
        await borrowers.lock(conn, {(attempt.tenant, attempt.borrower_id) for attempt in about})
        told = sorted(await receipts.told(conn, about), key=lambda one: (_of(one.attempt), one.attempt.channel))
        found = {_of(delivery): delivery for delivery in await deliveries.locked(conn, sorted({_of(one.attempt) for one in told}))}
        before = await attempts.reached(conn, sorted(found))
        changes = []
        for one in (one for one in told if _of(one.attempt) in found):
            change = _change(found[_of(one.attempt)], one, before[_of(one.attempt)], now)
            found[_of(one.attempt)] = change.delivery
            before[_of(one.attempt)] = _with(before[_of(one.attempt)], one)
            changes.append(change)
        await deliveries.save(conn, list(found.values()))
        await receipts.note(conn, told, now=now)
        await contacts.note_results(conn, [_delivered(one) for one in told if one.reduced.standing is Standing.DELIVERED])
        await self.outbox.append(conn, self.announcer.messages(changes, now=now))


def _change(delivery: Delivery, told: Told, before: Sequence[Reached], now: datetime) -> Change:
    if told.reduced.standing is None:
        return Change(delivery)
    of = told.attempt
    return heard(delivery, News(of.channel, told.reduced.standing, tuple(before), of.provider, told.loans, told.code), now=now)


def _with(before: Sequence[Reached], told: Told) -> list[Reached]:
    """Return what is known of the attempts of a delivery once this is known too."""
    if told.reduced.standing is None:
        return list(before)
    others = [one for one in before if one.channel != told.attempt.channel]
    state = state_of(None, told.reduced.standing.name.lower())
    return others if state is None else [*others, Reached(state, told.attempt.channel)]


def _of(one: Delivery | Attempt) -> tuple[str, str, str]:
    return one.tenant, one.borrower_id, one.task_id


def _delivered(told: Told) -> tuple[Who, str, str]:
    one = told.attempt
    return (one.tenant, one.borrower_id), contacts.id_of(one.task_id, one.channel), "delivered"


def _id_of(receipt: Receipt) -> bytes:
    """Return by what a word is known again: the provider's id of it, else all that it says."""
    said = receipt.event_id or msgspec.json.encode(replace(receipt, address=None)).decode()
    return hashlib.sha256(said.encode()).digest()
