"""Replies: each once, its text sealed, and which of our borrowers may have sent it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.domain.replies import Inbound
from services.notifier.domain.wishes import Wish


@dataclass(frozen=True, slots=True)
class Heard:
    """A reply under an id by which repeats are recognised: its wishes, and its address hashed as in profiles."""

    id: bytes
    inbound: Inbound
    wishes: frozenset[Wish]
    lookup: str
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Owner:
    """Somebody who was contacted at an address, with the last contact of a case there."""

    borrower_id: str
    case_id: str
    task_id: str
    lookup: str
    at: datetime


async def owners(conn: AsyncConnection, tenant: str, lookups: Sequence[str], *, since: datetime) -> list[Owner]:
    """Return who was contacted at these addresses since then, latest contact first."""
    rows = await conn.execute(
        text(
            "select distinct on (c.borrower_id, c.case_id, w.lookup) c.borrower_id, c.case_id, c.task_id, w.lookup, c.at"
            " from unnest(cast(:lookups as text[])) as w(lookup) join notifier.contacts c on c.tenant = :tenant and c.lookup = w.lookup"
            " where c.at >= :since and c.task_id is not null and c.case_id is not null and c.kind is distinct from 'confirmation'"
            " order by c.borrower_id, c.case_id, w.lookup, c.at desc"
        ),
        {"tenant": tenant, "lookups": sorted(set(lookups)), "since": since},
    )
    found = [Owner(row.borrower_id, row.case_id, row.task_id, row.lookup, row.at) for row in rows]
    return sorted(found, key=lambda owner: (owner.at, owner.task_id), reverse=True)


async def keep(conn: AsyncConnection, tenant: str, provider: str, heard: Sequence[Heard], *, now: datetime) -> list[Heard]:
    """Store the replies not heard before, in key order, and return them."""
    ordered = sorted({one.id: one for one in heard}.values(), key=lambda one: one.id)
    rows = await conn.execute(
        text(
            "insert into notifier.replies (tenant, provider, id, channel, lookup, borrowers, wishes, signed, at, received_at,"
            " sealed) select :tenant, :provider, id, channel, lookup, '{}',"
            " case when wishes = '' then '{}' else string_to_array(wishes, ',') end, signed, at, :now, sealed"
            " from unnest(cast(:ids as bytea[]), cast(:channels as text[]), cast(:lookups as text[]), cast(:wishes as text[]),"
            " cast(:signed as boolean[]), cast(:ats as timestamptz[]), cast(:sealed as bytea[]))"
            " as n(id, channel, lookup, wishes, signed, at, sealed)"
            " on conflict (tenant, provider, id) do nothing returning id"
        ),
        {
            "tenant": tenant, "provider": provider, "now": now, "ids": [one.id for one in ordered],
            "channels": [one.inbound.channel for one in ordered], "lookups": [one.lookup for one in ordered],
            "wishes": [",".join(sorted(one.wishes)) for one in ordered], "signed": [one.inbound.signed for one in ordered],
            "ats": [one.inbound.at for one in ordered], "sealed": [one.sealed for one in ordered],
        },
    )  # fmt: skip
    new = {row.id for row in rows}
    return [one for one in ordered if one.id in new]


async def attribute(
    conn: AsyncConnection, tenant: str, provider: str, found: Sequence[tuple[bytes, Sequence[str]]], *, callback: int
) -> None:  # fmt: skip
    """Record whose replies these may be, and which request brought them."""
    await conn.execute(
        text(
            "update notifier.replies r set callback = :callback, borrowers = string_to_array(n.borrowers, ',')"
            " from unnest(cast(:ids as bytea[]), cast(:borrowers as text[])) as n(id, borrowers)"
            " where r.tenant = :tenant and r.provider = :provider and r.id = n.id"
        ),
        {
            "tenant": tenant, "provider": provider, "callback": callback, "ids": [reply for reply, _ in found],
            "borrowers": [",".join(borrowers) for _, borrowers in found],
        },
    )  # fmt: skip


async def of_borrower(
    conn: AsyncConnection, tenant: str, borrower_id: str, *, after: tuple[datetime, str] | None, limit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """Return what may be a borrower's replies, oldest first; `after` is where the previous page ended."""
    at, last = after or (None, None)
    rows = await conn.execute(
        text(
            "select provider, encode(id, 'hex') as id, channel, borrowers, wishes, signed, at, received_at, sealed from notifier.replies"
            " where tenant = :tenant and borrowers @> array[cast(:borrower as text)]"
            " and (cast(:at as timestamptz) is null or (received_at, encode(id, 'hex')) > (:at, :last))"
            " order by received_at, encode(id, 'hex') limit :limit"
        ),
        {"tenant": tenant, "borrower": borrower_id, "at": at, "last": last, "limit": limit},
    )
    return rows.all()
