"""The life of a delivery: what a verdict or a provider's result makes of it, and what is announced."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import assert_never

from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.common.contracts.contact_tasks import ContactRequested
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown
from services.notifier.domain.states import MAY_BE_OUT, Standing, State, better, climbs
from services.notifier.domain.verdicts import Decision, Defer, Expire, Fail, Send, Suppress, Verdict, Wait

SPREAD = timedelta(seconds=30)
"""Contacts that a rule releases at one moment start within so long of it."""
BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=5)
CALLED_OFF = "cancelled"
"""Why a contact that was taken back surely did not go out."""
LOST = "records_lost"
"""Why a task is unknown that was asked for before its database went back in time: it may have gone out."""
NO_RECEIPT = "no_receipt"
"""Why a contact that was sent goes on to its next channel."""
RECEIPTED = frozenset({"sms", "email"})
"""Channels on which a receipt says that a message has arrived; on the others accepted is all there is to know."""
UNPROVEN = "unproven"
"""Of a delivery: what has arrived in the time that its database lost is being read again."""
TOUCHED = "touched"
"""Of a delivery: something about its borrower has arrived since, and may have had it sent in that time."""
CLOCKS_APART = timedelta(seconds=5)
"""The clocks of the databases, and of one before and after a failover, differ by less."""
PROOF_AGAIN = timedelta(seconds=1)
NUMBERS_OF_AN_EPOCH = 100_000
"""Outcomes after a restore are numbered above all that the lost time can have announced."""


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
    """Channels that are not tried again: they refused it, or it may have gone out there."""
    cancelled: bool = False
    """Called off while in flight: what did not go out is not tried again."""
    told: str | None = None
    """The deferral last announced, so that it is announced once."""
    decisions: tuple[Decision, ...] = ()
    resolve_by: datetime | None = None
    """When what is still unknown is closed as such."""
    earlier: Standing | None = None
    """The best that became of it on channels it has left; it never ends below that."""
    lost_time: str | None = None
    """Whether it is still to be shown that a time which its database has lost did not attempt it."""


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
    final: bool = False


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


def settled(
    delivery: Delivery, result: Result, provider: str, loans: tuple[str, ...], *, now: datetime, resolve_by: datetime
) -> Change:  # fmt: skip
    """Return what a provider's result makes of a delivery in flight, or of one that was already given up as unknown."""
    match result:
        case Accepted(_, receipt):
            return _accepted(delivery, provider, loans, delivered=receipt == "delivered", now=now)
        case Refused(code, _, permanent=True):
            return _refused(delivery, code, provider, now)
        case Refused(why) | NotSent(why):
            return _retried(delivery, why, now)
        case Unknown(why):
            in_flight = delivery.state is State.IN_FLIGHT
            return unknown(delivery, why, now=now, resolve_by=resolve_by, provider=provider, loans=loans) if in_flight else Change(delivery)
        case _:
            assert_never(result)


def unknown(
    delivery: Delivery, why: str, *, now: datetime, resolve_by: datetime, provider: str | None = None, loans: tuple[str, ...] = ()
) -> Change:  # fmt: skip
    """Return a delivery whose attempt may have gone out: never sent there again, and on another channel only where its request says so."""
    held = _held(delivery, why, resolve_by=resolve_by, provider=provider, loans=loans)
    goes_on = delivery.state is State.IN_FLIGHT and delivery.request.on_unknown == "next_channel" and held.delivery.state is State.UNKNOWN
    if not goes_on or delivery.cancelled or not _channels_left(delivery):
        return held
    left = _left(replace(delivery, sequence=held.delivery.sequence, resolve_by=resolve_by), State.UNKNOWN)
    return Change(_to_pending(left, why, now), held.outcomes)


def unresolved(delivery: Delivery) -> Change:
    """Return an unknown delivery whose deadline has come: nobody has said what became of it."""
    ended = _stepped(delivery, State.UNRESOLVED, delivery.reason)
    return Change(ended, (Outcome("unknown", ended.sequence, delivery.reason, channel=delivery.channel, final=True),))


def fallen_back(delivery: Delivery, *, now: datetime) -> Change:
    """Return a sent delivery whose receipt has not come in its time: it goes on to the next channel, once."""
    return Change(_to_pending(_left(delivery, State.SENT), NO_RECEIPT, now))


def heard(delivery: Delivery, channel: str, news: tuple[State, ...], *, provider: str | None, loans: tuple[str, ...]) -> Change:
    """Return what late news of an attempt makes of a delivery, wherever that is by now: `sent` or `delivered` on that channel."""
    if delivery.state not in {State.PENDING, State.IN_FLIGHT, *MAY_BE_OUT} or not news:
        return Change(delivery)
    outcomes = tuple(
        Outcome(state.value, delivery.sequence + place, channel=channel, provider=provider, loans=loans)
        for place, state in enumerate(news, start=1)
    )
    told = replace(delivery, sequence=delivery.sequence + len(outcomes))
    before, best = _standing(told), better(_standing(told), Standing(news[-1], channel))
    if told.state is State.IN_FLIGHT:
        spent = (*told.spent, channel) if channel == told.channel else told.spent
        return Change(replace(told, earlier=best, spent=spent), outcomes)
    if best == before:
        return Change(told, outcomes)
    return Change(_at(told, best), outcomes)


def restored(delivery: Delivery, *, epoch: int, since: datetime, resolve_by: datetime, reads_again: bool) -> Change:
    """Return what becomes of an open delivery of a database that went back in time and began this epoch then.

    What was due only after that cannot have been attempted before, unless it waited and something arrived that made it due sooner. Where
    the bus is read again from before the lost time, that is seen: until then it is unproven. Everything else may have gone out in the
    lost time, on any of its channels.
    """
    anew = _numbered_anew(delivery, epoch)
    if anew.state is State.SENT:
        return Change(replace(anew, next_at=None))
    if anew.state is State.PENDING and anew.next_at is not None and anew.next_at >= since + CLOCKS_APART and anew.lost_time != TOUCHED:
        if not anew.waiting:
            return Change(anew)
        if reads_again:
            return Change(replace(anew, waiting=False, next_at=since + CLOCKS_APART, lost_time=UNPROVEN))
    return _held(anew, LOST, resolve_by=resolve_by)


def unproven(delivery: Delivery, *, now: datetime, resolve_by: datetime) -> Change:
    """Return a pending delivery that the lost time may have attempted: it waits for the proof, to its end."""
    if delivery.lost_time == TOUCHED or now >= delivery.request.expires_at:
        return _held(replace(delivery, lost_time=None), LOST, resolve_by=resolve_by)
    return Change(replace(delivery, next_at=now + PROOF_AGAIN))


def asked_again(delivery: Delivery, *, asked_at: datetime, epoch: int, since: datetime, resolve_by: datetime) -> Change:
    """Return a request that has come in an epoch after the first: unknown where the lost time may have attempted it."""
    if max(asked_at, delivery.request.not_before) >= since + CLOCKS_APART:
        return Change(delivery)
    return _held(_numbered_anew(delivery, epoch), LOST, resolve_by=resolve_by)


def called_off(delivery: Delivery) -> Change:
    """Return what is announced of a delivery that was cancelled before it went out: whoever asked for it may have to ask again."""
    return Change(delivery, (Outcome("suppressed", delivery.sequence, CALLED_OFF, channel=delivery.channel),))


def fraction(*parts: object) -> float:
    """Return a number from 0 to 1 that these parts always give: jitter without chance."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


def _marked(delivery: Delivery, send: Send) -> Delivery:
    climbs(delivery.state, State.IN_FLIGHT)
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
    if delivery.earlier is not None:
        return Change(_at(delivery, delivery.earlier))
    ended = _stepped(delivery, state, reason)
    rules = tuple(dict.fromkeys(rule for decision in delivery.decisions for rule in decision.rules))
    return Change(ended, (Outcome(state.value, ended.sequence, reason, rules=rules, channel=delivery.channel),))


def _accepted(delivery: Delivery, provider: str, loans: tuple[str, ...], *, delivered: bool, now: datetime) -> Change:
    channel, kinds = delivery.channel, (State.SENT, State.DELIVERED) if delivered else (State.SENT,)
    outcomes = tuple(
        Outcome(kind.value, delivery.sequence + place, channel=channel, provider=provider, loans=loans)
        for place, kind in enumerate(kinds, start=1)
    )
    best = better(delivery.earlier, Standing(kinds[-1], channel))
    reached = _at(replace(delivery, sequence=delivery.sequence + len(kinds)), best)
    return Change(replace(reached, next_at=_falls_back_at(reached, now)), outcomes)


def _falls_back_at(delivery: Delivery, now: datetime) -> datetime | None:
    """Return when it goes on to the next channel unless its receipt comes first; None when it does not."""
    request, went_on = delivery.request, delivery.earlier is not None and delivery.earlier.state is not State.UNKNOWN
    if delivery.state is not State.SENT or delivery.channel not in RECEIPTED or request.fallback_after is None:
        return None
    if went_on or delivery.cancelled or not _channels_left(delivery) or now + request.fallback_after >= request.expires_at:
        return None
    return now + request.fallback_after


def _held(
    delivery: Delivery, why: str, *, resolve_by: datetime, provider: str | None = None, loans: tuple[str, ...] = ()
) -> Change:  # fmt: skip
    told = replace(delivery, sequence=delivery.sequence + 1, resolve_by=resolve_by)
    best = better(delivery.earlier, Standing(State.UNKNOWN, delivery.channel))
    ended = _at(replace(told, reason=why), best)
    outcome = Outcome("unknown", told.sequence, why, ended.next_at, channel=delivery.channel, provider=provider, loans=loans)
    return Change(ended, (outcome,))


def _refused(delivery: Delivery, code: str, provider: str, now: datetime) -> Change:
    spent = replace(delivery, spent=(*delivery.spent, delivery.channel or ""), tries=0)
    if delivery.state is State.IN_FLIGHT and _channels_left(spent) and not _was_heard(delivery):
        return _pending(spent, code, now)
    if spent.earlier is not None:
        return Change(_at(spent, spent.earlier))
    ended = _stepped(spent, State.FAILED, code)
    return Change(ended, (Outcome("failed", ended.sequence, code, channel=delivery.channel, provider=provider),))


def _retried(delivery: Delivery, why: str, now: datetime) -> Change:
    if delivery.state is not State.IN_FLIGHT or _was_heard(delivery):
        return _end(delivery, State.FAILED, why)
    longest = min(BACKOFF * 2 ** min(delivery.tries, 10), LONGEST_BACKOFF)
    again = now + longest * fraction(delivery.task_id, delivery.turn)
    return _pending(replace(delivery, tries=delivery.tries + 1), why, min(again, delivery.request.expires_at))


def _pending(delivery: Delivery, why: str, next_at: datetime) -> Change:
    earlier = delivery.earlier
    if earlier is not None and (delivery.cancelled or earlier.state is State.DELIVERED):
        return Change(_at(delivery, earlier))
    if delivery.cancelled:
        return called_off(_stepped(delivery, State.CANCELLED, why))
    return Change(_to_pending(delivery, why, next_at))


def _to_pending(delivery: Delivery, why: str, next_at: datetime) -> Delivery:
    climbs(delivery.state, State.PENDING)
    return replace(delivery, state=State.PENDING, reason=why, next_at=next_at, waiting=False)


def _left(delivery: Delivery, state: State) -> Delivery:
    """Let it leave its channel, where this is what became of it."""
    spent = (*delivery.spent, delivery.channel or "")
    return replace(delivery, spent=spent, tries=0, earlier=better(delivery.earlier, Standing(state, delivery.channel)))


def _was_heard(delivery: Delivery) -> bool:
    """Say whether a receipt of the attempt in flight has overtaken its answer: whatever that says, it is out."""
    return delivery.channel in delivery.spent


def _channels_left(delivery: Delivery) -> bool:
    return bool(set(delivery.request.channels) - {*delivery.spent, delivery.channel})


def _standing(delivery: Delivery) -> Standing | None:
    if delivery.state not in MAY_BE_OUT:
        return delivery.earlier
    return better(delivery.earlier, Standing(delivery.state, delivery.channel))


def _at(delivery: Delivery, standing: Standing) -> Delivery:
    """Return it where its best attempt has brought it, and no lower than it stands."""
    now = _standing(replace(delivery, earlier=None))
    if now is not None and now.rank >= standing.rank:
        return delivery
    climbs(delivery.state, standing.state)
    maybe = standing.state is State.UNKNOWN
    left = () if delivery.channel in {None, standing.channel, *delivery.spent} else (delivery.channel or "",)
    return replace(
        delivery, state=standing.state, channel=standing.channel, spent=delivery.spent + left, reason=delivery.reason if maybe else None,
        next_at=delivery.resolve_by if maybe else None, waiting=False,
    )  # fmt: skip


def _numbered_anew(delivery: Delivery, epoch: int) -> Delivery:
    return replace(delivery, sequence=max(delivery.sequence, (epoch - 1) * NUMBERS_OF_AN_EPOCH))


def _stepped(delivery: Delivery, state: State, reason: str | None) -> Delivery:
    climbs(delivery.state, state)
    return replace(delivery, state=state, reason=reason, next_at=None, waiting=False, sequence=delivery.sequence + 1)
