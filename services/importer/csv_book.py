"""`dunwell import csv`: a lender's files as the events of the contract.

Read twice, to check and to send: the same files and the same mapping give the same events under the same ids, in the same order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from libs.common.contracts.wallet_loans import Instalment
from libs.common.ids import derived
from services.importer.csv_checked import Checked, Event
from services.importer.csv_forms import Around
from services.importer.csv_index import Index
from services.importer.csv_kinds import BORROWER, INSTALMENT, KINDS, LOAN, Kind
from services.importer.csv_mapping import Plan, Sheet
from services.importer.csv_rows import Issue, Line, RowFault, columns_of, rows_of
from services.importer.csv_schedules import equal_instalments
from services.importer.csv_values import Row, UnknownLoanError, Values

Progress = Callable[[float], None]

_encode = msgspec.json.Encoder(decimal_format="number").encode
_instalment = msgspec.json.Decoder(Instalment).decode


class Book:
    """The files of one mapping."""

    def __init__(self, plan: Plan, index: Index) -> None:
        self._plan = plan
        self._index = index
        self._skipped: Counter[str] = Counter()
        self._taken: Counter[int] = Counter()
        self._bare = 0

    def check(self, progress: Progress) -> Checked:
        """Read everything once: loans and schedules into the index, then every row as it would be sent."""
        loans = self._plan.of(LOAN)
        checked = Checked(roots=frozenset(sheet.name for sheet in loans))
        for sheet in self._plan.sheets:
            for issue in columns_of(sheet):
                checked.refuse(issue)
        if checked.faults:
            return checked
        shares = _Shares([*loans, *self._plan.sheets], progress)
        for sheet in loans:
            self._know_loans(sheet, shares)
        for sheet in self._plan.of(INSTALMENT):
            for issue in self._know_schedules(sheet, shares):
                checked.refuse(issue)
        for found in self._events(shares, claims=True):
            if isinstance(found, Issue):
                checked.refuse(found)
            else:
                checked.take(found)
        checked.notes += self._notes()
        return checked

    def events(self) -> Iterator[Event]:
        """Yield what has been checked, in the order of sending."""
        for found in self._events(_Shares((), lambda _: None), claims=False):
            if not isinstance(found, Event):
                raise RuntimeError(f"{found.file} has changed since it was checked: {found}")  # noqa: TRY004  # of the file, not of a type
            yield found

    def _know_loans(self, sheet: Sheet, shares: _Shares) -> None:
        """Remember currencies and zones; what is wrong in a row is said when it is read as a whole."""
        values = self._values(sheet)
        for line in shares.rows(sheet):
            found = values.texts(line) if isinstance(line, Line) else {}
            if "loan_id" in found:
                self._index.add_loan(found["loan_id"], Around(found.get("currency"), found.get("timezone")))

    def _know_schedules(self, sheet: Sheet, shares: _Shares) -> Iterator[Issue]:
        values = self._values(sheet)
        for line, row in self._read(sheet, values, shares):
            if isinstance(row, Issue):
                yield row
                continue
            try:
                value = values.value(row)
            except RowFault as fault:
                yield from fault.issues
                continue
            place = f"{sheet.name} line {line}"
            if earlier := self._index.add_instalment(str(row.loan_id), value.n, place, _encode(value)):
                yield Issue(sheet.name, line, f"instalment {value.n} of loan {row.loan_id} stands in {earlier} already")

    def _events(self, shares: _Shares, *, claims: bool) -> Iterator[Event | Issue]:
        for sheet in self._plan.sheets:
            if sheet.kind == INSTALMENT:
                continue
            values = self._values(sheet)
            for _, row in self._read(sheet, values, shares):
                try:
                    yield row if isinstance(row, Issue) else self._event(sheet, values, row, claims=claims)
                except RowFault as fault:
                    yield from fault.issues

    def _read(self, sheet: Sheet, values: Values, shares: _Shares) -> Iterator[tuple[int, Row | Issue]]:
        place = self._plan.sheets.index(sheet)
        for line in shares.rows(sheet):
            self._taken[place] += 1
            if isinstance(line, Issue):
                yield line.line, line
                continue
            try:
                yield line.number, values.row(line)
            except RowFault as fault:
                yield from ((line.number, issue) for issue in fault.issues)
            except UnknownLoanError as unknown:
                if sheet.skips_unknown_loans:
                    self._skipped[sheet.name] += 1
                else:
                    sentence = f"loan {unknown} is in no file of loans (`unknown_loans: skip` leaves such rows out)"
                    yield line.number, Issue(sheet.name, line.number, sentence)

    def _event(self, sheet: Sheet, values: Values, row: Row, *, claims: bool) -> Event:
        kind = KINDS[sheet.kind]
        if sheet.kind == LOAN:
            row.data["schedule"] = self._schedule(sheet, row)
        value = values.value(row)
        key = [getattr(value, name) for name in kind.key]
        if claims:
            self._claim(sheet, row, key, value)
        recorded_at = row.recorded_at or self._recorded_at(kind, value, row.around)
        again = [recorded_at.isoformat()] if sheet.kind == BORROWER else []
        event = {
            "specversion": "1.0",
            "id": derived("csv", sheet.kind, *key, *again),
            "source": self._plan.source,
            "type": kind.event,
            "time": recorded_at,
            "subject": value.loan_id if "loan_id" in kind.key else value.borrower_id,
            "data": row.data,
        }
        return Event(_encode(event), sheet.name, row.line, kind, value, _day(kind, row), row.around.currency)

    def _schedule(self, sheet: Sheet, row: Row) -> list[Any]:
        kept: list[Any] = [_instalment(data) for data in self._index.schedule(str(row.loan_id))]
        if row.equal is None or sheet.equal is None:
            return kept
        if kept:
            raise RowFault(Issue(sheet.name, row.line, f"loan {row.loan_id} has both rows in a schedule and equal_instalments"))
        try:
            return equal_instalments(every=sheet.equal.every, **row.equal)
        except (ValueError, OverflowError) as fault:
            raise RowFault(Issue(sheet.name, row.line, f"equal_instalments: {fault}")) from fault

    def _claim(self, sheet: Sheet, row: Row, key: Sequence[object], value: Any) -> None:
        """Refuse what stands twice: the ledger would take the second for a conflict, or leave it out as a repeat."""
        if earlier := self._index.claim(sheet.kind, key, f"{sheet.name} line {row.line}"):
            names = " ".join(map(str, key))
            raise RowFault(Issue(sheet.name, row.line, f"the same {sheet.kind} ({names}) stands in {earlier} already"))
        if sheet.kind == LOAN:
            self._index.claim("owner", (value.borrower_id,), "")
            self._bare += not value.schedule

    def _recorded_at(self, kind: Kind, value: Any, around: Around) -> datetime:
        """Return when the books recorded what has no such column: on its own date, at the latest when they were exported."""
        dated = getattr(value, kind.dated) if kind.dated else None
        if dated is None:
            return self._plan.exported_at
        if not isinstance(dated, datetime):
            dated = datetime.combine(dated, time.min, ZoneInfo(around.zone or "UTC"))
        return min(dated, self._plan.exported_at)

    def _values(self, sheet: Sheet) -> Values:
        around = Around(self._plan.currency, self._plan.timezone)
        return Values(sheet, around, self._index.loan if self._plan.of(LOAN) else None)

    def _notes(self) -> Iterator[str]:
        for place, sheet in enumerate(self._plan.sheets):
            if not self._taken[place]:
                asked = "; ".join(f"{column}: {' or '.join(said)}" for column, said in sheet.where.items())
                yield f"{sheet.name}: no row of it is taken as a {sheet.kind}" + (f", of those where {asked}" if asked else "")
        for name, number in self._skipped.items():
            yield f"{name}: {number} rows are about loans that are in no file of loans and are left out"
        if self._bare:
            yield f"{self._bare} loans have no instalment: nothing of them can become overdue"
        if self._plan.of(LOAN) and (strangers := self._index.owners_unknown()):
            yield f"{strangers} borrowers of these loans are in no file of borrowers: nobody can reach them before the wallet says how"


def _day(kind: Kind, row: Row) -> date | None:
    """Return the day that the row is about, in its own zone."""
    dated = row.data[kind.dated.rstrip("_")] if kind.dated else None
    return dated.date() if isinstance(dated, datetime) else dated


class _Shares:
    """Turns bytes read of many files into the share of the work done."""

    def __init__(self, sheets: Sequence[Sheet], progress: Progress) -> None:
        self._total = sum(sheet.path.stat().st_size for sheet in sheets) or 1
        self._before = 0
        self._progress = progress

    def rows(self, sheet: Sheet) -> Iterator[Line | Issue]:
        """Yield the rows of a file and tell how far the whole is."""
        yield from rows_of(sheet, lambda read: self._progress(min(1.0, (self._before + read) / self._total)))
        self._before += sheet.path.stat().st_size
