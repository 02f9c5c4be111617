"""Refuses to speak of a borrower of whom nothing was ever heard."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import DomainError
from services.notifier.store import reading


async def expect_known(conn: AsyncConnection, tenant: str, borrower_id: str) -> None:
    """Refuse a borrower of whom nothing was ever heard."""
    if not await reading.is_known(conn, tenant, borrower_id):
        raise unknown_borrower(borrower_id)


def unknown_borrower(borrower_id: str) -> DomainError:
    """Return the refusal."""
    return DomainError(404, "not_found", f"there is no borrower {borrower_id[:128]!r}")
