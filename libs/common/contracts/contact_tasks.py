"""What to say to borrowers: topic `dunning.contact-tasks`, from the scheduler (contract, section 3)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

from msgspec import field

from libs.common.contracts.values import Attributes, Contract, Id, Moment
from libs.common.contracts.wallet_borrowers import ChannelName, ContactRecorded, PurposeName, StopName


class PolicyRef(Contract, frozen=True, kw_only=True):
    """The policy version behind the decision."""

    name: str
    version: int


class DebtRef(Contract, frozen=True, kw_only=True):
    """A debt and the fact that the decision was based on; amounts are read from newer facts when the message is sent."""

    loan_id: Id
    fact_epoch: int
    fact_version: int
    fact_as_of: date | None = None
    """The day of that fact: a debt that becomes late by time alone keeps its version. None: any day."""


class ContactRequested(Contract, frozen=True, kw_only=True):
    """Say this to this borrower; contains no address, name or amount."""

    task_id: Id
    borrower_id: Id
    case_id: Id
    policy: PolicyRef
    step: str
    template: str
    purpose: PurposeName
    channels: tuple[ChannelName, ...]
    not_before: Moment
    expires_at: Moment
    debts: tuple[DebtRef, ...]
    jurisdictions: tuple[str, ...] = ()
    fallback_after: timedelta | None = None
    on_unknown: Literal["hold", "next_channel"] = "hold"
    variables: Attributes = field(default_factory=dict)


class ContactCancelled(Contract, frozen=True, kw_only=True):
    """Do not say this, whether the request has arrived yet or not."""

    task_id: Id
    borrower_id: Id
    case_id: Id
    reason: str


class HoldSet(Contract, frozen=True, kw_only=True):
    """Contacts are suspended or limited."""

    hold_id: Id
    borrower_id: Id
    case_id: Id
    stop: StopName
    contacts: Literal["none", "limited"]
    from_: Moment = field(name="from")
    until: Moment | None = None
    loan_id: Id | None = None
    channel: ChannelName | None = None
    """The channel concerned, if not all of them."""


class HoldEnded(Contract, frozen=True, kw_only=True):
    """A hold is over."""

    hold_id: Id
    borrower_id: Id
    case_id: Id
    at: Moment


class QuietHours(Contract, frozen=True, kw_only=True):
    """No contact between these hours on these days (`mon-fri`, `every`), in the borrower's own zone."""

    days: str
    from_: str = field(name="from")
    to: str


class PreferencesSet(Contract, frozen=True, kw_only=True):
    """What a borrower has chosen; replaces the hours and channels chosen before."""

    preference_id: Id
    borrower_id: Id
    case_id: Id
    at: Moment
    no_contact: tuple[QuietHours, ...] = ()
    never: tuple[ChannelName, ...] = ()


CONTACT_TASKS: dict[str, type[ContactRequested | ContactCancelled | ContactRecorded | HoldSet | HoldEnded | PreferencesSet]] = {
    "contact.requested.v1": ContactRequested,
    "contact.cancelled.v1": ContactCancelled,
    "contact.recorded.v1": ContactRecorded,
    "case.hold_set.v1": HoldSet,
    "case.hold_ended.v1": HoldEnded,
    "contact.preferences_set.v1": PreferencesSet,
}
