"""The life of a delivery: what a verdict or a provider's result makes of it, and what is announced."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import assert_never

from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.common.contracts.contact_tasks import ContactRequested
from services.notifier.domain.receipts import Reduced, Standing
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown
from services.notifier.domain.verdicts import Decision, Defer, Expire, Fail, Send, Suppress, Verdict, Wait

SPREAD = timedelta(seconds=30)
"""Contacts that a rule releases at one moment start within so long of it."""
BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=5)
CALLED_OFF = "cancelled"
"""Why a contact that was taken back surely did not go out."""
LOST = "records_lost"
"""Why a task is unknown that was asked for before its database went back in time: it may have gone out."""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    UNKNOWN = "unknown"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


NEXT: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.PENDING: frozenset(
            {State.IN_FLIGHT, State.UNKNOWN, State.SENT, State.FAILED, State.SUPPRESSED, State.EXPIRED, State.CANCELLED}
        ),
        State.IN_FLIGHT: frozenset(
            {State.PENDING, State.UNKNOWN, State.SENT, State.DELIVERED, State.FAILED, State.CANCELLED}
        ),
        State.UNKNOWN: frozenset({State.SENT, State.DELIVERED, State.FAILED}),
        State.SENT: frozenset({State.DELIVERED, State.FAILED}),
        State.DELIVERED: frozenset(),
        State.FAILED: frozenset({State.DELIVERED}),
        State.SUPPRESSED: frozenset(),
        State.EXPIRED: frozenset(),
        State.CANCELLED: frozenset(),
    }
)  # fmt: skip
"""What may follow: up only, but for an attempt that surely did not go out. What may have gone out is never pending again.

A receipt may say of what is tried again that it went out after all, and of what failed that it arrived: that stands above a failure.
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A contact task in the notifier. `turn` counts its attempts: what belongs to an older one changes nothing."""

    tenant: str
    borrower_id: str
    task_id: str
    request: ContactRequested
    state: State = State.PENDING
    reason: str | None = None
    next_at: datetime | None = None
    waiting: bool = False
    """Whether something that arrives (a profile, a fact) makes it due at once."""
    sequence: int = 0
    turn: int = 0
    tries: int = 0
    channel: str | None = None
    spent: tuple[str, ...] = ()
    """Channels that refused it."""
    cancelled: bool = False
    """Called off while in flight: what did not go out is not tried again."""
    told: str | None = None
    """The deferral last announced, so that it is announced once."""
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Something to announce; `kind` is the last part of its type."""

    kind: str
    sequence: int
    reason: str | None = None
    until: datetime | None = None
    rules: tuple[RuleSpoken, ...] = ()
    channel: str | None = None
    provider: str | None = None
    loans: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A delivery as it is from now on, and what is announced of it."""

    delivery: Delivery
    outcomes: tuple[Outcome, ...] = ()


def judged(delivery: Delivery, verdict: Verdict) -> Change:
    """Return what a verdict makes of a pending delivery."""
    match verdict:
        case Wait(reason):
            return _told(replace(delivery, next_at=delivery.request.expires_at, waiting=True, reason=reason, decisions=()), None, ())
        case Defer():
            return _deferred(delivery, verdict)
        case Suppress(reason, decisions):
            return _end(replace(delivery, decisions=decisions), State.SUPPRESSED, reason)
        case Expire():
            return _end(delivery, State.EXPIRED, delivery.reason)
        case Fail(reason):
            return _end(delivery, State.FAILED, reason)
        case Send():
            return Change(_marked(delivery, verdict))
        case _:
            assert_never(verdict)


def settled(delivery: Delivery, result: Result, provider: str, loans: tuple[str, ...], *, now: datetime) -> Change:
    """Return what a provider's result makes of a delivery in flight, or of one that was already given up as unknown."""
    match result:
        case Accepted(_, receipt):
            return _accepted(delivery, provider, loans, delivered=receipt == "delivered")
        case Refused(code, _, permanent=True):
            return _refused(delivery, code, provider, now)
        case Refused(why, retry_after=floor):
            return _retried(delivery, why, now, floor)
        case NotSent(why):
            return _retried(delivery, why, now)
        case Unknown(why):
            return Change(delivery) if delivery.state is State.UNKNOWN else unknown(delivery, why, provider=provider, loans=loans)
        case _:
            assert_never(result)


def receipted(delivery: Delivery, said: Reduced, provider: str, loans: tuple[str, ...], *, code: str | None) -> Change:
    """Return what all receipts of its last attempt make of a delivery: up only, whatever came first."""
    if said.standing is None or delivery.state in {State.SUPPRESSED, State.EXPIRED, State.CANCELLED}:
        return Change(delivery)
    outcomes: list[Outcome] = []
    here = delivery
    if here.state in {State.PENDING, State.IN_FLIGHT, State.UNKNOWN} and said.standing is not Standing.FAILED:
        here = _stepped(here, State.SENT, None)
        outcomes.append(Outcome("sent", here.sequence, channel=here.channel, provider=provider, loans=loans))
    if here.state in {State.SENT, State.FAILED} and said.standing is Standing.DELIVERED:
        here = _stepped(here, State.DELIVERED, None)
        outcomes.append(Outcome("delivered", here.sequence, channel=here.channel, provider=provider, loans=loans))
    retried = here.state is State.PENDING and here.channel not in here.spent
    if said.standing is Standing.FAILED and (retried or here.state in {State.IN_FLIGHT, State.UNKNOWN, State.SENT}):
        here = _stepped(here, State.FAILED, code or "receipt_failed")
        outcomes.append(Outcome("failed", here.sequence, here.reason, channel=here.channel, provider=provider))
    return Change(here, tuple(outcomes))


def unknown(delivery: Delivery, why: str, *, provider: str | None = None, loans: tuple[str, ...] = ()) -> Change:
    """Return a delivery of which nobody can say whether it went out: it is never sent again."""
    ended = _stepped(delivery, State.UNKNOWN, why)
    return Change(ended, (Outcome("unknown", ended.sequence, why, channel=delivery.channel, provider=provider, loans=loans),))


def called_off(delivery: Delivery) -> Change:
    """Return what is announced of a delivery that was cancelled before it went out: whoever asked for it may have to ask again."""
    return Change(delivery, (Outcome("suppressed", delivery.sequence, CALLED_OFF, channel=delivery.channel),))


def fraction(*parts: object) -> float:
    """Return a number from 0 to 1 that these parts always give: jitter without chance."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _marked(delivery: Delivery, send: Send) -> Delivery:
    _climbs(delivery.state, State.IN_FLIGHT)
    return replace(
        delivery,
        state=State.IN_FLIGHT,
        reason=None,
        channel=send.channel,
        turn=delivery.turn + 1,
        waiting=False,
        decisions=(send.decision,),
    )


def _deferred(delivery: Delivery, defer: Defer) -> Change:
    """Put it off; past its end it waits for its end. Announced once for each reason and moment, a passing one for each reason."""
    spread = timedelta() if defer.passing else SPREAD * fraction(delivery.task_id, "spread")
    next_at = min(defer.until + spread, delivery.request.expires_at)
    rules = tuple(rule for decision in defer.decisions for rule in decision.rules)
    put_off = replace(delivery, next_at=next_at, waiting=not defer.passing, reason=defer.reason, decisions=defer.decisions)
    return _told(put_off, None if defer.passing else defer.until, tuple(dict.fromkeys(rules)))


def _told(delivery: Delivery, until: datetime | None, rules: tuple[RuleSpoken, ...]) -> Change:
    words = f"{delivery.reason} {until.isoformat() if until else ''}".strip()
    if delivery.told == words:
        return Change(delivery)
    told = replace(delivery, told=words, sequence=delivery.sequence + 1)
    return Change(told, (Outcome("deferred", told.sequence, delivery.reason, until, rules),))


def _end(delivery: Delivery, state: State, reason: str | None) -> Change:
    ended = _stepped(delivery, state, reason)
    rules = tuple(dict.fromkeys(rule for decision in delivery.decisions for rule in decision.rules))
    return Change(ended, (Outcome(state.value, ended.sequence, reason, rules=rules, channel=delivery.channel),))


def _accepted(delivery: Delivery, provider: str, loans: tuple[str, ...], *, delivered: bool) -> Change:
    sent = _stepped(delivery, State.SENT, None)
    outcomes = (Outcome("sent", sent.sequence, channel=delivery.channel, provider=provider, loans=loans),)
    if not delivered:
        return Change(sent, outcomes)
    arrived = _stepped(sent, State.DELIVERED, None)
    return Change(arrived, (*outcomes, Outcome("delivered", arrived.sequence, channel=delivery.channel, provider=provider, loans=loans)))


def _refused(delivery: Delivery, code: str, provider: str, now: datetime) -> Change:
    spent = replace(delivery, spent=(*delivery.spent, delivery.channel or ""), tries=0)
    if delivery.state is State.IN_FLIGHT and set(delivery.request.channels) - set(spent.spent):
        return _pending(spent, code, now)
    ended = _stepped(spent, State.FAILED, code)
    return Change(ended, (Outcome("failed", ended.sequence, code, channel=delivery.channel, provider=provider),))


def _retried(delivery: Delivery, why: str, now: datetime, floor: timedelta | None = None) -> Change:
    if delivery.state is not State.IN_FLIGHT:
        return _end(delivery, State.FAILED, why)
    longest = min(BACKOFF * 2 ** min(delivery.tries, 10), LONGEST_BACKOFF)
    again = now + (floor or timedelta()) + longest * fraction(delivery.task_id, delivery.turn)
    return _pending(replace(delivery, tries=delivery.tries + 1), why, min(again, delivery.request.expires_at))


def _pending(delivery: Delivery, why: str, next_at: datetime) -> Change:
    if delivery.cancelled:
        return called_off(_stepped(delivery, State.CANCELLED, why))
    _climbs(delivery.state, State.PENDING)
    return Change(replace(delivery, state=State.PENDING, reason=why, next_at=next_at, waiting=False))


def _stepped(delivery: Delivery, state: State, reason: str | None) -> Delivery:
    _climbs(delivery.state, state)
    return replace(delivery, state=state, reason=reason, next_at=None, waiting=False, sequence=delivery.sequence + 1)


def _climbs(before: State, after: State) -> None:
    if after not in NEXT[before]:
        raise ValueError(f"a delivery that is {before} cannot become {after}")
