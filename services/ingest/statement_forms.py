"""A loan's statement as JSON and CSV; the printable page has its own file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice
from typing import Literal

from libs.common.tabular import csv_rows
from services.ingest.domain.events import Parts
from services.ingest.domain.state import charge, headline, parts
from services.ingest.domain.statement import Entry, Numbered, Owed, Statement
from services.ingest.domain.trail import COMPONENTS

FormName = Literal["json", "html", "csv"]
ROWS_A_PIECE = 500


@dataclass(frozen=True, slots=True)
class Stated:
    """A statement, when it was made, as of which knowledge, and what the shell adds about the loan."""

    loan_id: str
    at: datetime
    known_at: datetime | None
    record: Mapping[str, object]
    statement: Statement

    @property
    def head(self) -> dict[str, object]:
        """Everything except the instalments, charges and entries."""
        return {
            "loan_id": self.loan_id,
            "at": self.at,
            "known_at": self.known_at,
            **headline(self.statement.shown),
            **self.record,
            "totals": {name: parts(amounts) for name, amounts in _totals(self.statement)},
        }


def document(stated: Stated) -> dict[str, object]:
    """Return the statement in the shape of the API."""
    statement = stated.statement
    return {
        **stated.head,
        "instalments": [_instalment(one) for one in statement.instalments],
        "charges": [charge(row) for row in statement.shown.charges],
        "entries": [_entry(one) for one in statement.entries],
    }


def _totals(statement: Statement) -> Iterator[tuple[str, Parts]]:
    totals = statement.totals
    yield "due", totals.due
    yield "paid", totals.paid
    yield "waived", totals.waived
    yield "left_at_end", totals.left_at_end


def sides_of(one: Owed) -> dict[str, Parts]:
    """Return the amounts of an instalment by side."""
    row = one.row
    return {"due": row.due, "paid": row.paid, "waived": row.waived, "outstanding": row.outstanding, "overdue": one.overdue}


def _instalment(one: Owed) -> dict[str, object]:
    row = one.row
    return {
        "n": row.n,
        "due_on": row.due_on,
        "down_payment": row.down_payment,
        **{side: parts(amounts) for side, amounts in sides_of(one).items()},
        "met_on": row.met_on,
    }


def _entry(one: Entry) -> dict[str, object]:
    posting = one.posting
    return {
        "number": one.number,
        "on": posting.on,
        "kind": posting.kind,
        "id": posting.id,
        "amount": posting.amount,
        "event": {"source": posting.event.source, "id": posting.event.id, "time": posting.event.time},
        "undone_by": posting.undone_by,
        "lines": [_line(row) for row in one.lines],
        "outstanding": posting.outstanding,
        "credit": posting.credit,
        "credit_change": one.credit_change,
    }


def _line(row: Numbered) -> dict[str, object]:
    line = row.line
    return {
        "number": row.number,
        "n": line.n,
        "due_on": line.due_on,
        "charge_id": line.charge_id,
        "component": line.component,
        "side": line.side,
        "amount": line.amount,
        "by": line.by,
        "balance": row.balance,
    }


COLUMNS = (
    "loan_id", "currency", "as_of", "row", "number", "on", "kind", "id", "source", "event_id", "recorded_at", "undone_by", "n", "due_on",
    "charge_id", "component", "side", "amount", "by", "balance", "credit",
)  # fmt: skip
"""Columns of the CSV table: rows of kind `entry`, each followed by its rows of kind `line`, then rows of kind `instalment` and `total`."""


def csv_pieces(stated: Stated) -> Iterator[bytes]:
    """Yield the statement as one table, a piece at a time."""
    shown = stated.statement.shown
    head = {"loan_id": stated.loan_id, "currency": shown.book.currency, "as_of": shown.as_of}
    rows = chain(_entry_rows(stated.statement.entries), _instalment_rows(stated.statement.instalments), _total_rows(stated.statement))
    yield csv_rows([COLUMNS])
    while some := list(islice(rows, ROWS_A_PIECE)):
        yield csv_rows([({**head, **row}).get(name) for name in COLUMNS] for row in some)


def _entry_rows(entries: Iterable[Entry]) -> Iterator[dict[str, object]]:
    for one in entries:
        posting = one.posting
        event = {
            "on": posting.on,
            "kind": posting.kind,
            "id": posting.id,
            "source": posting.event.source,
            "event_id": posting.event.id,
            "recorded_at": posting.event.time,
        }
        after = {"balance": posting.outstanding, "credit": posting.credit, "undone_by": posting.undone_by}
        yield {"row": "entry", "number": one.number, **event, "amount": posting.amount, **after}
        for line in one.lines:
            yield {"row": "line", **event, **_line(line)}


def _instalment_rows(instalments: Iterable[Owed]) -> Iterator[dict[str, object]]:
    for one in instalments:
        for side, amounts in sides_of(one).items():
            for row in _by_component(side, amounts):
                yield {"row": "instalment", "n": one.row.n, "due_on": one.row.due_on, **row}


def _total_rows(statement: Statement) -> Iterator[dict[str, object]]:
    shown = statement.shown
    for side, amounts in (*_totals(statement), ("outstanding", shown.outstanding), ("overdue", shown.overdue)):
        for row in _by_component(side, amounts):
            yield {"row": "total", **row}
    yield {"row": "total", "side": "credit", "amount": shown.credit}


def _by_component(side: str, amounts: Parts) -> Iterator[dict[str, object]]:
    for component, amount in zip(COMPONENTS, amounts.amounts, strict=True):
        if amount:
            yield {"component": component, "side": side, "amount": amount}
