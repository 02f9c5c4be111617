"""Reading one file: its rows as they stand, by line."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from libs.common.slips import near
from services.importer.csv_mapping import Sheet

TOLD_EVERY = 512
DELIMITERS = ";,\t|"

Told = Callable[[int], None]
"""Hears how many bytes of a file have been read."""


@dataclass(frozen=True, slots=True)
class Issue:
    """What is wrong, and where."""

    file: str
    line: int
    sentence: str
    column: str | None = None

    def __str__(self) -> str:
        where = f', column "{self.column}"' if self.column else ""
        return f"{self.file} line {self.line}{where}: {self.sentence}"


class RowFault(Exception):  # noqa: N818  # nothing is wrong with the program: it is what the file's owner is told
    """What cannot be used, with everything that is wrong in it."""

    def __init__(self, *issues: Issue) -> None:
        super().__init__("; ".join(map(str, issues)))
        self.issues = issues


class Line(NamedTuple):
    """A row as it stands: the line on which it begins, and its texts in the order of the sheet's cells."""

    number: int
    texts: Sequence[str]


def rows_of(sheet: Sheet, told: Told) -> Iterator[Line | Issue]:
    """Yield the rows that the mapping asks for; what makes the rest of the file unreadable is its last issue."""
    try:
        with _opened(sheet) as (reader, position, header):
            yield from _rows(sheet, reader, header, lambda: told(position()))
    except RowFault as fault:
        yield from fault.issues
    told(sheet.path.stat().st_size)


def columns_of(sheet: Sheet) -> Iterator[Issue]:
    """Yield what is wrong with the first line."""
    try:
        with _opened(sheet) as (_, _, header):
            _places(sheet, header)
    except RowFault as fault:
        yield from fault.issues


@contextmanager
def _opened(sheet: Sheet) -> Iterator[tuple[Any, Callable[[], int], list[str]]]:
    with sheet.path.open("rb") as raw, io.TextIOWrapper(raw, sheet.encoding, newline="") as text:
        reader = csv.reader(text, delimiter=sheet.delimiter, strict=True)
        with _readable(sheet, reader):
            yield reader, raw.tell, [name.strip() for name in next(reader, [])]


def _rows(sheet: Sheet, reader: Any, header: list[str], told: Callable[[], None]) -> Iterator[Line | Issue]:
    places = _places(sheet, header)
    wanted = [(header.index(column), said) for column, said in sheet.where.items()]
    before = reader.line_num
    for count, row in enumerate(reader):
        number, before = before + 1, reader.line_num
        if count % TOLD_EVERY == 0:
            told()
        if not row:
            continue
        if len(row) != len(header):
            yield Issue(sheet.name, number, f"has {len(row)} cells, the first line has {len(header)}")
        elif all(row[place].strip() in said for place, said in wanted):
            yield Line(number, ["" if place is None else row[place].strip() for place in places])


def _places(sheet: Sheet, header: list[str]) -> list[int | None]:
    """Return where in a row the text of each cell stands."""
    asked = [*dict.fromkeys(cell.column for cell in sheet.all_cells if cell.column is not None), *sheet.where]
    if not header:
        raise RowFault(Issue(sheet.name, 1, "the file is empty; the first line names the columns"))
    if len(header) == 1 and (sign := next((sign for sign in DELIMITERS if sign in header[0]), None)) and header[0] not in asked:
        raise RowFault(Issue(sheet.name, 1, f"is one column to {sheet.delimiter!r}: is the `delimiter` {sign!r}?"))
    missing = [Issue(sheet.name, 1, f"there is no column {name!r}: {near(name, header)}") for name in asked if name not in header]
    twice = [Issue(sheet.name, 1, f"there are {header.count(name)} columns {name!r}") for name in asked if header.count(name) > 1]
    if missing or twice:
        raise RowFault(*missing, *twice)
    return [None if cell.column is None else header.index(cell.column) for cell in sheet.all_cells]


@contextmanager
def _readable(sheet: Sheet, reader: Any) -> Iterator[None]:
    """Say what the file is not, and about where."""
    try:
        yield
    except UnicodeDecodeError as fault:
        byte = fault.object[fault.start]
        after = f"from about here the file is not written in {sheet.encoding} (byte {byte:#04x}): name its `encoding`"
        raise RowFault(Issue(sheet.name, reader.line_num + 1, after)) from fault
    except csv.Error as fault:
        raise RowFault(
            Issue(sheet.name, max(reader.line_num, 1), f"this is no CSV with {sheet.delimiter!r} between cells: {fault}")
        ) from fault
