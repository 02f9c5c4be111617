"""What happens to a case: topic `dunning.case-events`, from the scheduler (contract, section 3)."""

from __future__ import annotations

from msgspec import field

from libs.common.contracts.values import Attributes, Contract, Id, Moment


class CaseEvent(Contract, frozen=True, kw_only=True):
    """One entry in the history of a case; the message type says which."""

    case_id: Id
    borrower_id: Id
    spell: int
    at: Moment
    loan_id: Id | None = None
    """The loan of the case; absent if the case is the borrower's."""
    reason: str | None = None
    detail: Attributes = field(default_factory=dict)


_KINDS = (
    "opened", "stage_changed", "flagged", "task_created", "offer_made", "offer_accepted", "offer_declined", "promise_made", "promise_kept",
    "promise_partly_kept", "promise_broken", "promise_invalidated", "promise_cancelled", "dispute_opened", "dispute_resolved",
    "complaint_opened", "complaint_resolved", "hardship_opened", "hardship_resolved", "wrong_number_opened", "wrong_number_resolved",
    "task_overdue", "task_withdrawn", "held", "released", "bureau_report", "legal_requested", "handed_over", "taken_back", "uncontacted",
    "cured", "closed", "preferences_set", "feedback_given",
)  # fmt: skip

CASE_EVENTS: dict[str, type[CaseEvent]] = {f"case.{kind}.v1": CaseEvent for kind in _KINDS}
