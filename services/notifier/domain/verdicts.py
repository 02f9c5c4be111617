"""The possible answers to whether a delivery may go out now: a closed union."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from libs.common.contracts.borrower_profiles import SealedAddress
from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.common.contracts.overdue_facts import OverdueFact
from libs.common.value import Value, field
from libs.compliance import ContentKind


class Decision(Value, frozen=True):
    """The gate's answer in stored form: which rules applied, from which packs, on which facts (epoch and version by loan)."""

    decision: str
    channel: str
    at: datetime
    rules: tuple[RuleSpoken, ...] = ()
    kinds: tuple[str, ...] = ()
    earliest: datetime | None = None
    window_ends: datetime | None = None
    packs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


class Wait(Value, frozen=True):
    """Something must arrive first; no time is known."""

    reason: str


class Defer(Value, frozen=True):
    """Ask again at that time. `rules` are those that applied; a `passing` deferral has a technical cause, none in the contact."""

    until: datetime
    reason: str
    decisions: tuple[Decision, ...] = ()
    passing: bool = False


class Suppress(Value, frozen=True):
    """It must not go out."""

    reason: str
    decisions: tuple[Decision, ...] = ()


class Expire(Value, frozen=True):
    """Its time is over."""


class Fail(Value, frozen=True):
    """It cannot go out."""

    reason: str


class Send(Value, frozen=True):
    """It may go out now, on this channel, to this address, about these debts."""

    channel: str
    address: SealedAddress
    debts: tuple[OverdueFact, ...]
    decision: Decision
    asks: frozenset[ContentKind] = frozenset()
    """What the rules require of its text."""


Verdict = Wait | Defer | Suppress | Expire | Fail | Send
