"""Borrowers: the row whose lock covers everything about them, and what their profiles say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.borrower_profiles import BorrowerProfile, ConsentState, StatusState
from libs.common.db.arrays import column, joined
from services.notifier.store import pii

Who = tuple[str, str]
"""Tenant and borrower."""

_encode = msgspec.json.Encoder().encode
_profile = msgspec.json.Decoder(BorrowerProfile).decode
_WHO = "unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as w(tenant, borrower_id)"
_EACH = f"(select * from unnest({column('tenants')}, {column('borrowers')}) as w(tenant, borrower_id) order by 1, 2) w"
_ROW = "select * from notifier.borrowers where tenant = w.tenant and borrower_id = w.borrower_id"
_LOCK_THERE = text(f"select 1 from {_EACH} cross join lateral ({_ROW} for update) b")
_LOCK_FREE = text(
    "select b.tenant, b.borrower_id, b.profile, b.key, b.erased_at is not null as erased"
    f" from {_EACH} cross join lateral ({_ROW} for update skip locked) b"
)


@dataclass(frozen=True, slots=True)
class Borrower:
    """The locked row: the profile without its key, and the key separately."""

    profile: BorrowerProfile | None
    key: str | None
    erased: bool


@dataclass(frozen=True, slots=True)
class Stamp:
    """Order of values under one key: the greater (`time`, `id`) wins."""

    tenant: str
    borrower_id: str
    time: datetime
    id: str


def arrays(who: Iterable[Who]) -> dict[str, list[str]]:
    """Return borrowers as two arrays, in this order."""
    pairs = list(who)
    return {"tenants": [tenant for tenant, _ in pairs], "borrowers": [borrower for _, borrower in pairs]}


def joined_arrays(who: Iterable[Who]) -> dict[str, str]:
    """Return borrowers as two joined columns, in this order."""
    return {name: joined(values) for name, values in arrays(who).items()}


async def lock(conn: AsyncConnection, who: Iterable[Who]) -> None:
    """Make sure these borrowers have rows, and lock them in key order, so that batches never deadlock."""
    ordered = sorted(set(who))
    if not ordered:
        return
    await conn.execute(
        text(
            f"insert into notifier.borrowers (tenant, borrower_id) select tenant, borrower_id from {_WHO}"  # no value in it
            " order by 1, 2 on conflict (tenant, borrower_id) do nothing"
        ),
        arrays(ordered),
    )
    await conn.execute(
        text(
            f"select 1 from {_WHO} join notifier.borrowers b using (tenant, borrower_id)"  # no value in it
            " order by b.tenant, b.borrower_id for update of b"
        ),
        arrays(ordered),
    )


async def lock_there(conn: AsyncConnection, who: Iterable[Who]) -> None:
    """Lock borrowers that have rows, in key order: every claimed borrower has one, and rows are never deleted."""
    await conn.execute(_LOCK_THERE, joined_arrays(sorted(set(who))))


async def lock_free(conn: AsyncConnection, who: Iterable[Who]) -> dict[Who, Borrower]:
    """Lock those of these borrowers that nobody else has locked, and return them: a claim never waits for a handler."""
    rows = await conn.execute(_LOCK_FREE, joined_arrays(set(who)))
    return {
        (tenant, borrower_id): Borrower(_profile(profile) if profile else None, key, erased and not profile)
        for tenant, borrower_id, profile, key, erased in rows
    }


async def find(conn: AsyncConnection, tenant: str, borrower_id: str) -> Borrower | None:
    """Return what is known about a borrower, or None; takes no lock."""
    rows = await conn.execute(
        text(
            "select profile, key, erased_at is not null as erased from notifier.borrowers"
            " where tenant = :tenant and borrower_id = :borrower"
        ),
        {"tenant": tenant, "borrower": borrower_id},
    )
    row = rows.one_or_none()
    return Borrower(_profile(row.profile) if row.profile else None, row.key, row.erased and not row.profile) if row else None


async def erased_of(conn: AsyncConnection, who: Iterable[Who]) -> set[Who]:
    """Return which of these are erased; none of the others can be erased until the transaction ends."""
    rows = await conn.execute(
        text(
            "select b.tenant, b.borrower_id, b.erased_at is not null and b.profile is null as erased"
            f" from {_WHO} join notifier.borrowers b using (tenant, borrower_id)"  # no value in it
            " order by b.tenant, b.borrower_id for share of b"
        ),
        arrays(sorted(set(who))),
    )
    return {(row.tenant, row.borrower_id) for row in rows if row.erased}


async def keep_profiles(conn: AsyncConnection, profiles: Mapping[Who, BorrowerProfile]) -> None:
    """Store the newer profiles and their addresses' owners; the key is stored separately, so that it can be destroyed by itself."""
    ordered = sorted(profiles.items())
    if not ordered:
        return
    rows = await conn.execute(
        text(
            "update notifier.borrowers b set profile = p.profile, key = p.key, time = p.time, stamp = p.stamp"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:profiles as bytea[]), cast(:keys as text[]),"
            " cast(:times as timestamptz[]), cast(:stamps as text[])) as p(tenant, borrower_id, profile, key, time, stamp)"
            " where b.tenant = p.tenant and b.borrower_id = p.borrower_id"
            " and (b.time is null or (b.time, b.stamp collate \"C\") < (p.time, p.stamp collate \"C\"))"
            " returning b.tenant, b.borrower_id"
        ),
        {
            **arrays(who for who, _ in ordered),
            "profiles": [_encode(msgspec.structs.replace(profile, key="")) for _, profile in ordered],
            "keys": [profile.key for _, profile in ordered],
            "times": [profile.time for _, profile in ordered], "stamps": [profile.id for _, profile in ordered],
        },
    )  # fmt: skip
    newer = {(row.tenant, row.borrower_id) for row in rows}
    await pii.keep_addresses(conn, [(*who, address.lookup) for who in newer for address in profiles[who].addresses], of=newer)


async def erase(conn: AsyncConnection, erasures: Sequence[Stamp]) -> set[Who]:
    """Note these erasures, destroy keys and profiles that are not newer, and return the borrowers whose erasure is new."""
    if not erasures:
        return set()
    ordered = sorted(erasures, key=lambda e: (e.tenant, e.borrower_id))
    rows = await conn.execute(
        text(
            "update notifier.borrowers b set erased_at = greatest(b.erased_at, e.time),"
            " profile = case when e.overtakes then null else b.profile end, key = case when e.overtakes then null else b.key end,"
            " time = case when e.overtakes then e.time else b.time end, stamp = case when e.overtakes then e.stamp else b.stamp end"
            " from (select e.*, b.time is null or (b.time, b.stamp collate \"C\") <= (e.time, e.stamp collate \"C\") as overtakes"
            " from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:times as timestamptz[]), cast(:stamps as text[]))"
            " as e(tenant, borrower_id, time, stamp) join notifier.borrowers b using (tenant, borrower_id)) as e"
            " where b.tenant = e.tenant and b.borrower_id = e.borrower_id"
            " and (e.overtakes or b.erased_at is null or b.erased_at < e.time)"
            " returning b.tenant, b.borrower_id"
        ),
        {
            **arrays((e.tenant, e.borrower_id) for e in ordered),
            "times": [e.time for e in ordered], "stamps": [e.id for e in ordered],
        },
    )  # fmt: skip
    return {(row.tenant, row.borrower_id) for row in rows}


async def keep_consents(conn: AsyncConnection, consents: Mapping[tuple[str, str, str, str], tuple[Stamp, ConsentState | None]]) -> None:
    """Store the newer consents by (tenant, borrower, channel, purpose); a closed one is not granted."""
    ordered = sorted(consents.items(), key=lambda entry: entry[0])
    if not ordered:
        return
    await conn.execute(
        text(
            "insert into notifier.consents as c (tenant, borrower_id, channel, purpose, granted, at, time, stamp)"
            " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:channels as text[]),"
            " cast(:purposes as text[]),"
            " cast(:granted as boolean[]), cast(:ats as timestamptz[]), cast(:times as timestamptz[]), cast(:stamps as text[]))"
            " on conflict (tenant, borrower_id, channel, purpose) do update set granted = excluded.granted, at = excluded.at,"
            " time = excluded.time, stamp = excluded.stamp"
            " where (c.time, c.stamp collate \"C\") < (excluded.time, excluded.stamp collate \"C\")"
        ),
        {
            **arrays(key[:2] for key, _ in ordered),
            "channels": [key[2] for key, _ in ordered], "purposes": [key[3] for key, _ in ordered],
            "granted": [state is not None and state.granted for _, (_, state) in ordered],
            "ats": [state.at if state else None for _, (_, state) in ordered],
            "times": [stamp.time for _, (stamp, _) in ordered], "stamps": [stamp.id for _, (stamp, _) in ordered],
        },
    )  # fmt: skip


async def keep_statuses(conn: AsyncConnection, statuses: Mapping[tuple[str, str, str], tuple[Stamp, StatusState | None]]) -> None:
    """Store the newer stops by (tenant, borrower, status); a closed one stops nothing."""
    ordered = sorted(statuses.items(), key=lambda entry: entry[0])
    if not ordered:
        return
    await conn.execute(
        text(
            "insert into notifier.statuses as s (tenant, borrower_id, status_id, status, since, until, time, stamp)"
            " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:statuses as text[]), cast(:names as text[]),"
            " cast(:sinces as timestamptz[]), cast(:untils as timestamptz[]), cast(:times as timestamptz[]), cast(:stamps as text[]))"
            " on conflict (tenant, borrower_id, status_id) do update set status = excluded.status, since = excluded.since,"
            " until = excluded.until, time = excluded.time, stamp = excluded.stamp"
            " where (s.time, s.stamp collate \"C\") < (excluded.time, excluded.stamp collate \"C\")"
        ),
        {
            **arrays(key[:2] for key, _ in ordered),
            "statuses": [key[2] for key, _ in ordered], "names": [state.status if state else None for _, (_, state) in ordered],
            "sinces": [state.from_ if state else None for _, (_, state) in ordered],
            "untils": [state.until if state else None for _, (_, state) in ordered],
            "times": [stamp.time for _, (stamp, _) in ordered], "stamps": [stamp.id for _, (stamp, _) in ordered],
        },
    )  # fmt: skip
