"""Rows of CSV that a spreadsheet takes for nothing but text and numbers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date

import msgspec

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # spreadsheets take the full-width ones as well


def csv_rows(rows: Iterable[Iterable[object]]) -> bytes:
    """Return rows of CSV in which no text is taken for a formula: one that would be begins with an apostrophe."""
    text = io.StringIO()
    csv.writer(text).writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    match value:
        case None | int() if not isinstance(value, bool):
            return value
        case str():
            return f"'{value}" if value.startswith(_FORMULA) else value
        case date():
            return value.isoformat()
        case _:
            return msgspec.json.encode(value).decode()
