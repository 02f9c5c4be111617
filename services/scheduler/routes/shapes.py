"""The scheduler's answers, for its OpenAPI; fields may be added, never removed."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from msgspec import Struct, field

from libs.common.contracts.catalogue import CASES, TASKS
from libs.common.describing import Shapes
from libs.common.feed.shapes import feed_shapes
from libs.common.tenant_settings.shapes import settings_shapes
from services.scheduler.borrower.settings import PageSettings
from services.scheduler.routes.desk_shapes import DESK
from services.scheduler.routes.policy_shapes import POLICIES
from services.scheduler.routes.report_shapes import REPORTS


class PolicyVersion(Struct):
    """A policy by name and version."""

    name: str
    version: int | None


class NextStep(Struct):
    """What comes next, and when."""

    at: datetime
    step: str | None


class CaseInShort(Struct):
    """A borrower's case in one currency."""

    case_id: str
    borrower_id: str
    currency: str
    consolidate: str
    loan_id: str | None
    assignment: str | None
    policy: PolicyVersion | None
    state: str
    stage: str
    spell: int
    opened_at: datetime | None
    clear_since: datetime | None
    next_at: datetime | None
    next_contact: NextStep | None
    reason: str | None
    reason_until: datetime | None
    reason_ends_with: str | None
    in_doubt: Any
    nonpayment_reason: str | None


class CaseDebt(Struct):
    """A debt of a case."""

    loan_id: str
    owed: bool
    overdue: int
    past_due_days_from: date | None
    next_due_on: date | None
    timezone: str
    fact_epoch: int
    fact_version: int
    in_doubt: bool
    resting_until: datetime | None
    product: str | None
    segments: list[str]


class Case(CaseInShort, kw_only=True):
    """A case with its debts."""

    debts: list[CaseDebt]


class TimelineEntry(Struct):
    """Something that happened to a case."""

    at: datetime
    kind: str
    reason: str | None
    detail: dict[str, Any]


class SpeakingRule(Struct):
    """A rule that denies a channel at the planned moment."""

    channel: str
    rule: str
    nature: str
    cite: str
    until: datetime | None


class LawfulMoment(Struct):
    """The first moment in the window at which the gate allows the contact, or why there is none.

    `settings_unknown` says why the tenant's settings for the gate are unknown; the defaults are assumed then.
    """

    at: datetime | None
    channel: str | None
    reason: str | None
    until: datetime | None
    rules: list[SpeakingRule]
    settings_unknown: str | None


class NextContact(Struct):
    """The next contact, or null with the reason why there is none and when that reason ends."""

    at: datetime | None
    step: str | None
    reason: str | None
    until: datetime | None
    ends_with: str | None
    lawful: LawfulMoment | None


class Task(Struct):
    """Work for a person; `about` is the policy step, or what else gave it."""

    task_id: str
    case_id: str
    borrower_id: str
    spell: int
    queue: str
    kind: str
    about: str
    occurrence: int
    state: str
    priority: int
    created_at: datetime
    due_at: datetime
    breached_at: datetime | None
    claimed_by: str | None
    claimed_at: datetime | None
    claimed_until: datetime | None
    done_by: str | None
    done_at: datetime | None
    result: str | None
    note: str | None


class TaskWithContext(Task, kw_only=True):
    """A task with its script, and the context of its case."""

    script: str | None
    context: dict[str, Any] | None


class ClaimedTask(TaskWithContext, kw_only=True):
    """A claimed task, with the gate's answer for this moment if it is a contact."""

    gate: dict[str, Any] | None


class Forgotten(Struct):
    """An overdue borrower with neither a next contact nor a reason that ends."""

    case_id: str
    borrower_id: str
    since: datetime | None
    reason: str | None


class Coverage(Struct):
    """Who would be forgotten; the number must be 0."""

    uncontacted: int
    items: list[Forgotten]
    reasons: dict[str, int]
    next: str | None


class Hold(Struct):
    """A hold."""

    hold_id: str
    case_id: str
    stop: str
    scope: str
    contacts: str
    loan_id: str | None
    channel: str | None
    from_: datetime = field(name="from")
    until: datetime | None
    end: dict[str, Any] | None
    pause: bool
    paused: list[str]
    reason: str | None
    source: str | None
    set_by: str | None
    set_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    end_reason: str | None


class Promise(Struct):
    """A promise to pay, and what became of it."""

    promise_id: str
    case_id: str
    amount: int
    due_on: date
    until: datetime
    made_at: datetime
    made_by: str
    channel: str | None
    note: str | None
    state: str
    paid: int
    decided_at: datetime | None
    loans: list[str]


class ContactRecorded(Struct):
    """A recorded contact."""

    contact_id: str
    case_id: str
    result: str


class NoteKept(Struct):
    """A stored note."""

    note_id: str
    case_id: str


SHAPES: Shapes = {
    "getCases": list[CaseInShort], "getCase": Case, "getCaseTimeline": list[TimelineEntry], "getCaseNextContact": NextContact,
    "getTasks": list[Task], "getTask": TaskWithContext, "claimTask": ClaimedTask, "releaseTask": Task, "completeTask": Task,
    "getCoverage": Coverage, "getCaseHolds": list[Hold], "postCaseHolds": Hold, "deleteCaseHold": Hold,
    "getCasePromises": list[Promise], "postCasePromises": Promise, "cancelCasePromise": Promise,
    "postCaseContacts": ContactRecorded, "postCaseNotes": NoteKept,
    **POLICIES, **DESK, **REPORTS, **settings_shapes(PageSettings), **feed_shapes(TASKS, CASES),
}  # fmt: skip
