"""What must be looked up while files are read once, on disk: a book has millions of rows and memory does not grow with it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from services.importer.csv_forms import Around

CACHE_KIB = 64 * 1024

_TABLES = """
pragma journal_mode = off;
pragma synchronous = off;
pragma cache_size = -{cache};
create table loan (loan_id text primary key, currency text, timezone text) without rowid;
create table instalment (loan_id text, n integer, place text, data blob, primary key (loan_id, n)) without rowid;
create table seen (kind text, key text, place text, primary key (kind, key)) without rowid;
"""


class Index:
    """A temporary database of SQLite that ends with the program."""

    def __init__(self) -> None:
        self._conn = sqlite3.connect("", isolation_level=None)  # the empty name is a file of its own, deleted on closing
        self._conn.executescript(_TABLES.format(cache=CACHE_KIB))
        self._conn.execute("begin")
        self._last: tuple[str, Around | None] = ("", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._conn.close()

    def add_loan(self, loan_id: str, around: Around) -> None:
        """Remember a loan's currency and zone; the first of two stands."""
        self._conn.execute("insert or ignore into loan values (?, ?, ?)", (loan_id, around.currency, around.zone))

    def loan(self, loan_id: str) -> Around | None:
        """Return what is known of a loan of this import; rows of one loan mostly stand together."""
        if self._last[0] != loan_id:
            row = self._conn.execute("select currency, timezone from loan where loan_id = ?", (loan_id,)).fetchone()
            self._last = (loan_id, Around(*row) if row else None)
        return self._last[1]

    def add_instalment(self, loan_id: str, n: int, place: str, data: bytes) -> str | None:
        """Keep a row of a schedule, or return where the same instalment stands already."""
        return self._kept("instalment", ("loan_id", "n"), (loan_id, n), (place, data))

    def schedule(self, loan_id: str) -> list[bytes]:
        """Return the rows of a loan's schedule in their order, as they were kept."""
        return [data for (data,) in self._conn.execute("select data from instalment where loan_id = ? order by n", (loan_id,))]

    def claim(self, kind: str, key: Iterable[object], place: str) -> str | None:
        """Note that this row has been seen, or return where the same one stands already."""
        return self._kept("seen", ("kind", "key"), (kind, "\x1f".join(map(str, key))), (place,))

    def _kept(self, table: str, names: tuple[str, str], key: tuple[object, object], rest: tuple[object, ...]) -> str | None:
        marks = ", ".join("?" * (len(key) + len(rest)))
        if self._conn.execute(f"insert or ignore into {table} values ({marks})", (*key, *rest)).rowcount:
            return None
        row = self._conn.execute(f"select place from {table} where {names[0]} = ? and {names[1]} = ?", key).fetchone()
        return str(row[0])

    def owners_unknown(self) -> int:
        """Return how many borrowers of loans are in no file of borrowers."""
        counted = self._conn.execute(
            "select count(*) from seen a where kind = 'owner'"
            " and not exists (select 1 from seen b where b.kind = 'borrower' and b.key = a.key)"
        ).fetchone()
        return int(counted[0])
