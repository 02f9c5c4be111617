"""What can happen to a loan, with the day on which it counts."""

from datetime import date, datetime
from enum import StrEnum

from services.ingest.domain.amounts import Amounts
from services.ingest.domain.product import Allocation, ChargesKnown, Tolerance
from services.ingest.domain.product import Component as Component  # noqa: PLC0414 - re-exported for those who build events
from services.ingest.domain.value import Value

FIRST_DAY = date.min
"""The day of a charge that counts from the start: before everything else."""


class PaymentKind(StrEnum):
    """Where money comes from; only the rule on future instalments distinguishes kinds."""

    REPAYMENT = "repayment"
    DOWN_PAYMENT = "down_payment"
    RECOVERY = "recovery"
    GOODWILL_CREDIT = "goodwill_credit"
    MERCHANT_ISSUED_REFUND = "merchant_issued_refund"
    PAYOUT_REFUND = "payout_refund"
    CHARGE_ADJUSTMENT = "charge_adjustment"


class Effect(StrEnum):
    """Whether a new schedule reallocates every payment or keeps what was paid."""

    FROM_START = "from_start"
    FROM_DATE = "from_date"


class Parts(Value, frozen=True):
    """An amount by component, in minor units."""

    principal: int = 0
    interest: int = 0
    fee: int = 0
    penalty: int = 0

    @property
    def total(self) -> int:
        """The sum of all components."""
        return self.principal + self.interest + self.fee + self.penalty

    @property
    def amounts(self) -> Amounts:
        """The four as a tuple."""
        return self.principal, self.interest, self.fee, self.penalty

    def __add__(self, other: "Parts") -> "Parts":
        """Add component by component."""
        return Parts(self.principal + other.principal, self.interest + other.interest, self.fee + other.fee, self.penalty + other.penalty)

    def __sub__(self, other: "Parts") -> "Parts":
        """Subtract component by component."""
        return Parts(self.principal - other.principal, self.interest - other.interest, self.fee - other.fee, self.penalty - other.penalty)


class Place(Value, frozen=True, order=True):
    """An event's place in the order of folding; `source` and `id` are its identity."""

    day: date
    time: datetime
    source: str
    id: str


class Row(Value, frozen=True):
    """An instalment of a published schedule."""

    n: int
    due_on: date
    principal: int
    interest: int = 0
    fee: int = 0
    penalty: int = 0
    down_payment: bool = False


class Disbursed(Value, frozen=True):
    """The loan begins; fields that are None come from the product line."""

    place: Place
    borrower_id: str
    product: str
    currency: str
    disbursed_on: date
    timezone: str
    jurisdictions: tuple[str, ...] = ()
    grace_days: int | None = None
    tolerance: Tolerance | None = None
    allocation: Allocation | None = None
    schedule: tuple[Row, ...] = ()
    segment: str | None = None


class Rescheduled(Value, frozen=True):
    """Another schedule, in force from the day of its place."""

    place: Place
    version: int
    reason: str | None
    schedule: tuple[Row, ...]
    effect: Effect
    effective_on: date | None = None


class InstalmentDue(Value, frozen=True):
    """One more instalment, from a wallet that publishes due dates one by one."""

    place: Place
    row: Row
    currency: str | None = None


class ChargeAdded(Value, frozen=True):
    """A charge; its place may have the day it was recorded on, since the fold finds the day from which it counts."""

    place: Place
    charge_id: str
    kind: Component
    amount: int
    due_on: date
    n: int | None = None


class Waived(Value, frozen=True):
    """A charge, or a component of an instalment, is waived; without an amount, all that is open of it."""

    place: Place
    waiver_id: str
    charge_id: str | None = None
    n: int | None = None
    component: Component | None = None
    amount: int | None = None


class WaiverReversed(Value, frozen=True):
    """The waiver is undone, as if it had never been made."""

    place: Place
    waiver_id: str


class Allotted(Value, frozen=True):
    """The publisher's own allocation to instalment `n`."""

    n: int
    parts: Parts


class Repaid(Value, frozen=True):
    """A payment; it counts on `paid_on`, which is also the day of its place."""

    place: Place
    repayment_id: str
    amount: int
    paid_on: date
    kind: PaymentKind = PaymentKind.REPAYMENT
    allocations: tuple[Allotted, ...] = ()


class RepaymentPending(Value, frozen=True):
    """A payment is under way: contacts are suspended until then or until its result."""

    place: Place
    repayment_id: str
    amount: int
    until: datetime


class RepaymentReversed(Value, frozen=True):
    """The payment is undone, as if it had never been made."""

    place: Place
    repayment_id: str


class ChargedBack(Value, frozen=True):
    """The payment stands, but its amount is owed again from `on`."""

    place: Place
    chargeback_id: str
    repayment_id: str
    amount: int
    on: date


class CreditRefunded(Value, frozen=True):
    """A credit balance is paid out to the payer."""

    place: Place
    refund_id: str
    amount: int
    on: date


class Paused(Value, frozen=True):
    """The overdue clock is paused; `from_on` is inclusive, `until` exclusive."""

    place: Place
    from_on: date
    until: date | None = None


class Resumed(Value, frozen=True):
    """Ends every pause that includes this day."""

    place: Place
    on: date


class ChargedOff(Value, frozen=True):
    """An accounting mark; the debt stays collectable."""

    place: Place
    on: date
    charge_off_id: str | None = None


class ChargeOffReversed(Value, frozen=True):
    """The charge-off is undone, as if it had never been made; without an id, every one recorded before."""

    place: Place
    charge_off_id: str | None


class WrittenOff(Value, frozen=True):
    """Nothing is outstanding any more."""

    place: Place
    on: date
    write_off_id: str | None = None


class Closed(Value, frozen=True):
    """The wallet has closed the loan."""

    place: Place
    on: date


class Retracted(Value, frozen=True):
    """As if that event had never been sent; without a source, it is one of the retraction's own source."""

    place: Place
    source: str | None
    event_id: str


LoanEvent = (
    Disbursed
    | Rescheduled
    | InstalmentDue
    | ChargeAdded
    | Waived
    | WaiverReversed
    | Repaid
    | RepaymentPending
    | RepaymentReversed
    | ChargedBack
    | CreditRefunded
    | Paused
    | Resumed
    | ChargedOff
    | ChargeOffReversed
    | WrittenOff
    | Closed
    | Retracted
)

Placed = (
    Rescheduled
    | InstalmentDue
    | ChargeAdded
    | Waived
    | Repaid
    | ChargedBack
    | CreditRefunded
    | Paused
    | Resumed
    | ChargedOff
    | WrittenOff
    | Closed
)
"""The events that have an effect at their place; the others undo one of these."""


def charge_day(known: ChargesKnown, due_on: date, recorded_on: date) -> date:
    """Return the day from which a charge counts."""
    return FIRST_DAY if known is ChargesKnown.FROM_THE_START else min(due_on, recorded_on)
