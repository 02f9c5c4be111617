"""Keeps what the gate needs from the profile topic, without names and addresses."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bus.ports import Record
from libs.common.clock import Clock
from libs.common.cloudevents import Envelope
from libs.common.contracts.borrower_profiles import BorrowerErasure, BorrowerProfile, ConsentState
from libs.common.contracts.values import segment_of
from libs.common.contracts.wallet_borrowers import ContactRecorded
from services.scheduler.store import reach
from services.scheduler.store.reach import CONSENT, CONTACT, PROFILE, AddressKept, ConsentKept, ContactKept, ProfileKept, ReachRow

_encode = msgspec.json.Encoder(order="deterministic").encode


async def on_profiles(conn: AsyncConnection, read: Sequence[tuple[Record, Envelope, msgspec.Struct | None]], clock: Clock) -> None:
    """Keep the greater value of every key."""
    newest: dict[tuple[str, str, str], ReachRow] = {}
    for one in read:
        if (row := _row(*one)) is not None:
            key = (row.tenant, row.borrower_id, row.what)
            if key not in newest or (row.time, row.event_id) > (newest[key].time, newest[key].event_id):
                newest[key] = row
    if newest:
        await reach.keep_greater(conn, [row for _, row in sorted(newest.items())], await clock.at(conn))


def _row(record: Record, envelope: Envelope, data: msgspec.Struct | None) -> ReachRow | None:
    """Return what a message says that the gate needs; None when it is about something else."""
    match data:
        case BorrowerProfile():
            addresses = tuple(AddressKept(one.channel, one.lookup, one.priority, one.purposes) for one in data.addresses)
            kept = _encode(ProfileKept(data.timezone, data.jurisdictions, addresses))
            return ReachRow(envelope.tenant, data.borrower_id, PROFILE, data.time, data.id, kept, segment_of(data.attributes))
        case BorrowerErasure():
            return ReachRow(envelope.tenant, data.borrower_id, PROFILE, data.time, data.id, None)
        case ConsentState():
            what = f"{CONSENT}{data.channel}:{data.purpose}"
            kept = _encode(ConsentKept(data.granted, data.at if data.at > data.time else None))
            return ReachRow(envelope.tenant, data.borrower_id, what, data.time, data.id, kept)
        case ContactRecorded():
            loans = (data.loan_id,) if data.loan_id else ()
            kept = _encode(ContactKept(data.at, data.channel, data.result or "", data.by, loans))
            return ReachRow(envelope.tenant, data.borrower_id, f"{CONTACT}{data.contact_id}", data.at, data.contact_id, kept)
        case None:
            return _closed(record, envelope)
        case _:
            return None


def _closed(record: Record, envelope: Envelope) -> ReachRow | None:
    """Return the removal of a value; only the key says which one: `tenant/borrower/what`."""
    match (record.key or b"").decode(errors="replace").split("/", 2):
        case [_, borrower_id, what] if what == PROFILE or what.startswith(CONSENT):
            return ReachRow(envelope.tenant, borrower_id, what, envelope.time, envelope.id, None)
        case _:
            return None
