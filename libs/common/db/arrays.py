"""Columns of text on their way to PostgreSQL, one string a column: the driver looks at each element of a list by itself, twice."""

from __future__ import annotations

from collections.abc import Sequence

_BETWEEN, _NULL = "\x1f", "\x1e"


def column(name: str) -> str:
    """Return the SQL that reads a parameter made by `joined` as text[]."""
    return f"string_to_array(:{name}, chr(31), chr(30))"


def joined(values: Sequence[str | None]) -> str:
    """Return texts as one; an error where one is empty or holds a separator, which no id, source or name of the contract does."""
    text = _BETWEEN.join([_NULL if value is None else value for value in values])
    if text.count(_BETWEEN) != max(0, len(values) - 1) or text.count(_NULL) != values.count(None) or "" in values:
        raise ValueError("a text that is empty or holds a control character cannot stand in a joined column")
    return text
