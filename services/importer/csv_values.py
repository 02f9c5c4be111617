"""From a row to the contract's value: every cell by its form, then the whole by the contract itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from services.importer.csv_forms import FIRST, Around, read
from services.importer.csv_kinds import KINDS, LOAN, RECORDED_AT
from services.importer.csv_mapping import Cell, Sheet
from services.importer.csv_rows import Issue, Line, RowFault

SHOWN = 60

Loans = Callable[[str], Around | None]


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says: `data` for the contract, and what stands beside it."""

    line: int
    data: dict[str, Any]
    around: Around
    loan_id: str | None
    recorded_at: datetime | None
    equal: dict[str, Any] | None


class UnknownLoanError(Exception):
    """The row is about a loan that is in no file of loans."""


class Values:
    """Reads the rows of one sheet."""

    def __init__(self, sheet: Sheet, around: Around, loans: Loans | None) -> None:
        """`loans` finds the loans of this import; None where it brings none."""
        self._sheet = sheet
        self._kind = KINDS[sheet.kind]
        self._around = around
        self._loans = loans if "loan_id" in self._kind.key else None
        self._split = sum(1 for cell in sheet.cells if cell.known.form in FIRST)

    def texts(self, line: Line) -> dict[str, Any]:
        """Return what the cells say that need nothing else to be read, and nothing where they are wrong."""
        return self._values(self._sheet.cells[: self._split], line, self._around, [])

    def row(self, line: Line) -> Row:
        """Return what the row says; raises RowFault with everything that is wrong, UnknownLoanError."""
        faults: list[Issue] = []
        rest = line._replace(texts=line.texts[self._split :])
        data = self._values(self._sheet.cells[: self._split], line, self._around, faults)
        around = self._known_around(data, line, faults)
        _merge(data, self._values(self._sheet.cells[self._split :], rest, around, faults))
        equal = self._beside(data, line, around, faults)
        if faults:
            raise RowFault(*faults)
        recorded_at, loan_id = data.pop(RECORDED_AT, None), data.get("loan_id")
        for name in self._kind.beside:
            data.pop(name, None)
        return Row(line.number, data, around, loan_id, recorded_at, equal)

    def _beside(self, data: dict[str, Any], line: Line, around: Around, faults: list[Issue]) -> dict[str, Any] | None:
        """Read the cells behind the fields: addresses into the data, and the rule of a schedule."""
        sheet, at, addresses = self._sheet, len(self._sheet.cells), []
        for cells in sheet.addresses:
            texts = line.texts[at : at + len(cells)]
            at += len(cells)
            if any(text for cell, text in zip(cells, texts, strict=True) if cell.field == "address"):
                addresses.append(self._values(cells, line._replace(texts=texts), around, faults))
        if sheet.addresses:
            data["addresses"] = addresses
        return self._values(sheet.equal.cells, line._replace(texts=line.texts[at:]), around, faults) if sheet.equal else None

    def value(self, row: Row) -> Any:
        """Return the contract's value; raises RowFault naming the column where the contract names the field."""
        try:
            return msgspec.convert(row.data, self._kind.struct)
        except msgspec.ValidationError as fault:
            raise RowFault(self._refused(row, str(fault))) from fault

    def _values(self, cells: Sequence[Cell], line: Line, around: Around, faults: list[Issue]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for cell, text in zip(cells, line.texts, strict=False):
            try:
                value = _value(cell, text, around)
            except ValueError as fault:
                faults.append(self._issue(line.number, cell, str(fault)))
                continue
            if value is not None:
                _put(found, cell.field, value)
            elif cell.known.required:
                faults.append(self._issue(line.number, cell, f"{cell.field} must be there, and the cell is empty"))
        return found

    def _known_around(self, data: dict[str, Any], line: Line, faults: list[Issue]) -> Around:
        """Return the currency and zone of the row's loan, else the row's own, else the mapping's."""
        own, loan_id = Around(data.get("currency"), data.get("timezone")), data.get("loan_id")
        known = own
        if self._loans and loan_id is not None:
            loan = self._loans(loan_id)
            if loan is None:
                raise UnknownLoanError(loan_id)
            if loan.currency is None and self._sheet.kind != LOAN:
                raise RowFault  # its loan's own row says what is wrong
            if own.currency and loan.currency != own.currency:
                faults.append(Issue(self._sheet.name, line.number, f"this is in {own.currency}, the loan {loan_id} in {loan.currency}"))
            known = loan
        return Around(known.currency or self._around.currency, known.zone or self._around.zone)

    def _refused(self, row: Row, fault: str) -> Issue:
        sentence, _, path = fault.partition(" - at `$.")
        field = path.rstrip("`")
        for cell in self._sheet.cells:
            if cell.field == field.split("[")[0]:
                text = str(row.data.get(cell.field))[:SHOWN]
                return self._issue(row.line, cell, f"{text!r}: {cell.known.says or sentence}")
        return Issue(self._sheet.name, row.line, f"{field}: {sentence}" if field else sentence)

    def _issue(self, line: int, cell: Cell, sentence: str) -> Issue:
        return Issue(self._sheet.name, line, sentence if cell.column else f"{cell.field}: {sentence}", cell.column)


def _value(cell: Cell, text: str, around: Around) -> Any:
    """Return None for what is not there."""
    if cell.const is not None:
        if isinstance(cell.const, tuple):
            return cell.const
        text = cell.const
    if cell.values is not None and text in cell.values:
        text = cell.values[text]
    elif cell.values is not None and text:
        raise ValueError(f"{text[:SHOWN]!r} is none of the `values` of the mapping: {', '.join(cell.values)}")
    text = text or cell.default or ""
    return read(text, cell.known.form, cell.spelling, around) if text else None


def _put(into: dict[str, Any], field: str, value: Any) -> None:
    *above, name = field.split(".")
    for part in above:
        into = into.setdefault(part, {})
    into[name] = value


def _merge(into: dict[str, Any], more: dict[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and name in into:
            _merge(into[name], value)
        else:
            into[name] = value
