"""The value forms of the public contract, as types that msgspec enforces while it decodes."""

from __future__ import annotations

import zoneinfo
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from libs.common.money import CURRENCIES, MAX_MINOR

Id = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,128}$(?!\n)", description="1 to 128 of A-Z a-z 0-9 . _ : -")]
Source = Annotated[
    str,
    Meta(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)", description="who published: a URI reference or a name"),
]
WITHOUT_NUL = r"^[^\x00]*$(?!\n)"
"""PostgreSQL cannot store the character 0 in a text column."""
Text = Annotated[str, Meta(max_length=4096, pattern=WITHOUT_NUL)]
Amount = Annotated[int, Meta(ge=0, le=MAX_MINOR, description="minor units of the currency")]
Moment = Annotated[datetime, Meta(tz=True, description="RFC 3339 with an offset")]
Count = Annotated[int, Meta(ge=1, le=100_000)]
Days = Annotated[int, Meta(ge=0, le=3650)]

FIRST_DAY = date(1970, 1, 1)
LAST_DAY = date(2199, 12, 31)
ZONES = frozenset(zoneinfo.available_timezones())
MAX_INSTALMENTS = 600
MAX_DEPTH = 16
"""Levels of nesting in what a publisher may attach; deeper JSON might be readable in one place and exceed the call stack in another."""


SEGMENT = "segment"
"""The attribute of a loan or borrower that names a segment (decision 0017)."""
MOST_SEGMENT = 128


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """The base of every message: a value; fields may be added, never changed."""


def on_calendar(*days: date | None) -> None:
    """Refuse a day outside 1970 to 2199."""
    for day in days:
        if day is not None and not FIRST_DAY <= day <= LAST_DAY:
            raise ValueError(f"{day} is not between {FIRST_DAY} and {LAST_DAY}")


def known_zone(name: str | None) -> None:
    """Refuse a name that is not an IANA time zone."""
    if name is not None and name not in ZONES:
        raise ValueError(f"{name[:64]!r} is not an IANA time zone")


def known_currency(code: str | None) -> None:
    """Refuse a code that is not an ISO 4217 currency."""
    if code is not None and code not in CURRENCIES:
        raise ValueError(f"{code[:16]!r} is not an ISO 4217 currency")


def moments_on_calendar(*moments: datetime | None) -> None:
    """Refuse a moment outside 1970 to 2199: near the ends of the calendar no zone can be applied."""
    on_calendar(*(moment.date() for moment in moments if moment is not None))


def segment_of(attributes: Mapping[str, Any]) -> str | None:
    """Return the segment named in attributes; None if there is none that an assignment could name."""
    found = attributes.get(SEGMENT)
    return found if isinstance(found, str) and 0 < len(found) <= MOST_SEGMENT and found.isprintable() else None


def not_deep(attributes: Mapping[str, Any] | None) -> None:
    """Refuse attributes nested deeper than all our readers can handle."""
    level: list[Any] = [attributes]
    for _ in range(MAX_DEPTH):
        level = [
            inner for outer in level if isinstance(outer, (dict, list)) for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise ValueError(f"attributes are nested deeper than {MAX_DEPTH} levels")


def in_utc(struct: msgspec.Struct, *fields: str) -> None:
    """Convert moments to UTC, so that two spellings of one instant are the same content."""
    for field in fields:
        moment: datetime | None = getattr(struct, field)
        if moment is not None and moment.tzinfo is not UTC:
            msgspec.structs.force_setattr(struct, field, moment.astimezone(UTC))


Attributes = dict[str, Any]
