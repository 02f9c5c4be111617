"""Champion and challenger: who is dealt to which arm, and when nobody is dealt to the challenger any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_WHOLE = 2**64


class Arm(StrEnum):
    """Under which of the two policies a spell is."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class Guardrails:
    """How many percent of the challenger's spells may have a complaint or an opt-out, once there are enough of them to tell."""

    complaint_rate: float | None = None
    opt_out_rate: float | None = None
    at_least: int = 100


@dataclass(frozen=True, slots=True)
class Experiment:
    """So many percent of the borrowers whose spell begins under the champion go under the challenger instead."""

    challenger: tuple[str, int]
    share: int
    salt: str
    stop_when: Guardrails = Guardrails()

    def arm_of(self, borrower_id: str) -> Arm:
        """Return the arm to which this borrower is always dealt; another salt deals anew."""
        digest = hashlib.blake2b(f"{self.salt}\0{borrower_id}".encode(), digest_size=8).digest()
        return Arm.CHALLENGER if int.from_bytes(digest) * 100 < self.share * _WHOLE else Arm.CHAMPION


@dataclass(frozen=True, slots=True)
class Trial:
    """The experiment that a spell is part of, by the champion's version, and its arm."""

    policy: str
    version: int
    arm: Arm

    @staticmethod
    def read(text: str) -> Trial:
        """Return what `str` of a trial says."""
        which, _, arm = text.partition(" ")
        name, _, version = which.rpartition("@")
        return Trial(name, int(version), Arm(arm))

    def __str__(self) -> str:
        return f"{self.policy}@{self.version} {self.arm.value}"


@dataclass(frozen=True, slots=True)
class Counted:
    """How many spells the challenger was given, and in how many somebody complained or opted out."""

    cases: int
    complaints: int
    opt_outs: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A guardrail that was passed; limit and rate in percent."""

    guardrail: str
    limit: float
    cases: int
    number: int

    @property
    def rate(self) -> float:
        """Return how many percent it was."""
        return round(100 * self.number / self.cases, 4)


def passed(rails: Guardrails, counted: Counted) -> Passed | None:
    """Return the first guardrail that was passed, or None; with too few spells none is."""
    if not counted.cases or counted.cases < rails.at_least:
        return None
    return next((one for one in _all(rails, counted) if 100 * one.number > one.limit * one.cases), None)


def _all(rails: Guardrails, counted: Counted) -> Iterator[Passed]:
    if rails.complaint_rate is not None:
        yield Passed("complaint_rate", rails.complaint_rate, counted.cases, counted.complaints)
    if rails.opt_out_rate is not None:
        yield Passed("opt_out_rate", rails.opt_out_rate, counted.cases, counted.opt_outs)
