"""Processing a batch of borrower events: names and addresses are sealed before anything is stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids, sealing
from libs.common.addresses import lookup_of
from libs.common.clock import Clock
from libs.common.cloudevents import Envelope, Writer
from libs.common.contracts.borrower_profiles import BorrowerErasure, BorrowerProfile, ConsentState, SealedAddress, StatusState
from libs.common.contracts.catalogue import PROFILES
from libs.common.contracts.wallet_borrowers import (
    Address,
    BorrowerConsent,
    BorrowerErased,
    BorrowerStatus,
    BorrowerUpdated,
    ContactRecorded,
    FeedHeartbeat,
)
from libs.common.outbox import Outbox
from services.ingest.decoding import WalletEvent
from services.ingest.ledger import SOURCE, Arrival, Counted, uncounted, whole
from services.ingest.store import borrowers as store
from services.ingest.store import parked
from services.ingest.store.borrowers import BorrowerRow, Key, LogRow, ValueRow
from services.ingest.store.parked import ParkedRow
from services.ingest.telling_apart import split_new

PROFILE_PARTS = ("name", "locale", "timezone", "jurisdictions", "addresses", "attributes")
SEALED_PARTS = ("name", "addresses")

_encode = msgspec.json.Encoder(order="deterministic").encode
_Addresses = tuple[SealedAddress, ...]


@dataclass(frozen=True, slots=True)
class Sealer:
    """The keys that ingest seals and digests with."""

    notifier_public: bytes
    digest_key: bytes

    def letter(self, raw: bytes, context: str) -> bytes:
        """Seal a whole unreadable record: it may contain anything."""
        return _encode({"sealed": sealing.as_text(sealing.seal(raw, self.notifier_public, context))})


@dataclass(frozen=True, slots=True)
class Borrowers:
    """The borrowers of all tenants in one schema."""

    clock: Clock
    outbox: Outbox
    writer: Writer
    sealer: Sealer

    async def take(self, conn: AsyncConnection, arrivals: Sequence[Arrival], refused: Sequence[ParkedRow] = ()) -> Counted:
        """Process events in the caller's transaction."""
        counted, now = Counted(), await self.clock.at(conn)
        await self._hear(conn, arrivals)
        about = [a for a in arrivals if not isinstance(a.event.data, FeedHeartbeat)]
        counted.accepted = uncounted(arrivals) - uncounted(about)
        if not about and not refused:
            return counted
        keys = {a.key for a in about} | {(p.tenant, p.borrower_id) for p in refused if p.borrower_id is not None}
        locked = await store.lock(conn, sorted(keys)) if keys else {}
        await self._give_keys(conn, [locked[a.key] for a in about])
        rows = [(self._log_row(a, locked[a.key]), a) for a in about]
        new = await store.insert(conn, [row for row, _ in rows]) if rows else set()
        fresh, others = split_new(rows, new)
        conflicts = await self._conflicts(conn, others)
        counted.accepted += uncounted(a for _, a in fresh)
        counted.repeats = uncounted(a for _, a in others) - uncounted(a for _, a in conflicts)
        counted.aside = [_parked(row, arrival, now) for row, arrival in conflicts]
        counted.parked = len(await self._park(conn, [*refused, *counted.aside], now))
        await self._publish(conn, fresh, locked, now)
        return counted

    async def _hear(self, conn: AsyncConnection, arrivals: Sequence[Arrival]) -> None:
        beats = {
            (a.tenant, a.event.source): (a.event.data.every_s, a.received_at) for a in arrivals if isinstance(a.event.data, FeedHeartbeat)
        }  # fmt: skip
        await store.heard(conn, beats)

    async def _give_keys(self, conn: AsyncConnection, rows: Sequence[BorrowerRow]) -> None:
        """Create a key pair for every borrower without one."""
        keyless = {(row.tenant, row.borrower_id): row for row in rows if row.public_key is None}
        for (tenant, borrower_id), row in keyless.items():
            made = sealing.new_borrower_key(self.sealer.notifier_public, f"{tenant}/{borrower_id}")
            row.public_key, row.wrapped_key, row.erased_at = made.public, made.wrapped_private, None
        await store.save_keys(conn, [keyless[key] for key in sorted(keyless)])

    def _log_row(self, arrival: Arrival, borrower: BorrowerRow) -> LogRow:
        event = arrival.event
        digest = sealing.digest(self.sealer.digest_key, event.type, event.time.isoformat(), event.content.decode())
        data = _encode(self._sealed(arrival, borrower))
        return LogRow(arrival.tenant, event.about, event.source, event.id, event.type, event.time, digest, data, arrival.received_at)

    def _sealed(self, arrival: Arrival, borrower: BorrowerRow) -> dict[str, Any]:
        """Return the event's data with names and addresses sealed under the borrower's key."""
        data = arrival.event.data
        plain: dict[str, Any] = msgspec.to_builtins(data)
        if not isinstance(data, BorrowerUpdated) or borrower.public_key is None:
            return plain
        context = f"{arrival.tenant}/{data.borrower_id}"
        if data.name is not None:
            plain["name"] = sealing.as_text(sealing.seal(data.name.encode(), borrower.public_key, f"{context}/name"))
        if data.addresses is not None:
            addresses = [self._sealed_address(one, arrival.tenant, borrower.public_key, context) for one in data.addresses]
            plain["addresses"] = msgspec.to_builtins(addresses)
        return plain

    def _sealed_address(self, address: Address, tenant: str, public_key: bytes, context: str) -> SealedAddress:
        normal = address.address.strip().lower() if address.channel == "email" else address.address.strip()
        return SealedAddress(
            channel=address.channel,
            sealed=sealing.as_text(sealing.seal(normal.encode(), public_key, f"{context}/address")),
            lookup=lookup_of(self.sealer.digest_key, tenant, address.channel, address.address),
            priority=address.priority,
            verified_at=address.verified_at,
            purposes=address.purposes,
        )

    async def _conflicts(self, conn: AsyncConnection, others: Sequence[tuple[LogRow, Arrival]]) -> list[tuple[LogRow, Arrival]]:
        standing = await store.digests(conn, [row for row, _ in others]) if others else {}
        return [(row, arrival) for row, arrival in others if standing[row.identity] != row.digest]

    async def _park(self, conn: AsyncConnection, rows: Sequence[ParkedRow], now: datetime) -> set[tuple[str, str]]:
        """Park events; the borrower is `in_doubt` until a person has decided."""
        new = await parked.insert(conn, rows)
        doubted = [row for row in rows if row.borrower_id is not None and (row.tenant, row.parked_id) in new]
        messages = [self.doubt(row.tenant, str(row.borrower_id), row.parked_id, now=now, until=None) for row in doubted]
        await self.outbox.append(conn, messages)
        return new

    def doubt(self, tenant: str, borrower_id: str, parked_id: str, *, now: datetime, until: datetime | None) -> Any:
        """Return the message that a borrower is, or is no longer, in doubt because of a parked event."""
        state = StatusState(borrower_id=borrower_id, time=now, id=parked_id, status_id=parked_id, status="in_doubt", from_=now, until=until)
        return self._message("borrower.status.v1", tenant, f"status:{parked_id}", state, now)

    async def _publish(
        self, conn: AsyncConnection, fresh: Sequence[tuple[LogRow, Arrival]], locked: dict[Key, BorrowerRow], now: datetime
    ) -> None:
        """Keep the newest value of every part, and publish those that changed."""
        values = _newest([value for row, arrival in fresh for value in _values(row, arrival.event)])
        written = await store.put_values(conn, values)
        erased = sorted({(row.tenant, row.borrower_id) for row, arrival in fresh if isinstance(arrival.event.data, BorrowerErased)})
        messages = []
        changed = sorted({(tenant, borrower) for tenant, borrower, what in written if what in PROFILE_PARTS} - set(erased))
        messages += await self._profiles(conn, changed, locked, now)
        messages += [self._message(*_stated(value), now) for value in values if (value.tenant, value.borrower_id, value.what) in written
                     and value.what not in PROFILE_PARTS]  # fmt: skip
        messages += [
            self._message("contact.recorded.v1", row.tenant, f"contact:{arrival.event.data.contact_id}", arrival.event.data, now)
            for row, arrival in fresh
            if isinstance(arrival.event.data, ContactRecorded)
        ]
        messages += await self._erase(conn, fresh, locked, now)
        await self.outbox.append(conn, messages)

    async def _profiles(self, conn: AsyncConnection, keys: Sequence[Key], locked: dict[Key, BorrowerRow], now: datetime) -> list[Any]:
        if not keys:
            return []
        by_borrower: dict[Key, list[ValueRow]] = {}
        for value in await store.values_of(conn, keys, PROFILE_PARTS):
            by_borrower.setdefault((value.tenant, value.borrower_id), []).append(value)
        return [
            self._message("borrower.profile.v1", tenant, "profile", _profile(locked[tenant, borrower], by_borrower[tenant, borrower]), now)
            for tenant, borrower in keys
            if (tenant, borrower) in by_borrower
        ]

    async def republish(self, conn: AsyncConnection, keys: Sequence[Key]) -> None:
        """Publish the current profiles of these borrowers; one without any part of a profile has none."""
        now, locked = await self.clock.at(conn), await store.lock(conn, keys)
        await self.outbox.append(conn, await self._profiles(conn, sorted(keys), locked, now))

    async def _erase(
        self, conn: AsyncConnection, fresh: Sequence[tuple[LogRow, Arrival]], locked: dict[Key, BorrowerRow], now: datetime
    ) -> list[Any]:
        """Destroy the keys of the erased, drop their sealed parts, and close their profile on the compacted topic."""
        erased = {a.key: a.event for _, a in fresh if isinstance(a.event.data, BorrowerErased)}
        if not erased:
            return []
        for key in erased:
            locked[key].public_key = locked[key].wrapped_key = None
            locked[key].erased_at = now
        await store.save_keys(conn, [locked[key] for key in sorted(erased)])
        await store.forget(conn, sorted(erased), SEALED_PARTS)
        messages = []
        for (tenant, borrower), event in sorted(erased.items()):
            said = BorrowerErasure(borrower_id=borrower, time=event.time, id=event.id)
            messages.append(self._message("borrower.erased.v1", tenant, "erased", said, now))
            envelope = Envelope("borrower.profile.v1", ids.fresh(), SOURCE, now, tenant, borrower)
            messages.append(self.writer.message(PROFILES, envelope, None, key=f"{tenant}/{borrower}/profile", borrower_id=borrower))
        return messages

    def _message(self, type_: str, tenant: str, what: str, data: Any, now: datetime) -> Any:
        envelope = Envelope(type_, ids.fresh(), SOURCE, now, tenant, data.borrower_id)
        return self.writer.message(PROFILES, envelope, data, key=f"{tenant}/{data.borrower_id}/{what}", borrower_id=data.borrower_id)


def _values(row: LogRow, event: WalletEvent) -> list[ValueRow]:
    """Return the parts contained in an event, as they are stored."""
    sealed = msgspec.json.decode(row.data)
    match event.data:
        case BorrowerUpdated():
            said = {part: sealed[part] for part in PROFILE_PARTS if getattr(event.data, part) is not None}
        case BorrowerConsent(channel=channel, purpose=purpose):
            said = {f"consent:{channel}:{purpose}": sealed}
        case BorrowerStatus(status_id=status_id):
            said = {f"status:{status_id}": sealed}
        case _:
            said = {}
    return [ValueRow(row.tenant, row.borrower_id, what, event.time, event.id, _encode(value)) for what, value in said.items()]


def _newest(values: Sequence[ValueRow]) -> list[ValueRow]:
    """Return the value with the greatest (time, event id) of each part: one statement cannot write a row twice."""
    best: dict[tuple[str, str, str], ValueRow] = {}
    for value in values:
        key = value.tenant, value.borrower_id, value.what
        if key not in best or (best[key].time, best[key].event_id) < (value.time, value.event_id):
            best[key] = value
    return [best[key] for key in sorted(best)]


def _profile(borrower: BorrowerRow, values: Sequence[ValueRow]) -> BorrowerProfile:
    parts = {value.what: msgspec.json.decode(value.value) for value in values if value.value is not None}
    newest = max(values, key=lambda value: (value.time, value.event_id))
    return BorrowerProfile(
        borrower_id=borrower.borrower_id,
        time=newest.time,
        id=newest.event_id,
        key=sealing.as_text(borrower.wrapped_key or b""),
        sealed_name=parts.get("name"),
        locale=parts.get("locale"),
        timezone=parts.get("timezone"),
        jurisdictions=tuple(parts.get("jurisdictions", ())),
        addresses=msgspec.convert(parts.get("addresses", ()), _Addresses),
        attributes=parts.get("attributes", {}),
    )


def _stated(value: ValueRow) -> tuple[str, str, str, ConsentState | StatusState]:
    """Return (type, tenant, what, state) of a consent or a status."""
    said = {**msgspec.json.decode(value.value or b"{}"), "time": value.time, "id": value.event_id}
    said.pop("evidence", None)
    if value.what.startswith("consent:"):
        return "borrower.consent.v1", value.tenant, value.what, msgspec.convert(said, ConsentState)
    state = msgspec.convert(said, StatusState)
    if state.status == "deceased":  # nobody reports a future death: its day has just not begun everywhere
        state = msgspec.structs.replace(state, from_=min(state.from_, state.time))
    return "borrower.status.v1", value.tenant, value.what, state


def _parked(row: LogRow, arrival: Arrival, now: datetime) -> ParkedRow:
    parked_id = ids.derived("p", row.tenant, row.borrower_id, row.source, row.event_id, row.digest.hex())
    detail = f"event {row.event_id} was accepted with different content"
    event = whole(arrival.event, row.data)
    return ParkedRow(row.tenant, parked_id, None, row.borrower_id, arrival.topic, event, "conflict", detail, now)
