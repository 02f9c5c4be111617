"""What loans, products and parked events look like over HTTP, for OpenAPI; fields may be added, but never removed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import Struct, field

from libs.common.describing import Shapes
from services.ingest.domain.view import NextDue


class RefusedEvent(Struct):
    """An event that was not accepted, by its index in the batch."""

    index: int
    id: str | None
    error: str
    detail: str


class TakenEvents(Struct):
    """How many events are durable, and which were refused."""

    accepted: int
    rejected: list[RefusedEvent]


class Amounts(Struct):
    """Minor units by component."""

    principal: int
    interest: int
    fee: int
    penalty: int
    total: int


class Paid(Struct):
    """What was paid of an instalment."""

    total: int
    in_advance: int
    late: int


class Anchor(Struct):
    """The oldest overdue instalment."""

    n: int | None
    due_on: date


class Aged(Struct):
    """The overdue amount in a bucket."""

    bucket: str
    amount: int


class InstalmentState(Struct):
    """The current state of an instalment; `met_on` is the day on which no more than the tolerance was left."""

    n: int
    due_on: date
    down_payment: bool
    due: Amounts
    paid: Paid
    waived: Amounts
    outstanding: Amounts
    met_on: date | None


class Movement(Struct):
    """A payment, chargeback, refund, charge-off or write-off, and how it was allocated.

    `credit` is what a payment left over or, if negative, what credit covered of a chargeback or refund.
    """

    id: str
    kind: str
    on: date
    amount: int
    principal: int
    interest: int
    fee: int
    penalty: int
    credit: int
    explicit: int
    reversed: bool


class ChargeState(Struct):
    """The current state of a charge."""

    charge_id: str
    kind: str
    due_on: date
    amount: int
    paid: int
    waived: int
    outstanding: int


class Doubt(Struct):
    """Since when contacts have been suspended, and which parked events need a decision."""

    since: datetime
    parked: list[str]


class IgnoredEvent(Struct):
    """An event that the fold cannot use."""

    event: str
    why: str


class Pause(Struct):
    """Days on which the overdue clock is paused: `from` is inclusive, `until` exclusive."""

    from_: date = field(name="from")
    until: date | None


class LoanHeadline(Struct):
    """The loan as a whole; an instalment whose rest is covered by the tolerance is not overdue."""

    loan_id: str
    borrower_id: str
    product: str
    currency: str
    timezone: str
    jurisdictions: list[str]
    as_of: date
    version: int
    events: int
    status: str
    outstanding: Amounts
    overdue: Amounts
    credit: int
    grace_days: int
    anchor: Anchor | None
    past_due_days: int
    delinquent_from: date | None
    paused_days: int
    delinquent_days: int
    bucket: str
    aged: list[Aged]
    next_due: NextDue | None
    pauses: list[Pause]
    dpd_original_from: date | None
    ignored: list[IgnoredEvent]
    doubt: Doubt | None


class LoanState(LoanHeadline):
    """A loan on a date."""

    schedule: list[InstalmentState]
    movements: list[Movement]
    charges: list[ChargeState]


class LoanInShort(Struct):
    """A loan of a borrower in its current state."""

    loan_id: str
    product: str | None
    currency: str | None
    status: str | None
    bucket: str | None
    overdue: int
    outstanding: int
    anchor_due_on: date | None
    in_doubt: bool


class AcceptedEvent(Struct):
    """An accepted event as it was received."""

    specversion: str
    id: str
    source: str
    type: str
    time: datetime
    subject: str
    data: dict[str, Any]
    received_at: datetime


class ParkedEvent(Struct):
    """An event that waits for a person's decision, and why."""

    id: str
    loan_id: str | None
    borrower_id: str | None
    event: Any
    error: str
    detail: str
    at: datetime


class ProductInForce(Struct):
    """A product line; version 0 means the defaults."""

    name: str
    version: int
    grace_days: int
    tolerance: dict[str, float]
    due_soon_days: int
    buckets: dict[str, Any]
    allocation: dict[str, Any]


LOANS: Shapes = {
    "postEvents": TakenEvents, "getLoan": LoanState, "getLoanEvents": list[AcceptedEvent], "getBorrowerLoans": list[LoanInShort],
    "getParked": list[ParkedEvent], "getProduct": ProductInForce, "putProduct": ProductInForce,
}  # fmt: skip
