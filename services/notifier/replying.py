"""Replies: verified, stored sealed, read for what they wish, which is carried out in the same transaction."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import ids
from libs.common.addresses import lookup_of
from libs.common.clock import Clock
from libs.common.errors import DomainError
from libs.common.outbox import Outbox
from services.notifier.announcing import Announcer
from services.notifier.directory import Directory
from services.notifier.domain.clocks import on_calendar
from services.notifier.domain.delivery import Change, Delivery, Task
from services.notifier.domain.replies import Ending, Inbound, announced, answered, confirmation, endings
from services.notifier.domain.suppressions import ANYBODY, Ground
from services.notifier.domain.wishes import Wish, Words, recognise, together
from services.notifier.ledger import LOOKBACK
from services.notifier.providers.kinds import ADAPTERS
from services.notifier.providers.wire import Adapter, Callback
from services.notifier.receiving import believed
from services.notifier.store import accounts, borrowers, contacts, deliveries, gates, receipts, replies, suppressions
from services.notifier.store.accounts import AccountRow
from services.notifier.store.replies import Heard, Owner
from services.notifier.store.suppressions import Lift, Source

MAIL = "email"


class Spoken(msgspec.Struct, frozen=True):
    """The sealed content of a reply."""

    sender: str
    text: str


_spoken = msgspec.json.Decoder(Spoken).decode


@dataclass(frozen=True, slots=True)
class Listener:
    """Takes in what people write back."""

    engine: AsyncEngine
    clock: Clock
    outbox: Outbox
    announcer: Announcer
    directory: Directory
    fetch: Callable[[str], Awaitable[bytes | None]]
    languages: Sequence[Words]

    async def take(self, name: str, secret: str, callback: Callback) -> Adapter:
        """Take in a callback and return the adapter that knows the answer to it; one that is not believed changes nothing."""
        async with self.engine.connect() as conn:
            row = await accounts.find_by_secret(conn, name, self.directory.secret_hash(secret))
        if row is None:
            raise DomainError(404, "not_found", "there is nothing here")
        adapter = ADAPTERS[row.kind]
        if (read := adapter.inbound) is None:
            raise DomainError(404, "not_found", f"{row.kind} brings no replies")
        account, now = self.directory.account(row), self.clock.now()
        found = await believed(lambda asked: read(asked, account, now), callback, self.fetch)
        if found:
            await self.keep(row, found, sealed=self.directory.sealed_callback(row, callback))
        return adapter

    async def unsubscribe(self, token: str) -> None:
        """Stop mails to the address that got the mail with this link; the same link works any number of times."""
        about = self.directory.unsubscribing(token)
        if about is None:
            raise DomainError(404, "not_found", "there is nothing here")
        tenant, borrower_id, task_id = about
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            await borrowers.lock(conn, [(tenant, borrower_id)])
            found = await deliveries.locked(conn, [about])
            lookup = await contacts.lookup_of(conn, (tenant, borrower_id), contacts.id_of(task_id, MAIL))
            if not found or lookup is None:
                raise DomainError(404, "not_found", "there is nothing here")
            ending = Ending(ANYBODY, MAIL, lookup, Ground.OPT_OUT)
            if await suppressions.keep(conn, tenant, [(ending, Source("unsubscribe", None, task_id))], now=now):
                change = announced(found[0], [("opted_out", "unsubscribe")], MAIL)
                await deliveries.save(conn, [change.delivery])
                await deliveries.wake(conn, [(tenant, borrower_id)], now=now)
                await self.outbox.append(conn, self.announcer.messages([change], now=now))
        self.outbox.wake.set()

    def opened(self, tenant: str, provider: str, reply: str, sealed: bytes) -> Spoken:
        """Return a reply's sender and text."""
        return _spoken(self.directory.ring.unseal(sealed, context(tenant, provider, reply)))

    async def keep(self, row: AccountRow, found: Sequence[Inbound], *, sealed: bytes) -> int:
        """Take in believed messages written to an account, each once; return how many were new."""
        heard = [self._heard(row, one) for one in found]
        async with self.engine.begin() as conn:
            now = await self.clock.at(conn)
            new = await replies.keep(conn, row.tenant, row.name, heard, now=now)
            if new:
                callback = await receipts.keep_request(conn, row.tenant, row.name, sealed=sealed, now=now)
                await self._act(conn, row, new, callback=callback, now=now)
        self.outbox.wake.set()
        return len(new)

    def _heard(self, row: AccountRow, one: Inbound) -> Heard:
        """Return a reply in stored form; the keyed hash of its sender is the same as that of an address in a profile."""
        known = hashlib.sha256(f"{one.channel}\x1f{one.id}".encode()).digest()
        wishes = together([*recognise(one.text, self.languages), *([one.wish] if one.wish else [])])
        plain = msgspec.json.encode(Spoken(one.address, one.text))
        sealed = self.directory.ring.keep(plain, context(row.tenant, row.name, known.hex()))
        lookup = lookup_of(self.directory.digest_key, row.tenant, one.channel, one.address)
        return Heard(known, dataclasses.replace(one, at=on_calendar(one.at)), wishes, lookup, sealed)

    async def _act(self, conn: AsyncConnection, row: AccountRow, new: Sequence[Heard], *, callback: int, now: datetime) -> None:
        """Carry out what these replies wish, and announce them in the cases of everybody who was contacted at their addresses."""
        tenant = row.tenant
        owners = await replies.owners(conn, tenant, [one.lookup for one in new], since=now - LOOKBACK)
        who = {(tenant, owner.borrower_id) for owner in owners}
        await borrowers.lock(conn, who)
        found = {d.key: d for d in await deliveries.locked(conn, sorted({(tenant, o.borrower_id, o.task_id) for o in owners}))}
        by_lookup = {one.lookup: [owner for owner in owners if owner.lookup == one.lookup] for one in new}
        named = [(one.id, sorted({owner.borrower_id for owner in by_lookup[one.lookup]})) for one in new]
        await replies.attribute(conn, tenant, row.name, named, callback=callback)
        confirmed = []
        for one in new:
            made = await self._suppress(conn, row, one, by_lookup[one.lookup], now=now)
            confirmed += _confirmations(one, made, by_lookup[one.lookup], found, now=now)
        changes = [change for one in new for change in _outcomes(one, by_lookup[one.lookup], found)]
        await deliveries.save(conn, list(found.values()))
        await deliveries.take_requests(conn, confirmed, now=now, epoch=(await gates.epoch(conn)).number)
        await deliveries.wake(conn, who, now=now)
        await self.outbox.append(conn, self.announcer.messages(changes, now=now))

    async def _suppress(
        self, conn: AsyncConnection, row: AccountRow, one: Heard, owners: Sequence[Owner], *, now: datetime
    ) -> dict[Ending, str]:  # fmt: skip
        """Write the suppression that a reply asks for, or lift those from earlier replies of the same sender; return what is new."""
        channel, source = one.inbound.channel, Source("reply", row.name, owners[0].task_id if owners else None)
        if Wish.START in one.wishes and one.inbound.signed:
            lift = Lift(row.name, Wish.START.value, now)
            await suppressions.lift_replies(conn, row.tenant, [one.lookup], lift, said_at=one.inbound.at or now)
        ending = endings(one.wishes, channel, one.lookup, sorted({owner.borrower_id for owner in owners}))
        return await suppressions.keep(conn, row.tenant, [(each, source) for each in ending], now=now)


def context(tenant: str, provider: str, reply: str) -> str:
    """Return the context that the text of a reply is sealed in."""
    return f"reply/{tenant}/{provider}/{reply}"


def _outcomes(one: Heard, owners: Sequence[Owner], found: dict[Task, Delivery]) -> list[Change]:
    """Return what to announce about a reply, in every case that contacted its address; the numbering of each delivery continues."""
    changes = []
    for key, delivery in list(found.items()):
        if any(key[1:] == (owner.borrower_id, owner.task_id) for owner in owners):
            change = answered(delivery, one.wishes, one.inbound.channel)
            found[key] = change.delivery
            changes.append(change)
    return changes


def _confirmations(
    one: Heard, made: Mapping[Ending, str], owners: Sequence[Owner], found: Mapping[Task, Delivery], *, now: datetime
) -> list[Delivery]:  # fmt: skip
    """Return the confirmation of a new opt-out, to whoever was contacted last; none if the provider has sent its own."""
    new = [made[ending] for ending in made if (ending.borrower_id, ending.ground) == (ANYBODY, Ground.OPT_OUT)]
    if not new or one.inbound.answered:
        return []
    told = next((d for owner in owners for key, d in found.items() if key[1:] == (owner.borrower_id, owner.task_id)), None)
    return [] if told is None else [confirmation(told, one.inbound.channel, ids.derived("t", told.tenant, new[0]), now=now)]
