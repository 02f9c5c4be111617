"""Rejects requests about borrowers never heard of."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import DomainError
from services.notifier.store import reading


async def expect_known(conn: AsyncConnection, tenant: str, borrower_id: str) -> None:
    """Raise unless something has been heard about this borrower."""
    if not await reading.is_known(conn, tenant, borrower_id):
        raise unknown_borrower(borrower_id)


def unknown_borrower(borrower_id: str) -> DomainError:
    """Return the error for a borrower never heard of."""
    return DomainError(404, "not_found", f"there is no borrower {borrower_id[:128]!r}")
