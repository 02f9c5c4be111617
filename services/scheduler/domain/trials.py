"""Champion and challenger: who is assigned to which arm, and when nobody goes to the challenger any more."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

_WHOLE = 2**64


class Arm(StrEnum):
    """Which of the two policies a spell is under."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"


@dataclass(frozen=True, slots=True)
class Guardrails:
    """What percentage of the challenger's spells may have a complaint or an opt-out, once there are enough of them to judge."""

    complaint_rate: float | None = None
    opt_out_rate: float | None = None
    at_least: int = 100


@dataclass(frozen=True, slots=True)
class Experiment:
    """This percentage of borrowers whose spell begins under the champion go to the challenger instead."""

    challenger: tuple[str, int]
    share: int
    salt: str
    stop_when: Guardrails = Guardrails()

    def arm_of(self, borrower_id: str) -> Arm:
        """Return this borrower's arm, which never changes; another salt assigns anew."""
        digest = hashlib.blake2b(f"{self.salt}\0{borrower_id}".encode(), digest_size=8).digest()
        return Arm.CHALLENGER if int.from_bytes(digest) * 100 < self.share * _WHOLE else Arm.CHAMPION


@dataclass(frozen=True, slots=True)
class Trial:
    """The experiment a spell is part of, by the champion's version, and its arm."""

    policy: str
    version: int
    arm: Arm

    @staticmethod
    def read(text: str) -> Trial:
        """Parse the `str` of a trial."""
        which, _, arm = text.partition(" ")
        name, _, version = which.rpartition("@")
        return Trial(name, int(version), Arm(arm))

    def __str__(self) -> str:
        return f"{self.policy}@{self.version} {self.arm.value}"


@dataclass(frozen=True, slots=True)
class Counted:
    """How many spells the challenger had, and in how many somebody complained or opted out."""

    cases: int
    complaints: int
    opt_outs: int


@dataclass(frozen=True, slots=True)
class Passed:
    """A guardrail that was exceeded; limit and rate in percent."""

    guardrail: str
    limit: float
    cases: int
    number: int

    @property
    def rate(self) -> float:
        """Return the rate in percent."""
        return round(100 * self.number / self.cases, 4)


def passed(rails: Guardrails, counted: Counted) -> Passed | None:
    """Return the first exceeded guardrail, or None; with too few spells there is none."""
    if not counted.cases or counted.cases < rails.at_least:
        return None
    return next((one for one in _all(rails, counted) if 100 * one.number > one.limit * one.cases), None)


def _all(rails: Guardrails, counted: Counted) -> Iterator[Passed]:
    if rails.complaint_rate is not None:
        yield Passed("complaint_rate", rails.complaint_rate, counted.cases, counted.complaints)
    if rails.opt_out_rate is not None:
        yield Passed("opt_out_rate", rails.opt_out_rate, counted.cases, counted.opt_outs)
