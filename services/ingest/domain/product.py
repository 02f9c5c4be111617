"""The product line: the settings that apply to a loan."""

from enum import StrEnum

from services.ingest.domain.value import Value


class Slot(StrEnum):
    """One entry of an allocation order: a due class and a component."""

    PAST_DUE_PENALTY = "past_due_penalty"
    PAST_DUE_FEE = "past_due_fee"
    PAST_DUE_INTEREST = "past_due_interest"
    PAST_DUE_PRINCIPAL = "past_due_principal"
    DUE_PENALTY = "due_penalty"
    DUE_FEE = "due_fee"
    DUE_INTEREST = "due_interest"
    DUE_PRINCIPAL = "due_principal"
    IN_ADVANCE_PENALTY = "in_advance_penalty"
    IN_ADVANCE_FEE = "in_advance_fee"
    IN_ADVANCE_INTEREST = "in_advance_interest"
    IN_ADVANCE_PRINCIPAL = "in_advance_principal"


class Mode(StrEnum):
    """Instalment by instalment, or entry by entry over all instalments."""

    HORIZONTAL = "horizontal"
    VERTICAL = "vertical"


class FutureRule(StrEnum):
    """Which of the instalments not yet due is paid first."""

    NEXT = "next"
    LAST = "last"
    SPREAD = "spread"


class ChargeClass(StrEnum):
    """Which date decides whether a charge is due."""

    CHARGE = "charge_due_date"
    INSTALMENT = "instalment_due_date"


class ChargesKnown(StrEnum):
    """Whether payments made before a charge was recorded can pay for it."""

    FROM_THE_START = "from_the_start"
    FROM_THEIR_DATE = "from_their_date"


class AgeBy(StrEnum):
    """Which day count determines the bucket."""

    PAST_DUE_DAYS = "past_due_days"
    DELINQUENT_DAYS = "delinquent_days"


class Component(StrEnum):
    """What an amount is owed as."""

    PRINCIPAL = "principal"
    INTEREST = "interest"
    FEE = "fee"
    PENALTY = "penalty"


class Tolerance(Value, frozen=True):
    """How much of an instalment may stay unpaid for it to count as met: the greater of the two."""

    amount: int = 0
    millionths: int = 0
    """Millionths of what was due: whole numbers, so that no rounding decides who is late."""


class Bound(Value, frozen=True):
    """A bucket: up to and including this many days, None for no end."""

    name: str
    up_to: int | None = None


class Buckets(Value, frozen=True):
    """Upper bounds in rising order, so that gaps and overlaps cannot be expressed."""

    by: AgeBy = AgeBy.PAST_DUE_DAYS
    none: str = "M0"
    bounds: tuple[Bound, ...] = (
        Bound("M1", 30),
        Bound("M2", 60),
        Bound("M3", 90),
        Bound("M4", 120),
        Bound("M5", 150),
        Bound("M6+", None),
    )

    def name_of(self, days: int) -> str:
        """Return the bucket for this many days."""
        if days <= 0:
            return self.none
        for bound in self.bounds:
            if bound.up_to is None or days <= bound.up_to:
                return bound.name
        return self.bounds[-1].name if self.bounds else self.none

    def last_day_after(self, days: int) -> int | None:
        """Return the last day count of the bucket for this many days; None if it has no end."""
        if days <= 0:
            return 0
        for bound in self.bounds:
            if bound.up_to is None or bound.up_to >= days:
                return bound.up_to
        return None


class Allocation(Value, frozen=True, cache_hash=True):
    """How money is allocated to what is owed."""

    mode: Mode = Mode.HORIZONTAL
    order: tuple[Slot, ...] = tuple(Slot)
    future_instalments: tuple[tuple[str, FutureRule], ...] = (("default", FutureRule.NEXT),)
    """Pairs of a payment kind (or `default`) and its rule."""
    charge_class_by: ChargeClass = ChargeClass.INSTALMENT
    charges_known: ChargesKnown = ChargesKnown.FROM_THEIR_DATE
    chargeback_split: tuple[Component, ...] = (Component.PRINCIPAL,)
    chargeback_skips_down_payment: bool = True


class ProductLine(Value, frozen=True):
    """One version of a product line; the HTTP layer has already refused what makes no sense."""

    grace_days: int = 0
    tolerance: Tolerance = Tolerance()
    due_soon_days: int = 7
    buckets: Buckets = Buckets()
    allocation: Allocation = Allocation()


DEFAULT = ProductLine()
