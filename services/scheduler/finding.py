"""Finds what a caller refers to, or refuses; and names the caller."""

from __future__ import annotations

from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.auth import Principal
from libs.common.errors import DomainError
from services.scheduler.store import views


async def case_row(conn: AsyncConnection, tenant: str, case_id: str) -> RowMapping:
    """Return a case as it is shown; raise if it is unknown."""
    if (row := await views.case(conn, tenant, case_id)) is None:
        raise unknown("case", case_id)
    return row


def unknown(what: str, which: str) -> DomainError:
    """Return the error for an unknown id."""
    return DomainError(404, "not_found", f"no {what} {which[:128]} is known")


def named(caller: Principal) -> str:
    """Return the name to record for what this caller does."""
    return caller.name or "service"
