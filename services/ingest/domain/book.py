"""The folded state of a loan: plain values, with everything needed to continue folding."""

from datetime import date, datetime

from services.ingest.domain.amounts import NOTHING, Amounts
from services.ingest.domain.events import Component, Place
from services.ingest.domain.product import DEFAULT, Allocation, Buckets, ProductLine, Tolerance
from services.ingest.domain.value import Value


class Instalment(Value, frozen=True):
    """One row: what is owed on a day, and what has become of it.

    `met_on` is the day on which no more than the tolerance was left. `extra` marks the row after the schedule that takes what falls due
    later.
    """

    n: int
    due_on: date
    down_payment: bool
    extra: bool
    due: Amounts
    paid: Amounts = NOTHING
    waived: Amounts = NOTHING
    left: int = 0
    in_advance: int = 0
    late: int = 0
    met_on: date | None = None

    @property
    def open(self) -> Amounts:
        """What is still owed, component by component."""
        due, paid, waived = self.due, self.paid, self.waived
        return due[0] - paid[0] - waived[0], due[1] - paid[1] - waived[1], due[2] - paid[2] - waived[2], due[3] - paid[3] - waived[3]


class Charge(Value, frozen=True):
    """A charge and the instalment `at` that it belongs to; `n` is the one its publisher asked for."""

    charge_id: str
    kind: Component
    amount: int
    due_on: date
    n: int | None
    at: int
    waived: int = 0


class Debt(Value, frozen=True):
    """Money owed again: a chargeback, or a refund larger than the credit."""

    id: str
    on: date
    amounts: Amounts
    chargeback: bool
    at: int


class Lot(Value, frozen=True):
    """Credit left over from one payment."""

    id: str
    kind: str
    on: date
    amount: int


class Pause(Value, frozen=True):
    """`from_on` is inclusive, `until` exclusive; None for no end."""

    from_on: date
    until: date | None


class Pending(Value, frozen=True):
    """A payment under way."""

    repayment_id: str
    until: datetime


class Ignored(Value, frozen=True):
    """An event that the fold could not use."""

    event: str
    why: str


class Terms(Value, frozen=True):
    """The product line as it applies to this loan; `allocation` only if the loan has its own."""

    grace_days: int = 0
    tolerance: Tolerance = DEFAULT.tolerance
    due_soon_days: int = DEFAULT.due_soon_days
    buckets: Buckets = DEFAULT.buckets
    allocation: Allocation | None = None


DEFAULT_TERMS = Terms()


class Stamp(Value, frozen=True, order=True):
    """An event's place without its day."""

    time: datetime
    source: str
    id: str


class Book(Value, frozen=True):
    """A loan after all its events that count by `as_of`.

    `awaited` names what ignored events point at, `waived_after` the last waiver whose amount depends on the events recorded before it,
    `next_event_on` the first later day on which an event begins to count, `repayment_until` the last day of a payment dated later.
    """

    known: bool
    as_of: date
    last: Place | None = None
    borrower_id: str = ""
    product: str = ""
    currency: str = ""
    timezone: str = "UTC"
    jurisdictions: tuple[str, ...] = ()
    disbursed_on: date | None = None
    own_terms: Terms | None = None
    """Its terms unless they are the defaults, which most loans have: so most books are stored without them."""
    version: int = 0
    rows: tuple[Instalment, ...] = ()
    charges: tuple[Charge, ...] = ()
    debts: tuple[Debt, ...] = ()
    credit: tuple[Lot, ...] = ()
    pauses: tuple[Pause, ...] = ()
    resumes: tuple[date, ...] = ()
    original: tuple[tuple[date, int], ...] = ()
    """Due dates and running totals of the first schedule, once another one is in force."""
    charged_off_on: date | None = None
    written_off_on: date | None = None
    closed_on: date | None = None
    pending: tuple[Pending, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    awaited: tuple[str, ...] = ()
    waived_after: Stamp | None = None
    next_event_on: date | None = None
    repayment_until: date | None = None
    turnover: int = 0
    segment: str | None = None

    @property
    def terms(self) -> Terms:
        """The product line as it applies to this loan."""
        return DEFAULT_TERMS if self.own_terms is None else self.own_terms


def terms_of(product: ProductLine, *, grace_days: int | None, tolerance: Tolerance | None, allocation: Allocation | None) -> Terms:
    """Return the loan's terms: its own where given, else the product's."""
    return Terms(
        grace_days=product.grace_days if grace_days is None else grace_days,
        tolerance=tolerance or product.tolerance,
        due_soon_days=product.due_soon_days,
        buckets=product.buckets,
        allocation=allocation,
    )
