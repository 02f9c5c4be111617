"""What became of it: topic `dunning.contact-outcomes`, from the notifier (contract, section 3)."""

from __future__ import annotations

from libs.common.contracts.values import Contract, Id, Moment
from libs.common.contracts.wallet_borrowers import ChannelName


class RuleSpoken(Contract, frozen=True, kw_only=True):
    """A rule that spoke against the contact, and until when it does."""

    rule: str
    nature: str
    cite: str
    until: Moment | None = None


class ContactOutcome(Contract, frozen=True, kw_only=True):
    """One step in the life of a contact; the type of the message says which."""

    task_id: Id
    borrower_id: Id
    case_id: Id
    step: str
    at: Moment
    sequence: int
    """Rises with every outcome of a task: a repeat or a late one has no greater number."""
    channel: ChannelName | None = None
    provider: str | None = None
    reason: str | None = None
    until: Moment | None = None
    """For a deferral: the moment at which it is tried again; for `contact.unknown`: when it is closed unless somebody says before."""
    rules: tuple[RuleSpoken, ...] = ()
    loans: tuple[str, ...] = ()
    """The debts that the message named."""
    final: bool = False
    """For `contact.unknown`: nobody has said what became of it, and nobody will be asked any more."""


CONTACT_OUTCOMES: dict[str, type[ContactOutcome]] = {
    "contact.deferred.v1": ContactOutcome,
    "contact.sent.v1": ContactOutcome,
    "contact.delivered.v1": ContactOutcome,
    "contact.failed.v1": ContactOutcome,
    "contact.unknown.v1": ContactOutcome,
    "contact.suppressed.v1": ContactOutcome,
    "contact.expired.v1": ContactOutcome,
    "contact.replied.v1": ContactOutcome,
    "contact.opted_out.v1": ContactOutcome,
    "contact.complained.v1": ContactOutcome,
}
