"""What borrowers asked for: every version is stored, with who wrote it, when and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

_COLUMNS = "version, wishes, reason, by, at"


@dataclass(frozen=True, slots=True)
class Asked:
    """One version of a borrower's wishes, as JSON."""

    version: int
    wishes: bytes
    reason: str | None
    by: str
    at: datetime


async def versions(conn: AsyncConnection, tenant: str, borrower_id: str, *, before: int | None = None, limit: int = 1) -> Sequence[Asked]:
    """Return a borrower's wishes, newest first; `before` is the last version of the previous page."""
    rows = await conn.execute(
        text(
            f"select {_COLUMNS} from notifier.preferences where tenant = :tenant and borrower_id = :borrower"  # no value in it
            " and (cast(:before as int) is null or version < :before) order by version desc limit :limit"
        ),
        {"tenant": tenant, "borrower": borrower_id, "before": before, "limit": limit},
    )
    return [Asked(row.version, bytes(row.wishes), row.reason, row.by, row.at) for row in rows]


async def put(conn: AsyncConnection, tenant: str, borrower_id: str, asked: Asked) -> None:
    """Store a version; the borrower's row is locked, so that nobody else writes the same version."""
    await conn.execute(
        text(
            f"insert into notifier.preferences (tenant, borrower_id, {_COLUMNS})"  # no value in it
            " values (:tenant, :borrower, :version, :wishes, :reason, :by, :at)"
        ),
        {
            "tenant": tenant, "borrower": borrower_id, "version": asked.version, "wishes": asked.wishes, "reason": asked.reason,
            "by": asked.by, "at": asked.at,
        },
    )  # fmt: skip
