"""Batches as typed arrays: one statement text for any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from libs.common.db.arrays import column, in_microseconds, joined, listed, listing, moment_of, moments, wording, words

ID = "id"
"""Columns of ids and names: never empty, no control characters; sent as one text."""
WORDS = "words"
"""Columns of ids and names that may be empty but not null; sent as one text too."""
MOMENT = "moment"
"""Columns of moments, sent as one text: each of a batch's few distinct values is written once."""
_LISTED = ("int", "bigint", "boolean")
"""Sent as one text of its values: the driver takes five times as long for a list."""
_WRITTEN: Mapping[str, Callable[[Sequence[Any]], str]] = {
    ID: joined, WORDS: wording, MOMENT: in_microseconds, **dict.fromkeys(_LISTED, listed),
}  # fmt: skip
_AS_READ = {ID: column, WORDS: words, MOMENT: moments, **{kind: listing(kind) for kind in _LISTED}}


def unnest(columns: Mapping[str, str], alias: str) -> str:
    """Return the row source of these columns and types, one parameter per column."""
    if MOMENT not in columns.values():
        return f"{_unnested(columns)} as {alias}({', '.join(columns)})"
    return f"(select {_read(columns)} from {_unnested(columns)} as n({', '.join(columns)})) as {alias}"


def in_order(columns: Mapping[str, str], alias: str) -> str:
    """Return the same row source with each row's position in the column `place`."""
    return f"(select {_read(columns)}, place from {_unnested(columns)} with ordinality as n({', '.join(columns)}, place)) as {alias}"


def transposed(columns: Mapping[str, str], rows: Sequence[object]) -> dict[str, Any]:
    """Return these rows' attributes as query parameters, one per column; there must be at least two columns."""
    by_column = zip(*map(attrgetter(*columns), rows), strict=True) if rows else [()] * len(columns)
    return {name: arrayed(kind, values) for (name, kind), values in zip(columns.items(), by_column, strict=True)}


def arrayed(kind: str, values: Sequence[Any]) -> Any:
    """Return a column's values as its parameter; empty if all are null, since the longest column sets the number of rows."""
    if values and values[0] is None and values.count(None) == len(values):
        values = ()
    writer = _WRITTEN.get(kind)
    return list(values) if writer is None else writer(values)


def _unnested(columns: Mapping[str, str]) -> str:
    read = [_AS_READ[kind](name) if kind in _AS_READ else f"cast(:{name} as {kind}[])" for name, kind in columns.items()]
    return f"unnest({', '.join(read)})"


def _read(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{moment_of(name)} as {name}" if kind == MOMENT else name for name, kind in columns.items())
