"""Batches as typed arrays: one statement text for any number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from libs.common.db.arrays import column, joined

ID = "id"
"""The kind of a column of ids and names: texts that are never empty and hold no control character, which travel as one."""


def source(columns: Mapping[str, str]) -> str:
    """Return the row source of these columns and their types, one parameter each, without a name."""
    return f"unnest({', '.join(column(name) if kind == ID else f'cast(:{name} as {kind}[])' for name, kind in columns.items())})"


def unnest(columns: Mapping[str, str], alias: str) -> str:
    """Return the row source of these columns and their types, one parameter each."""
    return f"{source(columns)} as {alias}({', '.join(columns)})"


def transposed(columns: Mapping[str, str], rows: Sequence[object]) -> dict[str, Any]:
    """Return the attributes of these rows, each as what its column travels as."""
    return {name: arrayed(kind, [getattr(row, name) for row in rows]) for name, kind in columns.items()}


def arrayed(kind: str, values: Sequence[Any]) -> Any:
    """Return the values of a column as what it travels as."""
    return joined(values) if kind == ID else list(values)
