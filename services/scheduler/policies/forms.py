"""The policy document as people write it, type by type; the JSON Schema for editors is generated from these."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from libs.common.contracts.values import MOST_SEGMENT
from libs.compliance.hours import parse_spans
from services.scheduler.domain.policy import USUAL_PRIORITY
from services.scheduler.domain.promises import PROMISE_TERMS as USUAL

SCHEMA_ID = "urn:dunwell:schema:policy"
MOST_STEPS = 100
BUILT_IN_NAMES = frozenset({"built-in"})
_SECONDS = {"m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]{1,4})([mhd])")

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}$", description="lowercase letters, digits and dashes, starting with a letter")]
Word = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$", description="lowercase letters, digits, dashes and underscores")]
Sent = Literal["push", "inbox", "sms", "email"]
SegmentName = Annotated[
    str,
    Field(min_length=1, max_length=MOST_SEGMENT, description="the attribute `segment` of a loan or its borrower, as the wallet spells it"),
]
Challenger = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9-]{0,62}@[1-9][0-9]{0,5}$", description="a policy and its version: wallet-gentle@3")
]
PlaceName = Annotated[str, Field(pattern=r"^[A-Z]{2}[A-Z0-9-]{0,30}$", description="a jurisdiction: CN, US-NYC, BR-SP")]


def seconds_of(duration: str) -> timedelta:
    """Return the length of `30m`, `4h` or `7d`."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise PydanticCustomError("duration", "a duration is a number and m, h or d: 30m, 4h, 7d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _duration(text: str) -> str:
    seconds_of(text)
    return text


def _not_reserved(name: str) -> str:
    if name in BUILT_IN_NAMES:
        raise PydanticCustomError("reserved", "{why}", {"why": f"{name} is the name of a built-in policy"})
    return name


def _window(text: str) -> str:
    try:
        spans = parse_spans(text)
    except ValueError as error:
        raise PydanticCustomError("window", "{why}", {"why": f"a window is HH:MM-HH:MM within one day: {error}"}) from error
    if not spans:
        raise PydanticCustomError("window", "nothing can go out in a window that is never open")
    if any(span.closes - span.opens < LEAST_WINDOW_MINUTES for span in spans):
        raise PydanticCustomError("window", "a window must be open for at least 15 minutes")
    return text


LEAST_WINDOW_MINUTES = 15
Duration = Annotated[
    str,
    AfterValidator(_duration),
    Field(description="a number and m, h or d: 30m, 4h, 7d", json_schema_extra={"pattern": r"^[0-9]{1,4}[mhd]$"}),
]
Window = Annotated[str, AfterValidator(_window), Field(max_length=100, json_schema_extra={"pattern": r"^\d\d:\d\d-\d\d:\d\d(,.*)?$"})]


class Form(BaseModel):
    """What all parts of a document have in common: no unknown keys, and no type conversion."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class At(Form):
    """On which day, and in which local hours. Negative days count back from the next due date."""

    day: Annotated[int, Field(ge=-365, le=3650, description="delinquent days: excluding grace and pauses")] | None = None
    day_past_due: Annotated[int, Field(ge=0, le=3650, description="plain days since the due date")] | None = None
    between: Annotated[Window | None, Field(description="local hours, `10:00-12:00`; separate several spans with commas")] = None

    @model_validator(mode="after")
    def _one_clock(self) -> Self:
        if (self.day is None) == (self.day_past_due is None):
            raise PydanticCustomError("at", "a step has either day or day_past_due")
        return self


class SendForm(Form):
    """Send a message."""

    template: Word
    channels: Annotated[list[Sent], Field(min_length=1, max_length=4, description="in order of preference")]
    purpose: Literal["reminder", "dunning", "notice"] | None = None
    fallback_after: Duration | None = None
    on_unknown: Literal["hold", "next_channel"] = "hold"

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        if len(set(self.channels)) != len(self.channels):
            raise PydanticCustomError("channels", "a channel is listed twice")
        return self


class TaskForm(Form):
    """Give work to a person; given again some time after it was completed, as long as money is owed."""

    queue: Word
    kind: Word
    sla: Duration = "2d"
    again_after: Duration = "14d"
    priority: Annotated[int, Field(ge=0, le=100, description="higher comes first among a queue's open tasks")] = USUAL_PRIORITY
    script: Annotated[str, Field(min_length=1, max_length=4000, description="what the person should say or do")] | None = None

    @model_validator(mode="after")
    def _not_at_once(self) -> Self:
        if not seconds_of(self.again_after):
            raise PydanticCustomError("task", "again_after cannot be zero: the task would be given endlessly")
        return self


class OfferForm(Form):
    """Offer a plan or a partial waiver within these limits."""

    kind: Literal["instalment_plan", "partial_waiver"]
    max_months: Annotated[int, Field(ge=1, le=120)] | None = None
    waive_interest_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    waive_fees_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    valid_for: Duration = "14d"

    @model_validator(mode="after")
    def _offers_something(self) -> Self:
        if not seconds_of(self.valid_for):
            raise PydanticCustomError("offer", "an offer must be valid for some time")
        if self.kind == "instalment_plan" and self.max_months is None:
            raise PydanticCustomError("offer", "an instalment_plan needs max_months")
        if self.kind == "partial_waiver" and not (self.waive_interest_percent or self.waive_fees_percent):
            raise PydanticCustomError("offer", "a partial_waiver needs waive_interest_percent or waive_fees_percent")
        return self


class HandOverForm(Form):
    """Hand the case over."""

    to: Word


class AfterForm(Form):
    """This many whole days after the message of another step was accepted or delivered."""

    step: Name
    days: Annotated[int, Field(ge=0, le=3650)]


class ApprovalForm(Form):
    """Who is asked to approve: the queue and by when, and whether it may be whoever attached the evidence."""

    queue: Word = "review"
    sla: Duration = "2d"
    by: Literal["another_person", "any_person"] = "another_person"


class StepForm(Form):
    """One step; it sends a message, gives work, flags the case, makes an offer, or hands the case over."""

    id: Name
    at: At
    when: Annotated[str, Field(min_length=1, max_length=1000, description="a condition in CEL")] | None = None
    requires: Annotated[list[Literal["approval", "evidence"]], Field(min_length=1, max_length=2)] | None = None
    approval: ApprovalForm | None = None
    evidence: Annotated[list[Word], Field(min_length=1, max_length=20, description="documents; absent: the sealed dossier")] | None = None
    after: AfterForm | None = None
    send: SendForm | None = None
    task: TaskForm | None = None
    offer: OfferForm | None = None
    flag: Word | None = None
    emit: Literal["bureau_report", "legal_requested"] | None = None
    hand_over: HandOverForm | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Self:
        main = [name for name in ("send", "task", "emit", "hand_over") if getattr(self, name) is not None]
        if len(main) > 1:
            raise PydanticCustomError("step", "{why}", {"why": f"a step does one thing, not {' and '.join(main)}: make it two steps"})
        if not main and self.flag is None and self.offer is None:
            raise PydanticCustomError("step", "a step must do something: send, task, offer, flag, emit or hand_over")
        if self.at.day is not None and self.at.day < 0 and (self.send is None or self.flag or self.offer):
            raise PydanticCustomError("step", "before the due date a step can only send")
        if self.offer is not None and (self.emit or self.hand_over):
            raise PydanticCustomError("step", "an offer comes alone or with a message, work or a flag")
        return self

    @model_validator(mode="after")
    def _waits_for_what_there_is(self) -> Self:
        if self.at.day is not None and self.at.day < 0 and (self.requires or self.after):
            raise PydanticCustomError("step", "a reminder waits for nothing but its day")
        for name, what in (("approval", self.approval), ("evidence", self.evidence)):
            if what is not None and name not in (self.requires or ()):
                raise PydanticCustomError("step", "{why}", {"why": f"{name} has no effect unless requires names it"})
        for name, listed in (("requires", self.requires), ("evidence", self.evidence)):
            if listed is not None and len(set(listed)) != len(listed):
                raise PydanticCustomError("step", "{why}", {"why": f"something is listed twice in {name}"})
        return self

    @model_validator(mode="after")
    def _purpose_fits(self) -> Self:
        if self.send is None or self.send.purpose is None:
            return self
        before = self.at.day is not None and self.at.day < 0
        if before != (self.send.purpose == "reminder"):
            raise PydanticCustomError("purpose", "purpose reminder is for messages before the due date (a negative day) only")
        return self


class AppliesToForm(Form):
    """Which debts it is meant for; absent keys match everything."""

    products: Annotated[list[Annotated[str, Field(min_length=1, max_length=128)]], Field(min_length=1, max_length=100)] | None = None
    segments: Annotated[list[SegmentName], Field(min_length=1, max_length=100)] | None = None
    jurisdictions: Annotated[list[PlaceName], Field(min_length=1, max_length=100)] | None = None


class CureForm(Form):
    """When a spell is over: clear for the whole cool-down."""

    when: Literal["clear"] = "clear"
    cool_down: Duration = "7d"


class PromisesForm(Form):
    """What may be promised, and when a promise counts as kept."""

    max_open: Annotated[int, Field(ge=0, le=10, description="open at once; 0: none can be made")] = USUAL.most_open
    max_days: Annotated[int, Field(ge=0, le=365, description="from today to the promised day")] = USUAL.most_days
    max_broken: Annotated[int, Field(ge=1, le=100, description="after this many broken in a spell none can be made")] = USUAL.most_broken
    grace_days: Annotated[int, Field(ge=0, le=30, description="how many days late the money may be")] = USUAL.grace_days
    tolerance_percent: Annotated[int, Field(ge=0, le=50, description="how much of the amount may be missing")] = USUAL.tolerance_percent


Percent = Annotated[float, Field(ge=0, le=100, description="percent of the challenger's spells")]


class StopForm(Form):
    """When the challenger gets no new spells: a rate above its limit, once there are at least this many spells to judge by."""

    complaint_rate: Percent | None = None
    opt_out_rate: Percent | None = None
    at_least: Annotated[int, Field(ge=1, le=1_000_000)] = 100

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.complaint_rate is None and self.opt_out_rate is None:
            raise PydanticCustomError("stop_when", "stop_when has complaint_rate, opt_out_rate or both")
        return self


class ExperimentForm(Form):
    """A challenger for a share, in percent, of the borrowers whose spell begins."""

    challenger: Challenger
    share: Annotated[int, Field(ge=1, le=50)]
    salt: Annotated[str, Field(min_length=1, max_length=64)]
    stop_when: StopForm | None = None


class PolicyForm(Form):
    """A policy."""

    policy: Annotated[Name, AfterValidator(_not_reserved)]
    applies_to: AppliesToForm | None = None
    consolidate: Annotated[
        Literal["borrower", "loan"], Field(description="what a case holds: all debts of a borrower in one currency, or one loan")
    ] = "borrower"
    entry: Literal["latest", "first"] = "latest"
    cure: CureForm = CureForm()
    promises: PromisesForm = PromisesForm()
    steps: Annotated[list[StepForm], Field(min_length=1, max_length=MOST_STEPS)]
    experiment: ExperimentForm | None = None


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a policy document."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID, **PolicyForm.model_json_schema()}
