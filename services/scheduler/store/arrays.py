"""Batches as typed arrays: one statement text for any number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def unnest(columns: Mapping[str, str], alias: str) -> str:
    """Return the row source of these columns and their types, one array parameter each."""
    casts = ", ".join(f"cast(:{name} as {kind}[])" for name, kind in columns.items())
    return f"unnest({casts}) as {alias}({', '.join(columns)})"


def transposed(columns: Mapping[str, str], rows: Sequence[object]) -> dict[str, list[Any]]:
    """Return the attributes of these rows as arrays."""
    return {name: [getattr(row, name) for row in rows] for name in columns}
