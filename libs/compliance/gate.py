"""The gate: may this contact be made now, and if not, when at the earliest."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from libs.common.value import Value
from libs.compliance.circumstances import (
    Circumstances,
    Proposed,
)
from libs.compliance.clauses import LONGEST_WINDOW, NEVER, Clause, Clock, search
from libs.compliance.counters import keys_of
from libs.compliance.reading import Question, ask, asked_of_content, binds, clauses
from libs.compliance.rules import Cap, ChannelLock, Packs, Spacing
from libs.compliance.vocabulary import (
    CapScope,
    ContentKind,
    Nature,
    RuleKind,
)


class CapKey(NamedTuple):
    """One counter a contact is reserved in; the key is a debt, a number, or empty for the borrower as a whole."""

    scope: CapScope
    key: str
    cap: str


class Reason(Value, frozen=True):
    """One rule that forbids the contact, and until when (None: no end is known)."""

    rule: str
    nature: Nature
    cite: str
    until: datetime | None
    kind: RuleKind


def word_of(reasons: Sequence[Reason]) -> str:
    """Return one word for the denial: the stop if there is one, else the first rule with no known end, else the first rule."""
    for reason in reasons:
        if reason.kind is RuleKind.STOP:
            return reason.rule.removeprefix("stop-")
    endless = [reason for reason in reasons if reason.until is None and reason.kind is not RuleKind.ZONE]
    return (endless or reasons)[0].rule if reasons else "denied"


class Allow(Value, frozen=True):
    """The contact may be made from now until the window ends, once the reservations are taken; packs by version."""

    reservations: tuple[CapKey, ...]
    window_ends: datetime
    packs: Mapping[str, str]
    asks: frozenset[ContentKind]
    """What the rules require of its text."""


class Deny(Value, frozen=True):
    """Not now: the earliest moment at which every rule allows it, None when no such moment is known."""

    earliest: datetime | None
    reasons: tuple[Reason, ...]
    packs: Mapping[str, str]


def decide(proposed: Proposed, circumstances: Circumstances, packs: Packs) -> Allow | Deny:
    """Return the meet of every rule that applies; what is unknown counts as forbidden."""
    question = ask(proposed, circumstances, packs)
    read = tuple(clauses(question))
    versions = {located.pack.id: located.pack.version for _, located in question.located if located}
    reasons = _reasons(read, question)
    if reasons:
        return Deny(search(read, question.at), reasons, versions)
    ends = min((clause.holds_until(question.at) for clause in read), default=NEVER)
    return Allow(_keys(question), min(ends, question.at + LONGEST_WINDOW), versions, asked_of_content(question))


def cap_keys(proposed: Proposed, circumstances: Circumstances, packs: Packs) -> tuple[CapKey, ...]:
    """Return the counters this contact would be reserved in, sorted: the order in which to lock them."""
    return _keys(ask(proposed, circumstances, packs))


def content_asked(proposed: Proposed, circumstances: Circumstances, packs: Packs) -> frozenset[ContentKind]:
    """Return what the rules require of the text of this contact."""
    return asked_of_content(ask(proposed, circumstances, packs))


def _keys(question: Question) -> tuple[CapKey, ...]:
    found = {
        CapKey(rule.scope, key, rule.terms.id)
        for _, located in question.located
        if located
        for rule in located.rules
        if isinstance(rule, Cap | Spacing | ChannelLock) and binds(rule.terms, question)
        for key in keys_of(rule.scope, question.proposed)
    }
    return tuple(sorted(found))


def _reasons(read: tuple[Clause, ...], question: Question) -> tuple[Reason, ...]:
    """Return the rules that forbid it now, each once, with its latest end over all zones."""
    spoken = [(clause, until) for clause in read if (until := clause.blocked(question.at)) is not None]
    if not spoken:
        return ()
    ends: dict[tuple[str, Nature, str, RuleKind], datetime] = {}
    for clause, until in spoken:
        ends[clause.voice] = max(until, ends.get(clause.voice, until))
    reasons = [Reason(rule, nature, cite, None if end == NEVER else end, kind) for (rule, nature, cite, kind), end in ends.items()]
    if question.zones is None and any(isinstance(clause, Clock) for clause, _ in spoken):
        reasons.append(_ZONE_UNKNOWN)
    return tuple(reasons)


_ZONE_UNKNOWN = Reason(
    "zone-unknown",
    Nature.PRODUCT_DEFAULT,
    "product default: the time zone is unknown, so every zone of the pack must be open; name the borrower's zone",
    None,
    RuleKind.ZONE,
)
