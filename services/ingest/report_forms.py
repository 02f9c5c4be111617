"""The overdue report as JSON and CSV; Parquet has its own file, the only one that knows the library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from libs.common.tabular import csv_rows
from services.ingest.reporting import SUMMED, Head, Line, Total, Totals

FormName = Literal["json", "csv", "parquet"]
MEDIA: dict[FormName, str] = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}


class Form(Protocol):
    """Writes a report piece by piece; a piece may be empty."""

    def begin(self, head: Head) -> bytes:
        """Return what precedes the first line."""
        ...

    def add(self, lines: Sequence[Line]) -> bytes:
        """Return whatever output these lines complete."""
        ...

    def end(self, totals: Totals) -> bytes:
        """Return the rest."""
        ...


def form_of(name: FormName) -> Form:
    """Return a new form; not to be called in the event loop, since the first Parquet form of a process loads its library."""
    match name:
        case "json":
            return JsonForm()
        case "csv":
            return CsvForm()
        case "parquet":
            from services.ingest.report_parquet import ParquetForm  # noqa: PLC0415  # 40 MB that nothing else needs

            return ParquetForm()


class JsonForm:
    """One document: the head's fields, `items`, `totals` and `undigested`; the list is always complete, so `next` is null."""

    def __init__(self) -> None:
        self._first = True

    def begin(self, head: Head) -> bytes:
        """Open the document and its list of items."""
        return msgspec.json.encode(head)[:-1] + b',"items":['

    def add(self, lines: Sequence[Line]) -> bytes:
        """Return the lines as objects."""
        if not lines:
            return b""
        before = b"\n" if self._first else b",\n"
        self._first = False
        return before + b",\n".join(map(msgspec.json.encode, lines))

    def end(self, totals: Totals) -> bytes:
        """Close the list and add the totals."""
        return (
            b'\n],"totals":' + msgspec.json.encode(totals.rows()) + b',"undigested":' + str(totals.undigested).encode() + b',"next":null}\n'
        )


class CsvForm:
    """One table: rows of kind `loan`, then of kind `total`, then, if there are any undigested loans, one of kind `undigested`."""

    columns = ("kind", *Line.__struct_fields__, "loans")

    def begin(self, head: Head) -> bytes:  # noqa: ARG002  # each line has its day; the request is in the file's name
        """Return the column names."""
        return csv_rows([self.columns])

    def add(self, lines: Sequence[Line]) -> bytes:
        """Return the lines as rows."""
        return csv_rows([("loan", *msgspec.structs.astuple(line), None) for line in lines])

    def end(self, totals: Totals) -> bytes:
        """Return the totals as rows of the same columns."""
        rows = [self._total(total) for total in totals.rows()]
        if totals.undigested:
            rows.append({"kind": "undigested", "loans": totals.undigested})
        return csv_rows([[row.get(name) for name in self.columns] for row in rows])

    def _total(self, total: Total) -> dict[str, object]:
        sums = {name: getattr(total, name) for name in SUMMED}
        return {"kind": "total", "bucket": total.bucket, "currency": total.currency, "loans": total.loans, **sums}
