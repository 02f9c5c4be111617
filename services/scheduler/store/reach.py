"""What the gate needs to know about borrowers, from their topic: of two values with the same key, the greater (time, id) is kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.compliance import Channel, Prior
from services.scheduler.domain.lawful import BY_US, Address, Reach
from services.scheduler.store.arrays import transposed, unnest

PROFILE = "profile"
CONSENT = "consent:"
CONTACT = "contact:"
LOOKBACK = timedelta(days=400)
"""No rule of the gate looks further back."""
_COLUMNS = {"tenant": "text", "borrower_id": "text", "what": "text", "time": "timestamptz", "event_id": "text", "value": "bytea",
    "segment": "text",
}  # fmt: skip
WITH_SEGMENT = f"left join scheduler.reach r on (r.tenant, r.borrower_id, r.what) = (d.tenant, d.borrower_id, '{PROFILE}')"
"""The join of debts `d` with the row that has their borrower's segment."""
_UPSERT = text(
    f"with before as (select r.tenant, r.borrower_id, r.segment from {unnest({'tenant': 'text', 'borrower_id': 'text'}, 'k')}"
    f" join scheduler.reach r on (r.tenant, r.borrower_id, r.what) = (k.tenant, k.borrower_id, '{PROFILE}') group by 1, 2, 3),"
    f" kept as (insert into scheduler.reach as r ({', '.join(_COLUMNS)}) select {', '.join(_COLUMNS)} from {unnest(_COLUMNS, 'v')}"
    " order by tenant, borrower_id, what on conflict (tenant, borrower_id, what) do update"
    " set time = excluded.time, event_id = excluded.event_id, value = excluded.value, segment = excluded.segment"
    ' where (excluded.time, excluded.event_id collate "C") > (r.time, r.event_id collate "C")'
    " returning tenant, borrower_id, what, segment)"
    " insert into scheduler.segment_changes as s (tenant, borrower_id, at)"
    " select k.tenant, k.borrower_id, cast(:now as timestamptz) from kept k"
    " left join before b on (b.tenant, b.borrower_id) = (k.tenant, k.borrower_id)"
    f" where k.what = '{PROFILE}' and k.segment is distinct from b.segment order by 1, 2"
    " on conflict (tenant, borrower_id) do update set at = excluded.at"
)
_SEGMENTS = text(
    f"select r.tenant, r.borrower_id, r.segment from {unnest({'tenant': 'text', 'borrower_id': 'text'}, 'k')} join scheduler.reach r"
    f" on (r.tenant, r.borrower_id, r.what) = (k.tenant, k.borrower_id, '{PROFILE}') where r.segment is not null"
)
_OF = {"tenant": "text", "borrower_id": "text"}
_READ = text(
    f"select r.tenant, r.borrower_id, r.what, r.value from {unnest(_OF, 'k')}"
    " join scheduler.reach r on (r.tenant, r.borrower_id) = (k.tenant, k.borrower_id) where r.value is not null"
    " order by r.tenant, r.borrower_id, r.what"
)
_SAID = text(
    "select s.tenant, s.borrower_id, s.channel, s.made_at, s.state, s.purpose, s.debts"
    f" from {unnest(_OF, 'k')} join scheduler.case_steps s on (s.tenant, s.borrower_id) = (k.tenant, k.borrower_id)"
    " where s.made_at >= :since and s.made_at < :before and s.channel is not null order by s.made_at, s.task_id"
)
_debts = msgspec.json.Decoder(list[tuple[str, int, int]]).decode


class AddressKept(msgspec.Struct, frozen=True):
    """Where a borrower can be reached, without the address."""

    channel: str
    lookup: str
    priority: int = 100
    purposes: tuple[str, ...] | None = None


class ProfileKept(msgspec.Struct, frozen=True):
    """What is stored of a profile: neither name nor address."""

    timezone: str | None
    jurisdictions: tuple[str, ...]
    addresses: tuple[AddressKept, ...]


class ConsentKept(msgspec.Struct, frozen=True):
    """The current consent for one channel and purpose."""

    granted: bool
    counts_from: datetime | None = None
    """The start of a consent that begins later than it was given."""


class ContactKept(msgspec.Struct, frozen=True):
    """A contact made by others."""

    at: datetime
    channel: str
    result: str
    by: str
    loans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReachRow:
    """A stored value; None if it was closed."""

    tenant: str
    borrower_id: str
    what: str
    time: datetime
    event_id: str
    value: bytes | None
    segment: str | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the gate is told about a borrower."""

    reach: Reach
    prior: tuple[Prior, ...]


NOTHING = Known(Reach(), ())
_profile = msgspec.json.Decoder(ProfileKept).decode
_consent = msgspec.json.Decoder(ConsentKept).decode
_contact = msgspec.json.Decoder(ContactKept).decode


async def keep_greater(conn: AsyncConnection, rows: Sequence[ReachRow], now: datetime) -> None:
    """Store these values (one per key) if they are greater; record changed segments, to be applied to the debts."""
    if rows:
        await conn.execute(_UPSERT, {**transposed(_COLUMNS, rows), "now": now})


async def segments(conn: AsyncConnection, borrowers: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Return the segments of these (tenant, borrower); those without one are absent."""
    if not (wanted := sorted(set(borrowers))):
        return {}
    tenants, ids = zip(*wanted, strict=True)
    found = await conn.execute(_SEGMENTS, {"tenant": list(tenants), "borrower_id": list(ids)})
    return {(row.tenant, row.borrower_id): row.segment for row in found}


async def known(
    conn: AsyncConnection, borrowers: Sequence[tuple[str, str]], *, since: datetime, before: datetime
) -> Mapping[tuple[str, str], Known]:
    """Return what is known about these (tenant, borrower), with all contacts anybody made in this period."""
    tenants, ids = zip(*sorted(borrowers), strict=True)
    who = {"tenant": list(tenants), "borrower_id": list(ids)}
    values: dict[tuple[str, str], dict[str, bytes]] = {}
    for row in await conn.execute(_READ, who):
        values.setdefault((row.tenant, row.borrower_id), {})[row.what] = row.value
    prior: dict[tuple[str, str], list[Prior]] = {}
    for row in await conn.execute(_SAID, {**who, "since": since, "before": before}):
        loans = tuple(loan for loan, _, _ in _debts(row.debts))
        result = "failed" if row.state == "failed" else "delivered"
        said = Prior(row.made_at, Channel(row.channel), result, loans, BY_US, kind=row.purpose)
        prior.setdefault((row.tenant, row.borrower_id), []).append(said)
    return {
        who: Known(
            _reach(values.get(who, {})), (*prior.get(who, ()), *(c for c in _elsewhere(values.get(who, {})) if since <= c.at < before))
        )
        for who in borrowers
    }


def _reach(values: Mapping[str, bytes]) -> Reach:
    consents = {_of(what): _consent(value) for what, value in values.items() if what.startswith(CONSENT)}
    granted = {of: one.counts_from for of, one in consents.items() if one.granted}
    withdrawn = frozenset(consents.keys() - granted.keys())
    if PROFILE not in values:
        return Reach(consents=granted, withdrawn=withdrawn)
    kept = _profile(values[PROFILE])
    addresses = tuple(Address(one.channel, one.lookup, one.priority, one.purposes) for one in kept.addresses)
    return Reach(True, kept.timezone, kept.jurisdictions, addresses, granted, withdrawn)


def _of(what: str) -> tuple[str, str]:
    """Return the channel and purpose in a consent's key."""
    _, channel, purpose = what.split(":", 2)
    return channel, purpose


def _elsewhere(values: Mapping[str, bytes]) -> list[Prior]:
    found = [_contact(value) for what, value in values.items() if what.startswith(CONTACT)]
    return [Prior(one.at, Channel(one.channel), one.result, one.loans, one.by) for one in sorted(found, key=lambda one: one.at)]
