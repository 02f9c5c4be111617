"""Receipts: verified, stored sealed, and then everything said about an attempt decides how far its contact came."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common.addresses import lookup_of
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.outbox import Outbox
from services.notifier.announcing import Announcer
from services.notifier.directory import Directory
from services.notifier.domain.asking import UNREPORTED
from services.notifier.domain.clocks import on_calendar
from services.notifier.domain.delivery import Change, Delivery, heard
from services.notifier.domain.receipts import News, Receipt, Standing, state_of
from services.notifier.domain.replies import Ending, told_by_provider
from services.notifier.domain.results import Accepted, Fault, kept_word
from services.notifier.domain.states import Reached
from services.notifier.domain.suppressions import ANYBODY, GROUND_OF
from services.notifier.providers.kinds import ALL
from services.notifier.providers.wire import Callback, Denied, Fetch
from services.notifier.store import (
    accounts,
    attempts,
    borrowers,
    contacts,
    deliveries,
    erasing,
    freeing,
    parts,
    receipts,
    suppressions,
    unreported,
)
from services.notifier.store.accounts import AccountRow
from services.notifier.store.attempts import Attempt
from services.notifier.store.borrowers import Who
from services.notifier.store.parts import Part
from services.notifier.store.receipts import Concerned, Told, Word
from services.notifier.store.suppressions import Source
from services.notifier.store.unreported import Unreported

_Said = TypeVar("_Said")
MOST_FETCHED = 3
"""A callback needs at most a certificate and a confirmation."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Takes in what providers post."""

    engine: AsyncEngine
    clock: Clock
    outbox: Outbox
    announcer: Announcer
    directory: Directory
    fetch: Callable[[str], Awaitable[bytes | None]]

    async def take(self, name: str, secret: str, callback: Callback) -> dict[str, object]:
        """Take in a callback and return the answer for its provider; one that is not believed changes nothing."""
        async with self.engine.connect() as conn:
            row = await accounts.find_by_secret(conn, name, self.directory.secret_hash(secret))
        if row is None:
            raise DomainError(404, "not_found", "there is nothing here")
        found, signed = await self._read(row, callback)
        new = 0
        if found:
            sealed = self.directory.sealed_callback(row, callback)
            new = await self.keep(row.tenant, row.name, words_of(found), sealed=sealed, signed=signed)
        return {**ALL[row.kind].heard, "new": new}

    async def keep_answer(self, tenant: str, name: str, said: Receipt) -> None:
        """Take in an account's answer to our question: it came over a call of ours, so it is believed like a signed callback."""
        sealed = self.directory.sealed_words(tenant, name, repr(said).encode())
        await self.keep(tenant, name, words_of([said]), sealed=sealed, signed=True)

    async def keep(self, tenant: str, name: str, words: Sequence[Word], *, sealed: bytes, signed: bool) -> int:
        """Take in what a tenant's account has said and is believed; return how many of the statements are new.

        Unsigned ones may suppress but never permit: a message they report as not delivered keeps its place in caps.
        """
        async with self.engine.begin() as conn:
            await parts.lock(conn, tenant, name, _names([word.receipt for word in words]))
            now = await self.clock.at(conn)
            words = await _by_part(conn, tenant, name, words)
            new = await receipts.keep(conn, tenant, name, words, sealed=sealed, now=now)
            said = [word.receipt for word in new]
            about = await self._reduce(conn, tenant, name, said, now=now, signed=signed) if new else []
            await self._suppress(conn, tenant, name, [one for one in said if one.fault in GROUND_OF], now=now)
            if about:
                await erasing.forget_callbacks(conn, await borrowers.erased_of(conn, {(one.tenant, one.borrower_id) for one in about}))
        self.outbox.wake.set()
        return len(new)

    async def _suppress(self, conn: AsyncConnection, tenant: str, name: str, bad: Sequence[Receipt], *, now: datetime) -> None:
        """Suppress addresses that, a provider says, opted out or do not exist; signed or not."""
        if not bad:
            return
        concerned = await receipts.concerned(conn, tenant, name, bad)
        await borrowers.lock(conn, {(tenant, one.attempt.borrower_id) for one in concerned})
        found = {delivery.key: delivery for delivery in await deliveries.locked(conn, sorted({one.attempt.key for one in concerned}))}
        account = await accounts.find(conn, tenant, name)
        channels = account.channels[:1] if account is not None else ()
        named = [(on, self._lookup(tenant, on, one.address), one.fault) for one in bad for on in channels if one.address is not None]
        made = await suppressions.keep(conn, tenant, _endings(concerned, named, name), now=now)
        changes = []
        for one in concerned:
            key, ending = one.attempt.key, Ending(ANYBODY, one.attempt.channel, one.lookup or "", GROUND_OF[one.fault])
            if key in found:
                changes.append(told_by_provider(found[key], one.fault, one.code, one.attempt.channel, new=ending in made))
                found[key] = changes[-1].delivery
        await deliveries.save(conn, list(found.values()))
        await deliveries.wake(conn, {key[:2] for key in found}, now=now)
        await self.outbox.append(conn, self.announcer.messages(changes, now=now))

    def _lookup(self, tenant: str, channel: str, address: str) -> str:
        return lookup_of(self.directory.digest_key, tenant, channel, address)

    async def keep_unread(self, tenant: str, name: str, *, sealed: bytes) -> None:
        """Store what nothing here can read."""
        async with self.engine.begin() as conn:
            await receipts.keep_request(conn, tenant, name, sealed=sealed, now=await self.clock.at(conn))

    async def catch_up(self, conn: AsyncConnection, accepted: Sequence[tuple[Attempt, Accepted]], now: datetime) -> None:
        """Apply what was said about messages before they were recorded; their names are locked."""
        several = [(attempt, one.parts) for attempt, one in accepted if len(one.parts) > 1]
        await parts.keep(
            conn,
            [Part(attempt.tenant, attempt.provider, ref, attempt.message_id, len(refs)) for attempt, refs in several for ref in refs],
            surely=True,
        )
        asked = [
            Unreported(attempt.tenant, attempt.provider, *name)
            for attempt, one in accepted
            for name in zip(one.parts, one.spelled, strict=False)
        ]
        await unreported.keep(conn, asked, now=now, due_at=now + UNREPORTED[0])
        said: dict[tuple[str, str], list[Receipt]] = {}
        for attempt, one in accepted:
            said.setdefault((attempt.tenant, attempt.provider), []).extend(Receipt(None, provider_ref=ref) for ref in one.parts)
        for (tenant, name), words in sorted(said.items()):
            await self._reduce(conn, tenant, name, words, now=now, signed=False)

    async def _reduce(
        self, conn: AsyncConnection, tenant: str, name: str, said: Sequence[Receipt], *, now: datetime, signed: bool
    ) -> list[Attempt]:  # fmt: skip
        """Apply what is said to the deliveries concerned, and return their attempts; receipts of parts are combined per message first."""
        names = _names(said)
        whole = await parts.whole(conn, tenant, name, names) if names else []
        await receipts.keep(conn, tenant, name, words_of(whole), sealed=None, now=now)
        about = await receipts.attempts_of(conn, tenant, name, [*said, *whole])
        if about:
            came_back = signed and any(one.standing is Standing.FAILED for one in (*said, *whole))
            waits = await freeing.who_waits(conn, [_contact_of(one) for one in about]) if came_back else set()
            await self._lift(conn, about, now=now, signed=signed, waits=waits)
        return about

    async def _read(self, row: AccountRow, callback: Callback) -> tuple[Sequence[Receipt], bool]:
        """Return what a callback says, and whether its account signs."""
        adapter = ALL.get(row.kind)
        read = adapter.receipts if adapter else None
        if adapter is None or read is None:
            raise DomainError(404, "not_found", f"{row.kind} sends no receipts")
        account, now = self.directory.account(row), self.clock.now()
        return await believed(lambda asked: read(asked, account, now), callback, self.fetch), adapter.signs(account)

    async def _lift(
        self, conn: AsyncConnection, about: Sequence[Attempt], *, now: datetime, signed: bool, waits: Collection[Who]
    ) -> None:  # fmt: skip
        """Lock the borrowers that receipts concern, and apply everything ever said about these attempts to their deliveries.

        Where this frees a place in caps, those who wait for one are woken.
        """
        await borrowers.lock(conn, {(attempt.tenant, attempt.borrower_id) for attempt in about}.union(waits))
        told = sorted(await receipts.told(conn, about), key=lambda one: (one.attempt.key, one.attempt.channel))
        if not told:
            return
        found = {delivery.key: delivery for delivery in await deliveries.locked(conn, sorted({one.attempt.key for one in told}))}
        before = await attempts.reached(conn, sorted(found))
        changes = []
        for one in (one for one in told if one.attempt.key in found):
            change = _change(found[one.attempt.key], one, before[one.attempt.key], now)
            found[one.attempt.key] = change.delivery
            before[one.attempt.key] = _updated(before[one.attempt.key], one)
            changes.append(change)
        await deliveries.save(conn, list(found.values()))
        await receipts.note(conn, told, now=now)
        definite = {Standing.DELIVERED, Standing.FAILED} if signed else {Standing.DELIVERED}
        await contacts.note_results(conn, [_counted_as(one) for one in told if one.reduced.standing in definite])
        if waits:
            await deliveries.wake(conn, waits, now=now)
        await self.outbox.append(conn, self.announcer.messages(changes, now=now))


def _endings(concerned: Sequence[Concerned], unmatched: Sequence[tuple[str, str, Fault]], name: str) -> list[tuple[Ending, Source]]:
    """Return the suppressions at the addresses of attempts, and at addresses that only a receipt names."""
    found = [
        (Ending(ANYBODY, one.attempt.channel, one.lookup, GROUND_OF[one.fault]), Source("receipt", name, one.attempt.task_id))
        for one in concerned if one.lookup is not None
    ]  # fmt: skip
    return found + [(Ending(ANYBODY, channel, lookup, GROUND_OF[fault]), Source("receipt", name)) for channel, lookup, fault in unmatched]


async def believed(
    read: Callable[[Callback], Sequence[_Said] | Denied | Fetch], callback: Callback, fetch: Callable[[str], Awaitable[bytes | None]]
) -> Sequence[_Said]:  # fmt: skip
    """Return what a callback says, fetching what is needed to verify it; one that is not believed is refused."""
    for _ in range(MOST_FETCHED):
        found = read(callback)
        match found:
            case Denied(why):
                raise DomainError(403, "not_believed", f"{why}: this does not come from the provider")
            case Fetch(url):
                content = await fetch(url)
                if content is None:
                    break
                callback = replace(callback, fetched={**callback.fetched, url: content})
            case _:
                return found
    raise DomainError(503, "unavailable", "what is needed to verify it cannot be fetched now", headers={"Retry-After": "60"})


def _change(delivery: Delivery, told: Told, before: Sequence[Reached], now: datetime) -> Change:
    if told.reduced.standing is None:
        return Change(delivery)
    of = told.attempt
    return heard(delivery, News(of.channel, told.reduced.standing, tuple(before), of.provider, told.loans, told.code), now=now)


def _updated(before: Sequence[Reached], told: Told) -> list[Reached]:
    """Return what is known about a delivery's attempts once this is known too."""
    if told.reduced.standing is None:
        return list(before)
    others = [one for one in before if one.channel != told.attempt.channel]
    state = state_of(None, told.reduced.standing.name.lower())
    return others if state is None else [*others, Reached(state, told.attempt.channel)]


def _counted_as(told: Told) -> tuple[Who, str, str]:
    """Return the result by which caps and notices know a contact: one that did not arrive does not count."""
    return *_contact_of(told.attempt), "delivered" if told.reduced.standing is Standing.DELIVERED else "failed"


def _contact_of(one: Attempt) -> tuple[Who, str]:
    """Return the key of an attempt's contact in the ledger."""
    return (one.tenant, one.borrower_id), contacts.id_of(one.task_id, one.channel)


def words_of(found: Sequence[Receipt]) -> list[Word]:
    """Return receipts under ids by which repeats are recognised."""
    return [Word(_id_of(receipt), _in_kept_words(receipt)) for receipt in found]


async def _by_part(conn: AsyncConnection, tenant: str, name: str, words: Sequence[Word]) -> Sequence[Word]:
    """Identify receipts of one of several parts by the part's name alone: our id would stand for the whole message.

    That it is a part is known from the answer to the message, or from the receipt itself, which may come first.
    """
    supposed = [
        Part(tenant, name, one.provider_ref, one.message_id, one.parts)
        for one in (word.receipt for word in words)
        if one.parts > 1 and one.provider_ref and one.message_id
    ]
    await parts.keep(conn, supposed, surely=False)
    may_be = [word.receipt.provider_ref for word in words if word.receipt.of_part and word.receipt.provider_ref]
    known = await parts.known(conn, tenant, name, may_be) if may_be else set()
    return [
        Word(word.id, replace(word.receipt, message_id=None)) if word.receipt.of_part and word.receipt.provider_ref in known else word
        for word in words
    ]


def _names(said: Sequence[Receipt]) -> list[str]:
    """Return the provider's names for messages about which it says nothing else, or for parts of them."""
    return [one.provider_ref for one in said if one.provider_ref and (one.of_part or not one.message_id)]


def _in_kept_words(one: Receipt) -> Receipt:
    """Return a receipt that names its message in the form in which the answer to it is stored."""
    said = (one.message_id, one.provider_ref, one.event_id, one.code)
    message_id, ref, event_id, code = (None if word is None else kept_word(word) for word in said)
    return replace(one, message_id=message_id, provider_ref=ref, event_id=event_id, code=code, at=on_calendar(one.at))


def _id_of(receipt: Receipt) -> bytes:
    """Return what identifies a statement when repeated: the provider's id for it, else everything it says."""
    said = receipt.event_id or msgspec.json.encode(replace(receipt, address=None)).decode()
    return hashlib.sha256(said.encode()).digest()
