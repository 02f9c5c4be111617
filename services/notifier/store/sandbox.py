"""The sandbox's mailbox: sealed like all personal data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class SandboxRow:
    """A message as stored in the mailbox."""

    id: str
    tenant: str
    task_id: str
    borrower_id: str
    channel: str
    lookup: bytes | None
    sealed: bytes | None
    accepted_at: datetime


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages are asked for; `after` is the last one of the previous page."""

    tenant: str
    borrower_id: str | None = None
    lookup: bytes | None = None
    since: datetime | None = None
    after: tuple[datetime, str] | None = None
    limit: int = 100


async def put(conn: AsyncConnection, rows: Sequence[SandboxRow]) -> None:
    """Store messages, each as a new row."""
    await conn.execute(
        text(
            "insert into notifier.sandbox_messages (id, tenant, task_id, borrower_id, channel, lookup, sealed, accepted_at)"
            " select * from unnest(cast(:ids as text[]), cast(:tenants as text[]), cast(:tasks as text[]), cast(:borrowers as text[]),"
            " cast(:channels as text[]), cast(:lookups as bytea[]), cast(:sealed as bytea[]), cast(:ats as timestamptz[]))"
        ),
        {
            "ids": [r.id for r in rows], "tenants": [r.tenant for r in rows], "tasks": [r.task_id for r in rows],
            "borrowers": [r.borrower_id for r in rows], "channels": [r.channel for r in rows], "lookups": [r.lookup for r in rows],
            "sealed": [r.sealed for r in rows], "ats": [r.accepted_at for r in rows],
        },
    )  # fmt: skip


async def find(conn: AsyncConnection, wanted: Wanted) -> list[SandboxRow]:
    """Return messages, oldest first."""
    at, last = wanted.after or (None, None)
    rows = await conn.execute(
        text(
            "select id, tenant, task_id, borrower_id, channel, lookup, sealed, accepted_at from notifier.sandbox_messages"
            " where tenant = :tenant and (cast(:borrower as text) is null or borrower_id = :borrower)"
            " and (cast(:lookup as bytea) is null or lookup = :lookup)"
            " and (cast(:since as timestamptz) is null or accepted_at >= :since)"
            " and (cast(:at as timestamptz) is null or (accepted_at, id) > (:at, :last))"
            " order by accepted_at, id limit :limit"
        ),
        {
            "tenant": wanted.tenant, "borrower": wanted.borrower_id, "lookup": wanted.lookup, "since": wanted.since,
            "at": at, "last": last, "limit": wanted.limit,
        },
    )  # fmt: skip
    return [SandboxRow(*row) for row in rows]
