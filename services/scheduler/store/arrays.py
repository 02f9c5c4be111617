"""Batches as typed arrays: one statement text for any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from libs.common.db.arrays import column, in_microseconds, joined, listed, listing, moment_of, moments, wording, words

ID = "id"
"""The kind of a column of ids and names: texts that are never empty and hold no control character, which travel as one."""
WORDS = "words"
"""The kind of a column of ids and names that may be empty, but not missing; they travel as one too."""
MOMENT = "moment"
"""The kind of a column of moments, which travel as one text: of few different ones in a batch each is written once."""
_LISTED = ("int", "bigint", "boolean")
"""What travels as one text of its values: the driver takes five times as long over a list."""
_WRITTEN: Mapping[str, Callable[[Sequence[Any]], str]] = {
    ID: joined, WORDS: wording, MOMENT: in_microseconds, **dict.fromkeys(_LISTED, listed),
}  # fmt: skip
_AS_READ = {ID: column, WORDS: words, MOMENT: moments, **{kind: listing(kind) for kind in _LISTED}}


def unnest(columns: Mapping[str, str], alias: str) -> str:
    """Return the row source of these columns and their types, one parameter each."""
    if MOMENT not in columns.values():
        return f"{_unnested(columns)} as {alias}({', '.join(columns)})"
    return f"(select {_read(columns)} from {_unnested(columns)} as n({', '.join(columns)})) as {alias}"


def in_order(columns: Mapping[str, str], alias: str) -> str:
    """Return the same row source with the place of each row, in the column `place`."""
    return f"(select {_read(columns)}, place from {_unnested(columns)} with ordinality as n({', '.join(columns)}, place)) as {alias}"


def transposed(columns: Mapping[str, str], rows: Sequence[object]) -> dict[str, Any]:
    """Return the attributes of these rows, each as what its column travels as; there are two columns or more."""
    by_column = zip(*map(attrgetter(*columns), rows), strict=True) if rows else [()] * len(columns)
    return {name: arrayed(kind, values) for (name, kind), values in zip(columns.items(), by_column, strict=True)}


def arrayed(kind: str, values: Sequence[Any]) -> Any:
    """Return the values of a column as what it travels as; nothing where all are missing, since the longest column says how many rows."""
    if values and values[0] is None and values.count(None) == len(values):
        values = ()
    writer = _WRITTEN.get(kind)
    return list(values) if writer is None else writer(values)


def _unnested(columns: Mapping[str, str]) -> str:
    read = [_AS_READ[kind](name) if kind in _AS_READ else f"cast(:{name} as {kind}[])" for name, kind in columns.items()]
    return f"unnest({', '.join(read)})"


def _read(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{moment_of(name)} as {name}" if kind == MOMENT else name for name, kind in columns.items())
