"""What is owed and since when: topic `dunning.overdue-facts`, from ingest (contract, section 3)."""

from __future__ import annotations

from datetime import date
from typing import Literal

from msgspec import field

from libs.common.contracts.values import Contract, Id, Moment

DebtStatus = Literal["active", "overpaid", "closed", "written_off"]
FactReason = Literal["event", "time", "doubt", "epoch", "rebuild"]


class Amounts(Contract, frozen=True, kw_only=True):
    """Minor units by component."""

    principal: int = 0
    interest: int = 0
    fee: int = 0
    penalty: int = 0
    total: int = 0


class Anchor(Contract, frozen=True, kw_only=True):
    """The oldest unmet instalment: days past due are counted from it."""

    n: int
    due_on: date


class Pause(Contract, frozen=True, kw_only=True):
    """Days on which the overdue clock is paused: `from` is inclusive, `until` exclusive."""

    from_: date = field(name="from")
    until: date | None = None


class NextDue(Contract, frozen=True, kw_only=True):
    """The next instalment that is neither met nor overdue yet."""

    n: int
    due_on: date
    total: int


class Doubt(Contract, frozen=True, kw_only=True):
    """Events about this loan that a person must decide on; contacts are suspended until then."""

    since: Moment
    parked: tuple[str, ...]


class OverdueFact(Contract, frozen=True, kw_only=True):
    """The whole state of a debt; the one with the greatest (epoch, version, as_of) is the newest."""

    loan_id: Id
    borrower_id: Id
    product: str
    currency: str
    timezone: str
    jurisdictions: tuple[str, ...]
    status: DebtStatus
    epoch: int
    version: int
    as_of: date
    overdue: Amounts
    outstanding: Amounts
    bucket: str
    grace_days: int = 0
    anchor: Anchor | None = None
    past_due_days_from: date | None = None
    delinquent_from: date | None = None
    pauses: tuple[Pause, ...] = ()
    dpd_original_from: date | None = None
    next_due: NextDue | None = None
    next_change_on: date | None = None
    doubt: Doubt | None = None
    resting_until: Moment | None = None
    received: int | None = None
    """All that was ever paid for this debt and neither reversed nor charged back: promises to pay are measured against it."""
    segment: str | None = None
    """The segment given when the loan was disbursed; the borrower's own is in their profile."""
    reason: FactReason = "event"
    caused_by: str | None = None

    @property
    def order(self) -> tuple[int, int, date]:
        """Return the key by which facts of one debt are ordered, the newest last."""
        return self.epoch, self.version, self.as_of


class DebtWatermark(Contract, frozen=True, kw_only=True):
    """Everything on the input topics at `until` is reflected in what precedes this message in its partition."""

    until: Moment
    stale_feeds: tuple[str, ...] = ()
    """Tenants with a source whose heartbeat is overdue: nothing is sent for them meanwhile."""


OVERDUE_FACTS: dict[str, type[OverdueFact | DebtWatermark]] = {
    "debt.due_soon.v1": OverdueFact,
    "debt.overdue.v1": OverdueFact,
    "debt.changed.v1": OverdueFact,
    "debt.cured.v1": OverdueFact,
    "debt.closed.v1": OverdueFact,
    "debt.watermark.v1": DebtWatermark,
}
