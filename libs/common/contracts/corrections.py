"""What a fact says about past days besides its data: two CloudEvents extension attributes (decision 0010)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import msgspec

FROM = "correctsfrom"
DAYS = "correctsdays"
ATTRIBUTES: Mapping[str, Mapping[str, Any]] = {
    FROM: {
        "type": "string",
        "format": "date",
        "description": "the first day, in the loan's zone, about which an earlier fact said something else; absent if none did",
    },
    DAYS: {
        "type": "string",
        "description": "the days about which an earlier fact said something else, as `first/end=now` joined by commas: `first` is"
        " inclusive, `end` exclusive and empty if today is one of them, `now` is `owed` if by what is known now something was overdue"
        " on them, else `clear`",
        "examples": ["2026-11-03/2026-11-05=clear,2026-11-09/=owed"],
    },
}
"""The attributes as JSON Schemas."""
_OWED, _CLEAR = "owed", "clear"


class CorrectedDays(msgspec.Struct, frozen=True, gc=False):
    """Days about which an earlier fact said something else: `until` is exclusive, and None if today is one of them."""

    from_on: date
    until: date | None
    owed: bool
    """Whether, by what is known now, something was overdue on them."""


def written(days: Sequence[CorrectedDays]) -> dict[str, str]:
    """Return the attributes for these days; none if nothing is corrected."""
    if not days:
        return {}
    spans = [f"{one.from_on}/{one.until or ''}={_OWED if one.owed else _CLEAR}" for one in days]
    return {FROM: days[0].from_on.isoformat(), DAYS: ",".join(spans)}


def read(attributes: Mapping[str, str]) -> tuple[CorrectedDays, ...]:
    """Return the days in the attributes; the first day alone means all days since then."""
    if FROM not in attributes:
        return ()
    if DAYS not in attributes:
        return (CorrectedDays(date.fromisoformat(attributes[FROM]), None, owed=True),)
    return parsed(attributes[DAYS])


def parsed(text: str) -> tuple[CorrectedDays, ...]:
    """Parse the days of one attribute; ValueError if it is malformed."""
    return tuple(_span(part) for part in text.split(","))


def _span(part: str) -> CorrectedDays:
    days, _, now = part.partition("=")
    begin, _, end = days.partition("/")
    if now not in (_OWED, _CLEAR):
        raise ValueError(f"{part[:64]!r} is not a span of corrected days")
    return CorrectedDays(date.fromisoformat(begin), date.fromisoformat(end) if end else None, owed=now == _OWED)
