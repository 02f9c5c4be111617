"""Cursors of lists: where a page ended. Whoever sends another one is told so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from libs.common.errors import DomainError

T = TypeVar("T")
_LONGEST_NUMBER = 9


def cut(found: Sequence[T], limit: int, place: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """Return a page and its cursor, out of what was asked for with a limit one higher: where that one is not there, nothing follows."""
    return found[:limit], place(found[limit - 1]) if len(found) > limit else None


def after_moment(at: datetime, last: str) -> str:
    """Return the cursor of a list by (moment, id)."""
    return f"{at.isoformat()}~{last}"


def moment_place(cursor: str | None) -> tuple[datetime, str] | None:
    """Return the (moment, id) at which a page ended, or None for the first page."""
    if cursor is None:
        return None
    at, separator, last = cursor.partition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise refused() from None
    if not separator or moment.tzinfo is None:
        raise refused()
    return moment, last


def number_place(cursor: str | None) -> int | None:
    """Return the number at which a page ended, or None for the first page."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal()) or len(cursor) > _LONGEST_NUMBER:
        raise refused()
    return int(cursor)


def refused() -> DomainError:
    """Return what is said of a cursor that none of our pages has given."""
    return DomainError(422, "invalid_request", "cursor: not one of ours")
