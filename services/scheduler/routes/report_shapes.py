"""What reports on past days look like over HTTP, for OpenAPI (docs/reports.md defines each number)."""

from __future__ import annotations

from datetime import date, datetime

from msgspec import Struct, field

from libs.common.describing import Shapes


class RollRate(Struct):
    """Debts that went from one bucket to another between two days."""

    after: date
    until: date
    currency: str
    bucket_before: str
    bucket_after: str
    debts: int
    overdue_before: int
    overdue_after: int
    rate: float


class CureRate(Struct):
    """What came after a step, by policy and days late."""

    policy: str
    policy_version: int
    step: str | None
    days_late: str
    currency: str
    reached: int
    cured: int
    went_on: int
    still_there: int
    rate: float


class PromiseFates(Struct):
    """What became of promises to pay."""

    currency: str
    channel: str | None
    state: str
    promises: int
    amount: int
    paid: int


class StepFunnel(Struct):
    """What became of a step's messages."""

    policy: str
    policy_version: int
    step: str
    purpose: str
    currency: str
    due: int
    requested: int
    sent: int
    delivered: int
    failed: int
    expired: int
    suppressed: int
    cancelled: int
    observed: int
    paid: int
    paid_amount: int


class ExperimentArm(Struct):
    """How the spells of one arm went."""

    policy: str
    policy_version: int
    challenger: str
    arm: str
    currency: str
    cases: int
    messages: int
    observed: int
    cured: int
    cure_rate: float | None
    paid_amount: int
    complaints: int
    opt_outs: int
    stopped_at: datetime | None
    guardrail: str | None


class StepFeedback(Struct):
    """Feedback of borrowers who came to their page from a step's message; without a step they came by a link that a person sent."""

    policy: str | None
    policy_version: int | None
    step: str | None
    answers: int
    good: int
    fair: int
    bad: int


class Report(Struct, kw_only=True):
    """The days and the time zone a report is about."""

    report: str
    from_: date = field(name="from")
    to: date
    timezone: str
    next: None


class RollRates(Report, kw_only=True):
    """How many debts, and how much, went from which bucket to which."""

    every: str
    items: list[RollRate]


class CureRates(Report, kw_only=True):
    """How many were cured after each step."""

    items: list[CureRate]


class PromiseReport(Report, kw_only=True):
    """What became of promises to pay."""

    items: list[PromiseFates]


class Funnel(Report, kw_only=True):
    """What became of each step's messages, and payments within this many days."""

    within_days: int
    items: list[StepFunnel]


class FeedbackReport(Report, kw_only=True):
    """Borrowers' feedback, by step."""

    items: list[StepFeedback]


class ExperimentReport(Report, kw_only=True):
    """Champion and challenger side by side, within this many days of each spell."""

    within_days: int
    items: list[ExperimentArm]


REPORTS: Shapes = {
    "getReportsRollRates": RollRates, "getReportsCureRates": CureRates, "getReportsPromises": PromiseReport, "getReportsFunnel": Funnel,
    "getReportsExperiments": ExperimentReport, "getReportsFeedback": FeedbackReport,
}  # fmt: skip
