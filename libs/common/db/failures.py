"""Which database failures pass by themselves."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from libs.common.errors import TransientError

_PASSING_CLASSES = frozenset({"08", "25", "40", "53", "55", "57"})
"""SQLSTATE classes: connection, idle-in-transaction, rollback (deadlock), resources, locks, operator (shutdown, timeouts)."""


def is_transient(error: BaseException) -> bool:
    """Return whether the same work may succeed when tried again."""
    if isinstance(error, (TransientError, OSError, InterfaceError, OperationalError)):
        return True
    if isinstance(error, DBAPIError):
        state = getattr(error.orig, "sqlstate", None) or ""
        return error.connection_invalidated or state[:2] in _PASSING_CLASSES
    return False
