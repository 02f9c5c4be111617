"""The mapping of a lender's files: which file holds what, and which column is which field of the contract."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from msgspec.structs import asdict

from libs.common.contracts.values import Moment, Source, known_currency, known_zone, moments_on_calendar
from libs.common.slips import near, place_of
from services.importer.csv_forms import FIRST, Form, Spelling
from services.importer.csv_kinds import BORROWER, INSTALMENT, KINDS, LOAN, Kind, Known, fields_of_address
from services.importer.csv_yaml import Document, MappingError, parse

_T = TypeVar("_T")
SIGNS = ".,'\u2019 \u00a0\u202f\u00b7"
"""What stands before decimals and between thousands somewhere in the world."""
Sign = Annotated[str, Meta(min_length=1, max_length=1)]


class Style(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How files are written; what a file says goes before what stands at the top."""

    delimiter: Sign | None = None
    encoding: str | None = None
    decimal: Sign | None = None
    thousands: Sign | None = None
    date_format: str | None = None
    moment_format: str | None = None


class WrittenField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where one field's value comes from."""

    column: str | None = None
    const: str | tuple[str, ...] | None = None
    default: str | None = None
    values: dict[str, str] | None = None
    format: str | None = None
    zone: str | None = None
    decimal: Sign | None = None
    thousands: Sign | None = None
    unit: Literal["major", "minor"] = "major"
    separator: str | None = None
    form: Form | None = msgspec.field(default=None, name="as")


class WrittenFile(Style, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of the mapping, as written."""

    file: str
    rows: str
    fields: dict[str, Any]
    addresses: tuple[dict[str, Any], ...] = ()
    equal_instalments: dict[str, Any] | None = None
    where: dict[str, str | tuple[str, ...]] = {}
    unknown_loans: Literal["refuse", "skip"] = "refuse"


class WrittenMapping(Style, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole mapping, as written."""

    source: Source
    exported_at: Moment
    files: Annotated[tuple[WrittenFile, ...], Meta(min_length=1, max_length=1000)]
    timezone: str | None = None
    currency: str | None = None


@dataclass(frozen=True, slots=True)
class Cell:
    """Where the value of one field comes from and how it is read."""

    field: str
    known: Known
    spelling: Spelling
    column: str | None = None
    const: str | tuple[str, ...] | None = None
    default: str | None = None
    values: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EqualInstalments:
    """A schedule by rule, for a book that keeps none: cells for the sums, their number and the first due date."""

    cells: tuple[Cell, ...]
    every: str


@dataclass(frozen=True, slots=True)
class Sheet:
    """One file with all that is needed to read it."""

    path: Path
    name: str
    kind: str
    cells: tuple[Cell, ...]
    addresses: tuple[tuple[Cell, ...], ...]
    equal: EqualInstalments | None
    where: Mapping[str, tuple[str, ...]]
    delimiter: str
    encoding: str
    skips_unknown_loans: bool

    @property
    def all_cells(self) -> tuple[Cell, ...]:
        """Return every cell that a row is read for."""
        return (*self.cells, *(cell for address in self.addresses for cell in address), *(self.equal.cells if self.equal else ()))


@dataclass(frozen=True, slots=True)
class Plan:
    """The import as a whole; sheets in the order of sending."""

    path: Path
    source: str
    exported_at: datetime
    timezone: str | None
    currency: str | None
    sheets: tuple[Sheet, ...]

    def of(self, kind: str) -> tuple[Sheet, ...]:
        """Return the files of this kind of row."""
        return tuple(sheet for sheet in self.sheets if sheet.kind == kind)


_EQUAL = {
    "principal": Known(Form.AMOUNT, required=True), "interest": Known(Form.AMOUNT), "n": Known(Form.INTEGER, required=True),
    "first_due_on": Known(Form.DATE, required=True),
}  # fmt: skip


def load(path: Path) -> Plan:
    """Read a mapping; raises MappingError with the line of what is wrong in it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise MappingError(f"{path.name}: a mapping is written in UTF-8: {fault}") from fault
    document = parse(text, path.name)
    written = _converted(document, document.value, WrittenMapping, "$")
    _check_top(document, written)
    sheets = [_Reader(document, written, place).sheet(path.parent) for place in range(len(written.files))]
    if any(sheet.kind == INSTALMENT for sheet in sheets) and not any(sheet.kind == LOAN for sheet in sheets):
        raise document.fault("$.files", "instalments are sent with their loan: name the file of the loans as well")
    order = list(KINDS)
    sheets.sort(key=lambda sheet: order.index(sheet.kind))
    return Plan(path, written.source, written.exported_at, written.timezone, written.currency, tuple(sheets))


def _check_top(document: Document, written: WrittenMapping) -> None:
    for name, check in (("timezone", known_zone), ("currency", known_currency)):
        try:
            check(getattr(written, name))
        except ValueError as fault:
            raise document.fault(f"$.{name}", str(fault)) from fault
    try:
        moments_on_calendar(written.exported_at)
    except ValueError as fault:
        raise document.fault("$.exported_at", str(fault)) from fault


def _converted(document: Document, value: Any, type_: type[_T], path: str) -> _T:
    try:
        return msgspec.convert(value, type_, strict=False)
    except msgspec.ValidationError as fault:
        place, sentence = place_of(fault, type_)
        raise document.fault(f"{path}.{place}" if place else path, sentence) from fault


class _Reader:
    """Reads one file's part of the mapping."""

    def __init__(self, document: Document, mapping: WrittenMapping, place: int) -> None:
        self._document = document
        self._mapping = mapping
        self._file = mapping.files[place]
        self._path = f"$.files[{place}]"
        self._style = {**_said(mapping), **_said(self._file)}

    def sheet(self, folder: Path) -> Sheet:
        file = self._file
        kind = KINDS.get(file.rows)
        if kind is None:
            raise self._fault(".rows", f"no kind of row is called {file.rows!r}: {near(file.rows, list(KINDS))}")
        path = folder / file.file
        if not path.is_file():
            raise self._fault(".file", f"there is no file {path}")
        return Sheet(
            path=path,
            name=file.file,
            kind=file.rows,
            cells=self._cells_of(kind),
            addresses=tuple(self._addresses()),
            equal=self._equal(),
            where={column: (said,) if isinstance(said, str) else said for column, said in file.where.items()},
            delimiter=self._style.get("delimiter", ","),
            encoding=self._encoding(),
            skips_unknown_loans=file.unknown_loans == "skip",
        )

    def _cells_of(self, kind: Kind) -> tuple[Cell, ...]:
        known = kind.fields
        written = dict(self._file.fields)
        for name in ("timezone", "currency"):
            if name in known and known[name].required and name not in written and getattr(self._mapping, name) is not None:
                written[name] = {"const": getattr(self._mapping, name)}
        return self._cells(written, known, ".fields", f"a {self._file.rows}")

    def _addresses(self) -> Iterator[tuple[Cell, ...]]:
        if self._file.addresses and self._file.rows != BORROWER:
            raise self._fault(".addresses", "only a borrower has addresses")
        for place, written in enumerate(self._file.addresses):
            plain = {"channel": {"const": written["channel"]}} if isinstance(written.get("channel"), str) else {}
            yield self._cells({**written, **plain}, fields_of_address(), f".addresses[{place}]", "an address")

    def _equal(self) -> EqualInstalments | None:
        written = self._file.equal_instalments
        if written is None:
            return None
        if self._file.rows != LOAN:
            raise self._fault(".equal_instalments", "only a loan has equal_instalments")
        every = written.get("every", "month")
        if every not in ("month", "week") and not (isinstance(every, str) and every.isdecimal() and 0 < int(every) <= 3650):
            raise self._fault(".equal_instalments.every", "`every` is month, week or a number of days")
        parts = {name: said for name, said in written.items() if name != "every"}
        return EqualInstalments(self._cells(parts, _EQUAL, ".equal_instalments", "equal_instalments"), every)

    def _cells(self, written: dict[str, Any], known: Mapping[str, Known], at: str, whose: str) -> tuple[Cell, ...]:
        """Return the cells; those whose text says how others are read (currency, zone, loan) come first."""
        cells = [self._cell(name, said, self._known(name, known, at, whose), f"{at}.{name}") for name, said in written.items()]
        if missing := [name for name, field in known.items() if field.required and name not in written]:
            raise self._fault(at, f"{whose} needs {', '.join(missing)}")
        return tuple(sorted(cells, key=lambda cell: FIRST.index(cell.known.form) if cell.known.form in FIRST else len(FIRST)))

    def _known(self, name: str, known: Mapping[str, Known], at: str, whose: str) -> Known:
        if name in known and not name.endswith("."):
            return known[name]
        for free in (one for one in known if one.endswith(".")):
            if name.startswith(free) and len(name) > len(free) and "." not in name[len(free) :]:
                return known[free]
        names = [f"{one}NAME" if one.endswith(".") else one for one in known]
        raise self._fault(f"{at}.{name}", f"{whose} has no field {name!r}: {near(name, names)}")

    def _cell(self, name: str, said: Any, known: Known, at: str) -> Cell:
        written = WrittenField(column=said) if isinstance(said, str) else _converted(self._document, said, WrittenField, self._path + at)
        if (written.column is None) == (written.const is None):
            raise self._fault(at, f"{name} comes from a `column` or is a `const`, one of the two")
        if written.form is not None and not name.startswith("attributes."):
            raise self._fault(at, f"the contract says what {name} is; `as` is for attributes")
        form = written.form or known.form
        if isinstance(written.const, tuple) and form is not Form.TEXTS:
            raise self._fault(at, f"{name} holds one value, not a list")
        return Cell(
            field=name,
            known=Known(form, known.required, known.says),
            spelling=self._spelling(written, form, at),
            column=written.column,
            const=written.const,
            default=written.default,
            values=written.values,
        )

    def _spelling(self, written: WrittenField, form: Form, at: str) -> Spelling:
        try:
            known_zone(written.zone)
        except ValueError as fault:
            raise self._fault(f"{at}.zone", str(fault)) from fault
        formats = {Form.DATE: self._style.get("date_format"), Form.MOMENT: self._style.get("moment_format")}
        decimal = written.decimal or self._style.get("decimal", ".")
        thousands = written.thousands or self._style.get("thousands", "")
        if decimal == thousands or (decimal + thousands).strip(SIGNS):
            raise self._fault(
                at, f"{decimal!r} before decimals and {thousands!r} between thousands cannot be told apart or are no such signs"
            )
        return Spelling(
            decimal=decimal,
            thousands=thousands,
            minor=written.unit == "minor",
            format=written.format or formats.get(form),
            zone=written.zone,
            separator=written.separator,
        )

    def _encoding(self) -> str:
        encoding = self._style.get("encoding", "utf-8-sig")
        try:
            "".encode(encoding)
        except LookupError as fault:
            raise self._fault(".encoding", f"no encoding is called {encoding!r}") from fault
        return encoding

    def _fault(self, at: str, sentence: str) -> MappingError:
        return self._document.fault(self._path + at, sentence)


def _said(style: Style) -> dict[str, str]:
    return {name: said for name, said in asdict(style).items() if name in Style.__struct_fields__ and said is not None}
