"""Batches as typed arrays: one statement text for any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from libs.common.db.arrays import column, in_microseconds, joined, moment_of, moments, wording, words

ID = "id"
"""The kind of a column of ids and names: texts that are never empty and hold no control character, which travel as one."""
WORDS = "words"
"""The kind of a column of ids and names that may be empty, but not missing; they travel as one too."""
MOMENT = "moment"
"""The kind of a column of moments, which travel as one text: of few different ones in a batch each is written once."""
_WRITTEN: Mapping[str, Callable[[Sequence[Any]], str]] = {ID: joined, WORDS: wording, MOMENT: in_microseconds}
_AS_READ = {ID: column, WORDS: words, MOMENT: moments}


def unnest(columns: Mapping[str, str], alias: str) -> str:
    """Return the row source of these columns and their types, one parameter each."""
    if MOMENT not in columns.values():
        return f"{_unnested(columns)} as {alias}({', '.join(columns)})"
    return f"(select {_read(columns)} from {_unnested(columns)} as n({', '.join(columns)})) as {alias}"


def in_order(columns: Mapping[str, str], alias: str) -> str:
    """Return the same row source with the place of each row, in the column `place`."""
    return f"(select {_read(columns)}, place from {_unnested(columns)} with ordinality as n({', '.join(columns)}, place)) as {alias}"


def transposed(columns: Mapping[str, str], rows: Sequence[object]) -> dict[str, Any]:
    """Return the attributes of these rows, each as what its column travels as."""
    return {name: arrayed(kind, [getattr(row, name) for row in rows]) for name, kind in columns.items()}


def arrayed(kind: str, values: Sequence[Any]) -> Any:
    """Return the values of a column as what it travels as."""
    writer = _WRITTEN.get(kind)
    return list(values) if writer is None else writer(values)


def _unnested(columns: Mapping[str, str]) -> str:
    read = [_AS_READ[kind](name) if kind in _AS_READ else f"cast(:{name} as {kind}[])" for name, kind in columns.items()]
    return f"unnest({', '.join(read)})"


def _read(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{moment_of(name)} as {name}" if kind == MOMENT else name for name, kind in columns.items())
