"""Events about loans that a wallet publishes: topic `wallet.loan-events` (contract, section 2)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from msgspec import Meta, field
from msgspec.structs import force_setattr

from libs.common.contracts.values import (
    MAX_INSTALMENTS,
    Amount,
    Attributes,
    Contract,
    Count,
    Days,
    Id,
    Moment,
    Source,
    Text,
    in_utc,
    known_currency,
    known_zone,
    not_deep,
    on_calendar,
)

ComponentName = Literal["principal", "interest", "fee", "penalty"]
PaymentKindName = Literal[
    "repayment", "down_payment", "recovery", "goodwill_credit", "merchant_issued_refund", "payout_refund", "charge_adjustment"
]
DueClass = Literal[
    "past_due_penalty", "past_due_fee", "past_due_interest", "past_due_principal",
    "due_penalty", "due_fee", "due_interest", "due_principal",
    "in_advance_penalty", "in_advance_fee", "in_advance_interest", "in_advance_principal",
]  # fmt: skip
FutureRule = Literal["next", "last", "spread"]
FutureKind = Literal["default", PaymentKindName]


PERCENT_DECIMALS = 4
"""Decimals of a tolerance; more are refused, since rounding them would decide who is late."""


class Instalment(Contract, frozen=True, kw_only=True):
    """One row of a schedule."""

    n: Count
    due_on: date
    principal: Amount
    interest: Amount = 0
    fee: Amount = 0
    penalty: Amount = 0
    down_payment: bool = False

    def __post_init__(self) -> None:
        on_calendar(self.due_on)


Schedule = Annotated[tuple[Instalment, ...], Meta(max_length=MAX_INSTALMENTS)]


def _once_each(schedule: tuple[Instalment, ...]) -> None:
    if len({row.n for row in schedule}) != len(schedule):
        raise ValueError("an instalment number appears twice in the schedule")


def _null_is_absent(struct: Contract, **defaults: object) -> None:
    """Give optional parts that were sent as null their defaults, so that null and absent are the same content."""
    for name, default in defaults.items():
        if getattr(struct, name) is None:
            force_setattr(struct, name, default)


class Tolerance(Contract, frozen=True, kw_only=True):
    """How much of an instalment may stay unpaid for it to count as met: the greater of the two."""

    amount: Amount = 0
    percent: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if not (self.percent.is_finite() and 0 <= self.percent <= 100):
            raise ValueError("a tolerance in percent must be between 0 and 100")
        if self.percent != round(self.percent, PERCENT_DECIMALS):
            raise ValueError(f"a tolerance in percent can have at most {PERCENT_DECIMALS} decimals")
        force_setattr(self, "percent", abs(self.percent).normalize())


class Allocation(Contract, frozen=True, kw_only=True):
    """How a payment is allocated (conformance README, allocation)."""

    mode: Literal["horizontal", "vertical"] | None = None
    order: tuple[DueClass, ...] | None = None
    future_instalments: dict[FutureKind, FutureRule] | None = None
    charge_class_by: Literal["instalment_due_date", "charge_due_date"] | None = None
    charges_known: Literal["from_the_start", "from_their_date"] | None = None
    chargeback_split: tuple[ComponentName, ...] | None = None
    chargeback_skips_down_payment: bool | None = None

    def __post_init__(self) -> None:
        if self.order is not None and len(set(self.order)) != 12:
            raise ValueError("the allocation order must name each of the twelve classes once")


class LoanDisbursed(Contract, frozen=True, kw_only=True):
    """A loan begins."""

    loan_id: Id
    borrower_id: Id
    product: Id
    currency: str
    disbursed_on: date
    timezone: str
    jurisdictions: Annotated[tuple[Id, ...], Meta(max_length=16)]
    grace_days: Days | None = None
    tolerance: Tolerance | None = None
    allocation: Allocation | None = None
    schedule: Schedule | None = ()
    attributes: Attributes | None = field(default_factory=dict)

    def __post_init__(self) -> None:
        on_calendar(self.disbursed_on)
        known_zone(self.timezone)
        known_currency(self.currency)
        _null_is_absent(self, schedule=(), attributes={})
        _once_each(self.schedule or ())
        not_deep(self.attributes)


class LoanRescheduled(Contract, frozen=True, kw_only=True):
    """The schedule is replaced."""

    loan_id: Id
    version: Count
    schedule: Schedule
    effect: Literal["from_start", "from_date"]
    reason: Text | None = None
    effective_on: date | None = None

    def __post_init__(self) -> None:
        on_calendar(self.effective_on)
        _once_each(self.schedule)


class InstalmentDue(Contract, frozen=True, kw_only=True):
    """A due date published on its own."""

    loan_id: Id
    n: Count
    due_on: date
    principal: Amount
    interest: Amount = 0
    fee: Amount = 0
    penalty: Amount = 0
    borrower_id: Id | None = None
    currency: str | None = None

    def __post_init__(self) -> None:
        on_calendar(self.due_on)
        known_currency(self.currency)


class ChargeAdded(Contract, frozen=True, kw_only=True):
    """A fee, penalty or other amount is added."""

    charge_id: Id
    loan_id: Id
    kind: ComponentName
    amount: Amount
    due_on: date
    n: Count | None = None

    def __post_init__(self) -> None:
        on_calendar(self.due_on)


class ChargeWaived(Contract, frozen=True, kw_only=True):
    """A charge, or a component of an instalment, is waived; without an amount, all that is open of it."""

    waiver_id: Id
    loan_id: Id
    charge_id: Id | None = None
    n: Count | None = None
    component: ComponentName | None = None
    amount: Amount | None = None

    def __post_init__(self) -> None:
        if (self.charge_id is None) == (self.n is None):
            raise ValueError("a waiver must name either a charge_id or an instalment n with its component")
        if self.n is not None and self.component is None:
            raise ValueError("a waiver of an instalment must name the component")


class WaiverReversed(Contract, frozen=True, kw_only=True):
    """A waiver is undone, as if it had never been made."""

    waiver_id: Id
    loan_id: Id


class ExplicitAllocation(Contract, frozen=True, kw_only=True):
    """How much of one instalment a payment covers, according to the publisher."""

    n: Count
    principal: Amount = 0
    interest: Amount = 0
    fee: Amount = 0
    penalty: Amount = 0


class RepaymentReceived(Contract, frozen=True, kw_only=True):
    """A payment has arrived."""

    repayment_id: Id
    loan_id: Id
    amount: Amount
    paid_at: Moment
    kind: PaymentKindName = "repayment"
    allocations: Annotated[tuple[ExplicitAllocation, ...], Meta(max_length=MAX_INSTALMENTS)] | None = ()

    def __post_init__(self) -> None:
        _null_is_absent(self, allocations=())
        in_utc(self, "paid_at")
        on_calendar(self.paid_at.date())


class RepaymentPending(Contract, frozen=True, kw_only=True):
    """A direct debit is under way: contacts are suspended until its result, or until the given moment."""

    repayment_id: Id
    loan_id: Id
    amount: Amount
    until: Moment

    def __post_init__(self) -> None:
        in_utc(self, "until")
        on_calendar(self.until.date())


class RepaymentReversed(Contract, frozen=True, kw_only=True):
    """A payment is undone, as if it had never been made."""

    repayment_id: Id
    loan_id: Id


class RepaymentChargedBack(Contract, frozen=True, kw_only=True):
    """A payment was charged back: a new debt with its own date."""

    chargeback_id: Id
    repayment_id: Id
    loan_id: Id
    amount: Amount
    at: Moment

    def __post_init__(self) -> None:
        in_utc(self, "at")
        on_calendar(self.at.date())


class CreditRefunded(Contract, frozen=True, kw_only=True):
    """A credit balance is paid out to the borrower."""

    refund_id: Id
    loan_id: Id
    amount: Amount
    at: Moment

    def __post_init__(self) -> None:
        in_utc(self, "at")
        on_calendar(self.at.date())


class LoanPaused(Contract, frozen=True, kw_only=True):
    """The overdue clock is paused; the first day is inclusive, the last exclusive."""

    loan_id: Id
    from_: date = field(name="from")
    until: date | None = None

    def __post_init__(self) -> None:
        on_calendar(self.from_, self.until)


class LoanResumed(Contract, frozen=True, kw_only=True):
    """Every pause that includes this day ends on it."""

    loan_id: Id
    on: date

    def __post_init__(self) -> None:
        on_calendar(self.on)


class LoanChargedOff(Contract, frozen=True, kw_only=True):
    """The loan is written down in the books, but still collectable."""

    loan_id: Id
    on: date
    reason: Text | None = None
    charge_off_id: Id | None = None

    def __post_init__(self) -> None:
        on_calendar(self.on)


class ChargeOffReversed(Contract, frozen=True, kw_only=True):
    """A charge-off is undone, as if it had never been made; without an id, every one recorded before this."""

    loan_id: Id
    charge_off_id: Id | None = None
    on: date | None = None
    reason: Text | None = None

    def __post_init__(self) -> None:
        on_calendar(self.on)


class LoanWrittenOff(Contract, frozen=True, kw_only=True):
    """The debt is given up: nothing is outstanding and every contact ends."""

    loan_id: Id
    on: date
    reason: Text | None = None
    write_off_id: Id | None = None

    def __post_init__(self) -> None:
        on_calendar(self.on)


class LoanClosed(Contract, frozen=True, kw_only=True):
    """The loan has ended."""

    loan_id: Id
    on: date
    reason: Text | None = None

    def __post_init__(self) -> None:
        on_calendar(self.on)


class EventRetracted(Contract, frozen=True, kw_only=True):
    """As if that event had never been sent."""

    loan_id: Id
    event_id: Id
    source: Source | None = None


LoanEventData = (
    LoanDisbursed | LoanRescheduled | InstalmentDue | ChargeAdded | ChargeWaived | WaiverReversed | RepaymentReceived | RepaymentPending
    | RepaymentReversed | RepaymentChargedBack | CreditRefunded | LoanPaused | LoanResumed | LoanChargedOff | ChargeOffReversed
    | LoanWrittenOff | LoanClosed | EventRetracted
)  # fmt: skip

LOAN_EVENTS: dict[str, type[LoanEventData]] = {
    "wallet.loan.disbursed.v1": LoanDisbursed,
    "wallet.loan.rescheduled.v1": LoanRescheduled,
    "wallet.instalment.due.v1": InstalmentDue,
    "wallet.charge.added.v1": ChargeAdded,
    "wallet.charge.waived.v1": ChargeWaived,
    "wallet.charge.waiver_reversed.v1": WaiverReversed,
    "wallet.repayment.received.v1": RepaymentReceived,
    "wallet.repayment.pending.v1": RepaymentPending,
    "wallet.repayment.reversed.v1": RepaymentReversed,
    "wallet.repayment.charged_back.v1": RepaymentChargedBack,
    "wallet.credit.refunded.v1": CreditRefunded,
    "wallet.loan.paused.v1": LoanPaused,
    "wallet.loan.resumed.v1": LoanResumed,
    "wallet.loan.charged_off.v1": LoanChargedOff,
    "wallet.loan.charge_off_reversed.v1": ChargeOffReversed,
    "wallet.loan.written_off.v1": LoanWrittenOff,
    "wallet.loan.closed.v1": LoanClosed,
    "wallet.event.retracted.v1": EventRetracted,
}
