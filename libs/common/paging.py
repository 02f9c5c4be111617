"""Cursors of lists: where a page ended. A list accepts only cursors it has issued, and refuses anything else."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from fastapi import Depends, Query, Request

from libs.common.errors import DomainError

T = TypeVar("T")
_LONGEST_NUMBER = 18
_LONGEST = 2000
_CHECK_BYTES = 6


def cut(found: Sequence[T], limit: int, place: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """Return a page and the place where it ends (None if nothing follows), from rows fetched with a limit one higher."""
    return found[:limit], place(found[limit - 1]) if len(found) > limit else None


def part(whole: Sequence[T], cursor: str | None, limit: int) -> tuple[Sequence[T], str | None]:
    """Return a page of a list held in memory, and the number at which it ends: None if nothing follows."""
    begin = number_place(cursor) or 0
    end = begin + limit
    return whole[begin:end], str(end) if len(whole) > end else None


def cursor_at(place: str, path: str) -> str:
    """Return the cursor for a place in the list at this path.

    The check catches mistakes (a cursor that was cut off, edited, or from another list); passing it gives nobody access to more.
    """
    said = place.encode()
    return base64.urlsafe_b64encode(_check(said, path) + said).decode().rstrip("=")


def place_of(cursor: str, path: str) -> str:
    """Return the place named by a cursor of the list at this path, or refuse one that was not issued there."""
    try:
        raw = base64.b64decode(cursor.encode() + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        place = raw[_CHECK_BYTES:].decode()
    except (binascii.Error, UnicodeError):
        raise refused() from None
    if cursor_at(place, path) != cursor:
        raise refused()
    return place


async def _place_asked_for(request: Request, cursor: Annotated[str | None, Query(max_length=_LONGEST)] = None) -> str | None:
    """Return the place after which a page is to begin."""
    return None if cursor is None else place_of(cursor, request.scope["path"])


Cursor = Annotated[str | None, Depends(_place_asked_for)]
"""The place after which a page is to begin; None for the first page. `libs.common.api.page` writes the next one."""


def after_moment(at: datetime, last: str) -> str:
    """Return a place in a list ordered by (moment, id)."""
    return f"{at.isoformat()}~{last}"


def moment_place(place: str | None) -> tuple[datetime, str] | None:
    """Return the (moment, id) at which a page ended, or None for the first page."""
    if place is None:
        return None
    at, separator, last = place.partition("~")
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:
        raise refused() from None
    if not separator or moment.tzinfo is None:
        raise refused()
    return moment, last


def number_place(place: str | None) -> int | None:
    """Return the number at which a page ended, or None for the first page."""
    if place is None:
        return None
    if not (place.isascii() and place.isdecimal()) or len(place) > _LONGEST_NUMBER:
        raise refused()
    return int(place)


def refused() -> DomainError:
    """Return the refusal of a cursor that none of our pages has issued."""
    return DomainError(422, "invalid_request", "cursor: not one issued by this list; begin without one")


def _check(place: bytes, path: str) -> bytes:
    return hashlib.blake2b(path.encode() + b"\0" + place, digest_size=_CHECK_BYTES, person=b"cursor").digest()
