"""Responses of the statement, the overdue report, decisions about parked events, and sources, for OpenAPI."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import UNSET, Struct, UnsetType

from libs.common.describing import Shapes
from services.ingest.reporting import Line, Total
from services.ingest.routes.loan_shapes import Amounts, ChargeState, LoanHeadline


class StatedInstalment(Struct):
    """An instalment, component by component."""

    n: int
    due_on: date
    down_payment: bool
    due: Amounts
    paid: Amounts
    waived: Amounts
    outstanding: Amounts
    overdue: Amounts
    met_on: date | None


class EventNamed(Struct):
    """An event by source and id, and when the publisher's books recorded it."""

    source: str
    id: str
    time: datetime


class StatementLine(Struct):
    """One numbered line: how much of which component of which instalment or charge, and the balance after it."""

    number: int
    n: int | None
    due_on: date | None
    charge_id: str | None
    component: str
    side: str
    amount: int
    by: str | None
    balance: int


class StatementEntry(Struct):
    """A numbered event, and its lines."""

    number: int
    on: date
    kind: str
    id: str | None
    amount: int
    event: EventNamed
    undone_by: str | None
    lines: list[StatementLine]
    outstanding: int
    credit: int
    credit_change: int


class StatementTotals(Struct):
    """All instalments together."""

    due: Amounts
    paid: Amounts
    waived: Amounts
    left_at_end: Amounts


class LoanStatement(LoanHeadline):
    """A loan's statement on a date, which can be disputed line by line."""

    at: datetime
    known_at: datetime | None
    totals: StatementTotals
    instalments: list[StatedInstalment]
    charges: list[ChargeState]
    entries: list[StatementEntry]


class OverdueReport(Struct):
    """Everything overdue; `undigested` is the number of loans whose events the rules cannot process."""

    as_of: date | None
    known_at: datetime | None
    at: datetime
    items: list[Line]
    totals: list[Total]
    undigested: int
    next: None


class DecidedEvent(Struct):
    """A parked event, and what a person decided about it."""

    id: str
    loan_id: str | None
    borrower_id: str | None
    event: Any
    error: str
    detail: str
    at: datetime
    decision: str
    reason: str | UnsetType = UNSET
    replaced_by: dict[str, Any] | UnsetType = UNSET


class Retired(Struct):
    """When a source was retired, by whom and why."""

    at: datetime
    by: str
    reason: str


class SourceState(Struct):
    """A source that has sent heartbeats; `silent` holds sending for its tenant back."""

    source: str
    every_s: int
    heard_at: datetime
    silent: bool
    retired: Retired | None


PAPER: Shapes = {
    "getLoanStatement": LoanStatement, "getOverdueReport": OverdueReport, "retryParked": DecidedEvent, "discardParked": DecidedEvent,
    "replaceParked": DecidedEvent, "getSources": list[SourceState], "retireSources": SourceState,
}  # fmt: skip
