"""Who was shown personal data, and whose address a keyed hash is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Reader:
    """Who is reading, and why."""

    tenant: str
    by: str
    reason: str | None


async def note(conn: AsyncConnection, reader: Reader, borrowers: Iterable[str | None], *, what: str, at: datetime) -> None:
    """Record that these borrowers' data is shown, before it is."""
    ordered = sorted(set(borrowers), key=lambda borrower: borrower or "")
    if not ordered:
        return
    await conn.execute(
        text(
            "insert into notifier.pii_reads (tenant, borrower_id, what, by, reason, at)"
            " select :tenant, borrower_id, :what, :by, :reason, :at from unnest(cast(:borrowers as text[])) as n(borrower_id)"
        ),
        {"tenant": reader.tenant, "borrowers": ordered, "what": what, "by": reader.by, "reason": reader.reason, "at": at},
    )


async def reads(
    conn: AsyncConnection, tenant: str, borrower_id: str | None, *, before: int | None, limit: int
) -> Sequence[Row[tuple[object, ...]]]:
    """Return the newest reads of a borrower's data, or of everybody's; `before` is the last id of the previous page."""
    rows = await conn.execute(
        text(
            "select id, borrower_id, what, by, reason, at from notifier.pii_reads where tenant = :tenant"
            " and (cast(:borrower as text) is null or borrower_id = :borrower) and (cast(:before as bigint) is null or id < :before)"
            " order by id desc limit :limit"
        ),
        {"tenant": tenant, "borrower": borrower_id, "before": before, "limit": limit},
    )
    return rows.all()


async def keep_addresses(conn: AsyncConnection, addresses: Iterable[tuple[str, str, str]], *, of: Iterable[tuple[str, str]]) -> None:
    """Store the owners of these hashes (tenant, borrower, lookup), replacing everything stored for these borrowers."""
    who, ordered = sorted(set(of)), sorted(set(addresses))
    if not who:
        return
    await conn.execute(
        text(
            "delete from notifier.addresses a using unnest(cast(:tenants as text[]), cast(:borrowers as text[])) as w(tenant, borrower_id)"
            " where a.tenant = w.tenant and a.borrower_id = w.borrower_id"
        ),
        {"tenants": [tenant for tenant, _ in who], "borrowers": [borrower for _, borrower in who]},
    )
    await conn.execute(
        text(
            "insert into notifier.addresses (tenant, borrower_id, lookup)"
            " select * from unnest(cast(:tenants as text[]), cast(:borrowers as text[]), cast(:lookups as text[]))"
        ),
        {"tenants": [a[0] for a in ordered], "borrowers": [a[1] for a in ordered], "lookups": [a[2] for a in ordered]},
    )


async def owners(conn: AsyncConnection, tenant: str, lookup: str, *, after: str | None, limit: int) -> list[str]:
    """Return the borrowers who have this address."""
    rows = await conn.execute(
        text(
            "select borrower_id from notifier.addresses where tenant = :tenant and lookup = :lookup"
            " and (cast(:after as text) is null or borrower_id > :after) order by borrower_id limit :limit"
        ),
        {"tenant": tenant, "lookup": lookup, "after": after, "limit": limit},
    )
    return list(rows.scalars())
