"""What people settle in cases, bulk holds and links look like over HTTP, for OpenAPI; fields may be added, never removed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from libs.common.describing import Shapes


class Matter(Struct):
    """Something the borrower raised, and its outcome."""

    matter_id: str
    case_id: str
    kind: str
    loan_id: str | None
    line: str | None
    channel: str | None
    note: str | None
    state: str
    opened_at: datetime
    opened_by: str
    outcome: str | None
    answer: str | None
    resolved_at: datetime | None
    resolved_by: str | None


class HoldsCounted(Struct):
    """How many cases a filter matches; nothing is held yet."""

    count: int
    batch_id: None


class HoldBatch(Struct):
    """A bulk hold and its progress."""

    batch_id: str
    number: int
    done: int
    by: str
    at: datetime
    ended_at: datetime | None


class StepBefore(Struct):
    """The step this one comes after."""

    step: str
    days: int
    at: datetime | None


class StepDecision(Struct):
    """Who decided on a step."""

    approved: bool
    by: str
    at: datetime


class StepState(Struct):
    """A step of the policy: what became of it, or what it waits for."""

    step: str
    ready_at: datetime | None
    state: str
    after: StepBefore | None
    wants: str | None
    missing: list[str]
    task_id: str | None
    decision: StepDecision | None


class CaseSteps(Struct):
    """The steps of a case, and who it is handed over to."""

    items: list[StepState]
    handed_to: str | None
    handed_at: datetime | None
    next: None


class OfferTerms(Struct):
    """What is offered, and for how long."""

    kind: str
    valid_for: str
    max_months: int | None = None
    waive_interest_percent: int | None = None
    waive_fees_percent: int | None = None


class Offer(Struct):
    """An offer and what became of it; `taken` is what the borrower chose from it."""

    offer_id: str
    spell: int
    step: str | None
    state: str
    terms: OfferTerms
    made_by: str
    made_at: datetime
    expires_at: datetime
    decided_by: str | None
    decided_at: datetime | None
    approved_by: str | None
    taken: dict[str, Any] | None
    reason: str | None


class Dossier(Struct):
    """Everything that explains a case: the files and the manifest of their hashes as strings, byte for byte what was hashed."""

    sha256: str
    complete: bool
    manifest: str
    files: dict[str, str]


class LinkMade(Struct):
    """A link to the borrower's page; its token is shown only once."""

    link_id: str
    token: str
    url: str
    expires_at: datetime


class Link(Struct):
    """A link in its current state."""

    link_id: str
    made_at: datetime
    made_by: str
    expires_at: datetime
    revoked_at: datetime | None
    revoked_by: str | None
    tries: int
    state: str
    task_id: str | None


MATTERS = ("Dispute", "Complaint", "Hardship", "WrongNumber")
DESK: Shapes = {
    **{f"postCase{one}s": Matter for one in MATTERS}, **{f"getCase{one}s": list[Matter] for one in MATTERS},
    **{f"resolveCase{one}": Matter for one in MATTERS},
    "postHolds": HoldsCounted, "postHolds:202": HoldBatch, "getHold": HoldBatch,
    "getCaseSteps": CaseSteps, "approveCaseStep": CaseSteps, "rejectCaseStep": CaseSteps, "postCaseEvidence": CaseSteps,
    "takeBackCase": CaseSteps, "getCaseEvidence": Dossier, "sealCaseEvidence": Dossier,
    "getCaseOffers": list[Offer], "postCaseOffers": Offer, "postCasePlans": Offer, "getCasePlans": list[Offer],
    "approveCaseOffer": Offer, "rejectCaseOffer": Offer, "acceptCaseOffer": Offer, "declineCaseOffer": Offer,
    "postBorrowerLinks": LinkMade, "getBorrowerLinks": list[Link],
}  # fmt: skip
