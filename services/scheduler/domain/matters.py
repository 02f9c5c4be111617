"""What borrowers raise that a person must answer, and what results a contact made by people can have: closed lists, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType

from libs.compliance import StopKind
from services.scheduler.domain.policy import Work

TELEPHONE = ("call", "ai_voice", "voicemail", "sms")
"""Channels a phone number reaches: if it is wrong for a call it is wrong for all of them, until a person knows better."""


class Outcome(StrEnum):
    """What was found about a matter."""

    UPHELD = "upheld"
    PARTLY_UPHELD = "partly_upheld"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"


class MatterKind(StrEnum):
    """What a borrower brings up."""

    DISPUTE = "dispute"
    COMPLAINT = "complaint"
    HARDSHIP = "hardship"
    WRONG_NUMBER = "wrong_number"


@dataclass(frozen=True, slots=True)
class Matter:
    """What a matter does while open: the stop, which contacts that still allows, its scope, and the work it gives."""

    stop: StopKind
    contacts: str
    work: Work
    of_debt: bool = False
    channels: tuple[str, ...] = ()


def _work(kind: MatterKind, *, days: int, queue: str = "review", priority: int = 60) -> Work:
    return Work(queue, kind.value, within=timedelta(days=days), again_after=timedelta(days=2), priority=priority)


MATTERS: Mapping[str, Matter] = MappingProxyType(
    {
        MatterKind.DISPUTE: Matter(StopKind.DISPUTE, "none", _work(MatterKind.DISPUTE, days=5), of_debt=True),
        MatterKind.COMPLAINT: Matter(StopKind.COMPLAINT, "limited", _work(MatterKind.COMPLAINT, days=2, queue="complaints", priority=80)),
        MatterKind.HARDSHIP: Matter(StopKind.HARDSHIP, "limited", _work(MatterKind.HARDSHIP, days=3, queue="hardship", priority=70)),
        MatterKind.WRONG_NUMBER: Matter(StopKind.MANUAL, "none", _work(MatterKind.WRONG_NUMBER, days=2), channels=TELEPHONE),
    }
)


class ResultCode(StrEnum):
    """The result of a contact made by a person."""

    RIGHT_PARTY = "right_party"
    CONVERSATION = "conversation"
    PROMISE = "promise"
    REFUSED_TO_PAY = "refused_to_pay"
    PAID_ALREADY = "paid_already"
    CALL_BACK = "call_back"
    DISPUTE = "dispute"
    COMPLAINT = "complaint"
    HARDSHIP = "hardship"
    REPRESENTED = "represented"
    DECEASED = "deceased"
    THIRD_PARTY = "third_party"
    WRONG_NUMBER = "wrong_number"
    OUT_OF_SERVICE = "out_of_service"
    VOICEMAIL = "voicemail"
    NO_ANSWER = "no_answer"
    BUSY = "busy"
    BOUNCED = "bounced"
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True)
class Result:
    """What follows from a result: how caps count it, and what it opens or stops."""

    counts_as: str
    right_party: bool = False
    opens: MatterKind | None = None
    stops: StopKind | None = None
    promises: bool = False


_TALKED = Result("conversation", right_party=True)

RESULTS: Mapping[ResultCode, Result] = MappingProxyType(
    {
        ResultCode.RIGHT_PARTY: _TALKED,
        ResultCode.CONVERSATION: _TALKED,
        ResultCode.PROMISE: Result("promise", right_party=True, promises=True),
        ResultCode.REFUSED_TO_PAY: _TALKED,
        ResultCode.PAID_ALREADY: _TALKED,
        ResultCode.CALL_BACK: _TALKED,
        ResultCode.DISPUTE: Result("conversation", right_party=True, opens=MatterKind.DISPUTE),
        ResultCode.COMPLAINT: Result("conversation", right_party=True, opens=MatterKind.COMPLAINT),
        ResultCode.HARDSHIP: Result("conversation", right_party=True, opens=MatterKind.HARDSHIP),
        ResultCode.REPRESENTED: Result("conversation", stops=StopKind.REPRESENTED),
        ResultCode.DECEASED: Result("third_party", stops=StopKind.DECEASED),
        ResultCode.THIRD_PARTY: Result("third_party"),
        ResultCode.WRONG_NUMBER: Result("wrong_number", opens=MatterKind.WRONG_NUMBER),
        ResultCode.OUT_OF_SERVICE: Result("out_of_service"),
        ResultCode.VOICEMAIL: Result("voicemail"),
        ResultCode.NO_ANSWER: Result("no_answer"),
        ResultCode.BUSY: Result("busy"),
        ResultCode.BOUNCED: Result("bounced"),
        ResultCode.DELIVERED: Result("delivered"),
    }
)


class NonpaymentReason(StrEnum):
    """Why a borrower does not pay, as people have understood it."""

    FORGOT = "forgot"
    NOT_UNDERSTOOD = "not_understood"
    TECHNICAL_PROBLEM = "technical_problem"
    INCOME_LATE = "income_late"
    JOB_LOST = "job_lost"
    INCOME_REDUCED = "income_reduced"
    ILLNESS = "illness"
    FAMILY_EVENT = "family_event"
    OVER_INDEBTED = "over_indebted"
    DISASTER = "disaster"
    DISPUTES_DEBT = "disputes_debt"
    DISSATISFIED = "dissatisfied"
    UNWILLING = "unwilling"
    FRAUD = "fraud"
    OTHER = "other"
