"""Columns sent to PostgreSQL as one string each: the driver would go through every element of a list twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

_BETWEEN, _NULL, _EMPTY = "\x1f", "\x1e", "\x1d"
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)


def column(name: str) -> str:
    """Return the SQL that reads a parameter made by `joined` as text[]."""
    return f"string_to_array(:{name}, chr(31), chr(30))"


def words(name: str) -> str:
    """Return the SQL that reads a parameter made by `wording` as text[]."""
    return f"array_replace(string_to_array(:{name}, chr(31)), chr(29), '')"


def listing(kind: str) -> Callable[[str], str]:
    """Return a function giving the SQL that reads a parameter made by `listed` as an array of this type."""
    return lambda name: f"cast(string_to_array(:{name}, ', ', 'None') as {kind}[])"


def moments(name: str) -> str:
    """Return the SQL that reads a parameter made by `in_microseconds` as bigint[], each element for `moment_of`."""
    return f"cast(string_to_array(:{name}, ',', '') as bigint[])"


def moment_of(column: str) -> str:
    """Return the SQL that converts microseconds since 1970 to timestamptz; exact until 2255, unlike fractional seconds."""
    return f"timestamptz 'epoch' + {column} * interval '1 microsecond'"


def listed(values: Sequence[int | None]) -> str:
    """Return numbers, booleans or None as one text, the way Python prints a list of them."""
    return str(list(values))[1:-1]


def in_microseconds(values: Sequence[datetime | None]) -> str:
    """Return moments as one text of microseconds since 1970, None as an empty element; not for a single None."""
    written: dict[datetime | None, str] = {None: ""}
    for value in set(values):  # most moments of a batch are equal
        if value is not None:
            written[value] = str((value - _EPOCH) // _MICROSECOND)
    return ",".join([written[value] for value in values])


def wording(values: Sequence[str]) -> str:
    """Join texts, which may be empty; ValueError if one contains a separator."""
    text = _BETWEEN.join([value or _EMPTY for value in values])
    if text.count(_BETWEEN) != max(0, len(values) - 1) or text.count(_EMPTY) != values.count("") or _NULL in text:
        raise ValueError("a text with a control character cannot be part of a joined column")
    return text


def joined(values: Sequence[str | None]) -> str:
    """Join texts; ValueError if one is empty or contains a separator, as no id, source or name of the contract does."""
    text = _BETWEEN.join(values) if None not in values else _BETWEEN.join([_NULL if value is None else value for value in values])  # type: ignore[arg-type]  # none is None there
    if text.count(_BETWEEN) != max(0, len(values) - 1) or text.count(_NULL) != values.count(None) or "" in values:
        raise ValueError("a text that is empty or has a control character cannot be part of a joined column")
    return text
