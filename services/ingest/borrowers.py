"""Processing a batch of borrower events: names and addresses are sealed before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common import ids, sealing
from libs.common.addresses import lookup_of
from libs.common.bus.ports import Message
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
from services.ingest import erasing
from services.ingest.decoding import WalletEvent
from services.ingest.erasing import PROFILE_PARTS
from services.ingest.ledger import SOURCE, Arrival, Counted, uncounted, whole
from services.ingest.store import borrowers as store
from services.ingest.store import feeds, parked
from services.ingest.store.borrowers import ERASURE, BorrowerRow, Key, LogRow, ValueRow
from services.ingest.store.feeds import Beat
from services.ingest.store.parked import ParkedRow
from services.ingest.telling_apart import split_new

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
        rows = await self._log_rows(conn, about, locked, now)
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
        beats: dict[feeds.Source, Beat] = {}
        for one in arrivals:
            if isinstance(one.event.data, FeedHeartbeat):
                source, beat = (one.tenant, one.event.source), Beat(one.event.data.every_s, one.event.time, one.received_at)
                beats[source] = beat.joined(beats.get(source, beat))
        await feeds.heard(conn, beats)

    async def _log_rows(
        self, conn: AsyncConnection, arrivals: Sequence[Arrival], locked: Mapping[Key, BorrowerRow], now: datetime
    ) -> list[tuple[LogRow, Arrival]]:
        """Return what would be added to the log; of an update from before an erasure only that it came."""
        rows = [(self._log_row(arrival), arrival) for arrival in arrivals]
        erasures = await erasing.of(conn, rows)
        await erasing.forget(conn, erasures.brought, locked, now)
        told = [(row, arrival, None if erasures.overtakes(row) else _update_of(arrival)) for row, arrival in rows]
        await self._give_keys(conn, [locked[row.key] for row, _, said in told if said is not None])
        return [(row if said is None else replace(row, data=self._sealed(said, locked[row.key])), arrival) for row, arrival, said in told]

    async def _give_keys(self, conn: AsyncConnection, rows: Sequence[BorrowerRow]) -> None:
        """Create a key pair for every borrower without one."""
        keyless = {(row.tenant, row.borrower_id): row for row in rows if row.public_key is None}
        for (tenant, borrower_id), row in keyless.items():
            made = sealing.new_borrower_key(self.sealer.notifier_public, f"{tenant}/{borrower_id}")
            row.public_key, row.wrapped_key, row.erased_at = made.public, made.wrapped_private, None
        await store.save_keys(conn, [keyless[key] for key in sorted(keyless)])

    def _log_row(self, arrival: Arrival) -> LogRow:
        """Return an event as the log keeps it, an update without all that it says."""
        event = arrival.event
        digest = sealing.digest(self.sealer.digest_key, event.type, event.time.isoformat(), event.content.decode())
        updated = isinstance(event.data, BorrowerUpdated)
        data = _encode({"borrower_id": event.about} if updated else msgspec.to_builtins(event.data))
        return LogRow(arrival.tenant, event.about, event.source, event.id, event.type, event.time, digest, data, arrival.received_at)

    def _sealed(self, data: BorrowerUpdated, borrower: BorrowerRow) -> bytes:
        """Return the data of an update with names and addresses sealed under the borrower's key."""
        plain: dict[str, Any] = msgspec.to_builtins(data)
        if borrower.public_key is None:
            raise RuntimeError("a borrower of whom something is kept has a key")
        context = f"{borrower.tenant}/{data.borrower_id}"
        if data.name is not None:
            plain["name"] = sealing.as_text(sealing.seal(data.name.encode(), borrower.public_key, f"{context}/name"))
        if data.addresses is not None:
            addresses = [self._sealed_address(one, borrower.tenant, borrower.public_key, context) for one in data.addresses]
            plain["addresses"] = msgspec.to_builtins(addresses)
        return _encode(plain)

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

    def doubt(self, tenant: str, borrower_id: str, parked_id: str, *, now: datetime, until: datetime | None) -> Message:
        """Return the message that a borrower is, or no longer is, in doubt because of a parked event."""
        state = StatusState(borrower_id=borrower_id, time=now, id=parked_id, status_id=parked_id, status="in_doubt", from_=now, until=until)
        return self._message("borrower.status.v1", tenant, f"status:{parked_id}", state, now)

    async def _publish(
        self, conn: AsyncConnection, fresh: Sequence[tuple[LogRow, Arrival]], locked: Mapping[Key, BorrowerRow], now: datetime
    ) -> None:
        """Keep the newest value of every part, and publish those that changed."""
        values = _newest([value for row, arrival in fresh for value in _values(row, arrival.event)])
        written = await store.put_values(conn, values)
        stated = [value for value in values if (value.tenant, value.borrower_id, value.what) in written]
        erased = {(value.tenant, value.borrower_id): value for value in stated if value.what == ERASURE}
        changed = {(value.tenant, value.borrower_id) for value in stated if value.what in PROFILE_PARTS}
        messages = [self._erasure(value, now) for value in erased.values()]
        messages += await self._profiles(conn, sorted(changed | erased.keys()), locked, now, erased=erased)
        messages += [self._message(*_stated(value), now) for value in stated if value.what not in (*PROFILE_PARTS, ERASURE)]
        messages += [
            self._message("contact.recorded.v1", row.tenant, f"contact:{arrival.event.data.contact_id}", arrival.event.data, now)
            for row, arrival in fresh
            if isinstance(arrival.event.data, ContactRecorded)
        ]
        await self.outbox.append(conn, messages)

    async def _profiles(
        self, conn: AsyncConnection, keys: Sequence[Key], locked: Mapping[Key, BorrowerRow], now: datetime,
        *, erased: Mapping[Key, ValueRow],
    ) -> list[Message]:  # fmt: skip
        """Return the profiles of these borrowers as they stand; of one who was erased and has none that it is closed."""
        if not keys:
            return []
        by_borrower: dict[Key, list[ValueRow]] = {}
        for value in await store.values_of(conn, keys, PROFILE_PARTS):
            by_borrower.setdefault((value.tenant, value.borrower_id), []).append(value)
        records, messages = await store.count(conn, keys), list[Message]()
        for key in keys:
            if values := by_borrower.get(key):
                profile = _profile(locked[key], values, records[key])
                messages.append(self._message("borrower.profile.v1", key[0], "profile", profile, now))
            elif key in erased:
                messages.append(self._closed(erased[key], records[key]))
        return messages

    async def republish(self, conn: AsyncConnection, keys: Sequence[Key]) -> None:
        """Publish the current profiles of these borrowers; one without any part of a profile has none."""
        now, locked = await self.clock.at(conn), await store.lock(conn, keys)
        await self.outbox.append(conn, await self._profiles(conn, sorted(keys), locked, now, erased={}))

    def _erasure(self, value: ValueRow, now: datetime) -> Message:
        said = BorrowerErasure(borrower_id=value.borrower_id, time=value.time, id=value.event_id)
        return self._message("borrower.erased.v1", value.tenant, "erased", said, now)

    def _closed(self, value: ValueRow, records: int) -> Message:
        """Return the end of a profile; a message without data has its stamp in its envelope."""
        tenant, borrower_id = value.tenant, value.borrower_id
        stamp = f"{_counted(value.event_id, records)}#{ids.fresh()}"
        envelope = Envelope("borrower.profile.v1", stamp, SOURCE, value.time, tenant, borrower_id)
        return self.writer.message(PROFILES, envelope, None, key=f"{tenant}/{borrower_id}/profile", borrower_id=borrower_id)

    def _message(self, type_: str, tenant: str, what: str, data: Any, now: datetime) -> Message:
        envelope = Envelope(type_, ids.fresh(), SOURCE, now, tenant, data.borrower_id)
        return self.writer.message(PROFILES, envelope, data, key=f"{tenant}/{data.borrower_id}/{what}", borrower_id=data.borrower_id)


def _update_of(arrival: Arrival) -> BorrowerUpdated | None:
    """Return an update that says some part of a profile."""
    data = arrival.event.data
    return data if isinstance(data, BorrowerUpdated) and any(getattr(data, part) is not None for part in PROFILE_PARTS) else None


def _values(row: LogRow, event: WalletEvent) -> list[ValueRow]:
    """Return the parts contained in an event, as they are stored."""
    sealed = msgspec.json.decode(row.data)
    match event.data:
        case BorrowerUpdated():
            said = {part: sealed[part] for part in PROFILE_PARTS if sealed.get(part) is not None}
        case BorrowerConsent(channel=channel, purpose=purpose):
            said = {f"consent:{channel}:{purpose}": sealed}
        case BorrowerStatus(status_id=status_id):
            said = {f"status:{status_id}": sealed}
        case BorrowerErased():
            said = {ERASURE: sealed}
        case _:
            said = {}
    return [ValueRow(row.tenant, row.borrower_id, what, event.time, event.id, _encode(value)) for what, value in said.items()]


def _newest(values: Sequence[ValueRow]) -> list[ValueRow]:
    """Return the value with the greatest (time, event id) of each part: one statement cannot write a row twice."""
    best: dict[tuple[str, str, str], ValueRow] = {}
    for value in values:
        key = value.tenant, value.borrower_id, value.what
        if key not in best or best[key].stamp < value.stamp:
            best[key] = value
    return [best[key] for key in sorted(best)]


def _profile(borrower: BorrowerRow, values: Sequence[ValueRow], records: int) -> BorrowerProfile:
    parts = {value.what: msgspec.json.decode(value.value) for value in values}
    newest = max(values, key=lambda value: value.stamp)
    return BorrowerProfile(
        borrower_id=borrower.borrower_id,
        time=newest.time,
        id=_counted(newest.event_id, records),
        key=sealing.as_text(borrower.wrapped_key or b""),
        sealed_name=parts.get("name"),
        locale=parts.get("locale"),
        timezone=parts.get("timezone"),
        jurisdictions=tuple(parts.get("jurisdictions", ())),
        addresses=msgspec.convert(parts.get("addresses", ()), _Addresses),
        attributes=parts.get("attributes", {}),
    )


def _counted(event_id: str, records: int) -> str:
    """Return the id of a profile, which rises when an older event has changed it, and stays below every greater event id.

    No character of an id sorts before the sign between the two.
    """
    return f"{event_id}#{records:06d}"


def _stated(value: ValueRow) -> tuple[str, str, str, ConsentState | StatusState]:
    """Return (type, tenant, what, state) of a consent or a status."""
    said = {**msgspec.json.decode(value.value), "time": value.time, "id": value.event_id}
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
