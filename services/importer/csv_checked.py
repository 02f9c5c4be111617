"""What a check of the files has found, as numbers and as lines for a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, NamedTuple

from libs.common.money import written
from services.importer.csv_kinds import COMPONENTS, KINDS, LOAN, Kind
from services.importer.csv_rows import Issue

ISSUES = 100
"""How many are shown; the others are counted."""
INSTALMENTS = "instalments in schedules"


class Event(NamedTuple):
    """An event ready to be sent, with the row that it comes from."""

    body: bytes
    file: str
    line: int
    kind: Kind
    value: Any
    day: date | None
    currency: str | None


@dataclass(slots=True)
class Count:
    """How many of one type, over which days, and their sums in minor units by currency."""

    number: int = 0
    first: date | None = None
    last: date | None = None
    sums: Counter[str] = field(default_factory=Counter)

    def add(self, day: date | None, amount: int, currency: str | None) -> None:
        """Take one more into account."""
        self.number += 1
        if day is not None:
            self.first, self.last = min(self.first or day, day), max(self.last or day, day)
        if currency is not None and amount:
            self.sums[currency] += amount


@dataclass(slots=True)
class Checked:
    """What the files hold: what would be sent, and what is wrong; `roots` are the files whose errors bring errors in others."""

    roots: frozenset[str] = frozenset()
    counts: dict[str, Count] = field(default_factory=dict)
    issues: list[Issue] = field(default_factory=list)
    faults: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def events(self) -> int:
        """Return how many events would be sent."""
        return sum(count.number for name, count in self.counts.items() if name != INSTALMENTS)

    def refuse(self, issue: Issue) -> None:
        """Count what is wrong, and keep the first of each file."""
        self.faults += 1
        if sum(1 for kept in self.issues if kept.file == issue.file) < ISSUES:
            self.issues.append(issue)

    def take(self, event: Event) -> None:
        """Count an event that would be sent."""
        kind, value = event.kind, event.value
        amount = sum(getattr(value, name) for name in kind.sums)
        self.counts.setdefault(kind.event, Count()).add(event.day, amount, event.currency)
        for row in value.schedule or () if kind is KINDS[LOAN] else ():
            total = sum(getattr(row, name) for name in COMPONENTS)
            self.counts.setdefault(INSTALMENTS, Count()).add(row.due_on, total, event.currency)

    def wrong(self) -> Iterator[str]:
        """Yield a line for each of the first issues, and one for the others."""
        shown = sorted(self.issues, key=lambda issue: issue.file not in self.roots)[:ISSUES]
        yield from map(str, shown)
        if self.faults > len(shown):
            yield f"... and {self.faults - len(shown)} more"
        yield f"{self.faults} {'error' if self.faults == 1 else 'errors'}: nothing has been sent"

    def rows(self) -> Iterator[tuple[str, str, str, str, str]]:
        """Yield what would be sent as rows of a table: what, how many, first day, last day, sums."""
        for name, count in self.counts.items():
            sums = ", ".join(f"{currency} {written(amount, currency, 'en')}" for currency, amount in sorted(count.sums.items()))
            yield name, f"{count.number:,}", str(count.first or ""), str(count.last or ""), sums
