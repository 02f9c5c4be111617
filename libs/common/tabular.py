"""CSV rows that a spreadsheet reads as text and numbers only."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date

import msgspec

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  # spreadsheets take the full-width ones as well


def csv_rows(rows: Iterable[Iterable[object]]) -> bytes:
    """Return CSV rows in which no text is taken for a formula: a text that would be is prefixed with an apostrophe."""
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
