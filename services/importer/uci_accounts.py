"""Read "Default of credit card clients" (UCI Machine Learning Repository, DOI 10.24432/C55S3H)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

STATUSES = ("X11", "X10", "X9", "X8", "X7", "X6")
BALANCES = ("X17", "X16", "X15", "X14", "X13", "X12")
PAYMENTS = ("X23", "X22", "X21", "X20", "X19", "X18")
COLUMNS = ("ID", "X1", *STATUSES, *BALANCES, *PAYMENTS)
AMOUNT_LIMIT = 10**12


class RowError(ValueError):
    """A row that cannot be read; the text begins with the file's line."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Account:
    """One credit card; six months each, April first; whole NT$."""

    number: int
    limit: int
    statuses: tuple[int, ...]
    """-2 nothing used, -1 paid in full, 0 revolving, n months late."""
    balances: tuple[int, ...]
    """The statement's balance; below zero when the bank owes the customer."""
    payments: tuple[int, ...]
    """What was paid in that month, for the statement of the month before."""


def read(path: Path) -> Iterator[Account]:
    """Yield the file's accounts in its order; RowError names the line that is broken."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        try:
            yield from _accounts(table)
        except (UnicodeDecodeError, csv.Error) as error:
            raise RowError(table.line_num + 1, f"this is no CSV file in UTF-8: {error}") from None


def _accounts(table: csv.DictReader[str]) -> Iterator[Account]:
    missing = [name for name in COLUMNS if name not in (table.fieldnames or ())]
    if missing:
        raise RowError(1, f"the columns {', '.join(sorted(missing, key=_place))} are missing")
    seen: dict[int, int] = {}
    for row in table:
        account = _account(row, table.line_num)
        if account.number in seen:
            raise RowError(table.line_num, f"ID {account.number} stands on line {seen[account.number]} already")
        seen[account.number] = table.line_num
        yield account
    if not seen:
        raise RowError(1, "there is no account below the header")


def _place(column: str) -> int:
    """Return where the published file has this column: ID, X1 to X23."""
    return int(column[1:]) if column[1:].isdecimal() else 0


def _account(row: Mapping[str, str | None], line: int) -> Account:
    if None in row or None in row.values():
        raise RowError(line, "it has more or fewer fields than the header")

    def whole(column: str, lowest: int, highest: int) -> int:
        try:
            return _whole(row[column] or "", lowest, highest)
        except ValueError as error:
            raise RowError(line, f"{column} is {row[column]!r}, which {error}") from None

    return Account(
        number=whole("ID", 1, 10**9),
        limit=whole("X1", 0, AMOUNT_LIMIT),
        statuses=tuple(whole(name, -2, 9) for name in STATUSES),
        balances=tuple(whole(name, -AMOUNT_LIMIT, AMOUNT_LIMIT) for name in BALANCES),
        payments=tuple(whole(name, 0, AMOUNT_LIMIT) for name in PAYMENTS),
    )


def _whole(text: str, lowest: int, highest: int) -> int:
    try:
        value = Decimal(text.strip())  # the published file writes some numbers as 5.00E+05
        within = lowest <= value <= highest
    except InvalidOperation:
        raise ValueError("is no number") from None
    if not within or value != int(value):
        raise ValueError(f"is no whole number from {lowest} to {highest}")
    return int(value)
