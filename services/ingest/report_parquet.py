"""The overdue report as Parquet, one row group at a time: the only file that knows pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pyarrow as pa
from pyarrow import parquet as pq

from services.ingest.reporting import Head, Line, Totals

ROW_GROUP = 20_000
"""Lines in memory at a time: ten megabytes, or fifty groups for a million loans."""
_TEXT, _MONEY, _DAYS, _DAY = pa.string(), pa.int64(), pa.int32(), pa.date32()
_TYPES: dict[str, Any] = {
    "as_of": _DAY,
    "anchor_n": pa.int32(),
    "anchor_due_on": _DAY,
    "delinquent_from": _DAY,
    "past_due_days": _DAYS,
    "paused_days": _DAYS,
    "delinquent_days": _DAYS,
    "overdue_principal": _MONEY,
    "overdue_interest": _MONEY,
    "overdue_fee": _MONEY,
    "overdue_penalty": _MONEY,
    "overdue": _MONEY,
    "outstanding": _MONEY,
    "aged": pa.list_(pa.struct([("bucket", _TEXT), ("amount", _MONEY)])),
    "in_doubt": pa.bool_(),
}
SCHEMA = pa.schema([pa.field(name, _TYPES.get(name, _TEXT), nullable=False) for name in Line.__struct_fields__])


class _Pieces:
    """A file that is taken piece by piece as it grows."""

    closed = False

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: Any) -> int:
        """Keep what the writer writes."""
        self._held += data
        return len(data)

    def flush(self) -> None:
        """Do nothing: writes are not buffered."""

    def close(self) -> None:
        """Do nothing: the last piece can still be taken."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        taken = bytes(self._held)
        self._held.clear()
        return taken


class ParquetForm:
    """Flat lines in columns; the head, the totals as JSON and `undigested` are in the file's key-value metadata."""

    def __init__(self, row_group: int = ROW_GROUP) -> None:
        self._row_group = row_group
        self._pieces = _Pieces()
        self._writer = pq.ParquetWriter(pa.PythonFile(self._pieces, mode="w"), SCHEMA, compression="zstd")
        self._batches: list[Any] = []
        self._waiting = 0

    def begin(self, head: Head) -> bytes:
        """Write the head into the metadata, and return the file's first bytes."""
        said = {"as_of": head.as_of, "known_at": head.known_at, "at": head.at}
        self._note({name: value.isoformat() for name, value in said.items() if value is not None})
        return self._pieces.take()

    def add(self, lines: Sequence[Line]) -> bytes:
        """Return a row group once there are enough lines for one."""
        if lines:
            columns = zip(*map(msgspec.structs.astuple, lines), strict=True)
            arrays = [pa.array(_plain(values), field.type) for values, field in zip(columns, SCHEMA, strict=True)]
            self._batches.append(pa.record_batch(arrays, schema=SCHEMA))
            self._waiting += len(lines)
        if self._waiting >= self._row_group:
            self._write()
        return self._pieces.take()

    def end(self, totals: Totals) -> bytes:
        """Return the last row group and the footer with the totals."""
        if self._batches:
            self._write()
        self._note({"totals": msgspec.json.encode(totals.rows()).decode(), "undigested": str(totals.undigested)})
        self._writer.close()
        return self._pieces.take()

    def _write(self) -> None:
        table = pa.Table.from_batches(self._batches, SCHEMA)
        self._batches, self._waiting = [], 0
        self._writer.write_table(table, row_group_size=table.num_rows)

    def _note(self, said: dict[str, str]) -> None:
        self._writer.add_key_value_metadata({f"dunwell.{name}": value for name, value in said.items()})


def _plain(values: tuple[Any, ...]) -> Sequence[Any]:
    """Return a column in the form that the library takes, without our structs."""
    return [[msgspec.structs.asdict(one) for one in value] for value in values] if isinstance(values[0], tuple) else values
