"""What became of a contact: topic `dunning.contact-outcomes`, from the notifier (contract, section 3)."""

from __future__ import annotations

from libs.common.contracts.values import Contract, Id, Moment
from libs.common.contracts.wallet_borrowers import ChannelName


class RuleSpoken(Contract, frozen=True, kw_only=True):
    """A rule that forbade the contact, and until when."""

    rule: str
    nature: str
    cite: str
    until: Moment | None = None


class ContactOutcome(Contract, frozen=True, kw_only=True):
    """One step in the life of a contact; the message type says which."""

    task_id: Id
    borrower_id: Id
    case_id: Id
    step: str
    at: Moment
    sequence: int
    """Rises with every outcome of a task, so that a repeated or late outcome can be told by its number."""
    channel: ChannelName | None = None
    provider: str | None = None
    reason: str | None = None
    until: Moment | None = None
    """For a deferral: when it is tried again; for `contact.unknown`: when it is closed unless the result is known before."""
    rules: tuple[RuleSpoken, ...] = ()
    loans: tuple[str, ...] = ()
    """The debts named in the message."""
    final: bool = False
    """For `contact.unknown`: the result was never learned, and nobody will be asked any more."""


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
