"""What may come of asking whether a delivery may go out now: a closed union."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from libs.common.contracts.borrower_profiles import SealedAddress
from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.common.contracts.overdue_facts import OverdueFact
from libs.compliance import ContentKind


@dataclass(frozen=True, slots=True)
class Decision:
    """The gate's answer as it is kept: which rules spoke, of which packs, on which facts (epoch and version by loan)."""

    decision: str
    channel: str
    at: datetime
    rules: tuple[RuleSpoken, ...] = ()
    kinds: tuple[str, ...] = ()
    earliest: datetime | None = None
    window_ends: datetime | None = None
    packs: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Something that ends it must arrive first; no moment is known."""

    reason: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Asked again at that moment. `rules` are those that spoke; a `passing` one is a fault of the way, not of the contact."""

    until: datetime
    reason: str
    decisions: tuple[Decision, ...] = ()
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Suppress:
    """It shall not go out."""

    reason: str
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Expire:
    """Its time is over."""


@dataclass(frozen=True, slots=True)
class Fail:
    """It cannot go out."""

    reason: str


@dataclass(frozen=True, slots=True)
class Send:
    """It may go out now, on this channel to this address, about these debts."""

    channel: str
    address: SealedAddress
    debts: tuple[OverdueFact, ...]
    decision: Decision
    asks: frozenset[ContentKind] = frozenset()
    """What the rules ask of its text."""


Verdict = Wait | Defer | Suppress | Expire | Fail | Send
