"""Which database failures are temporary."""

from __future__ import annotations

import asyncpg
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from libs.common.errors import TransientError

_PASSING_CLASSES = frozenset({"08", "25", "40", "53", "55", "57"})
"""SQLSTATE classes: connection, idle-in-transaction, rollback (deadlock), resources, locks, operator (shutdown, timeouts)."""

_CUT = (asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What the driver itself raises for a lost connection; the second if it was lost in the middle of a statement."""


def is_transient(error: BaseException) -> bool:
    """Return whether the same work may succeed if retried."""
    if isinstance(error, (TransientError, OSError, InterfaceError, OperationalError, *_CUT)):
        return True
    if isinstance(error, DBAPIError):
        return error.connection_invalidated or _passes(error.orig)
    return isinstance(error, asyncpg.PostgresError) and _passes(error)


def _passes(error: BaseException | None) -> bool:
    state = getattr(error, "sqlstate", None) or ""
    return state[:2] in _PASSING_CLASSES
