"""The life of a delivery: what a verdict or a provider's result makes of it, and what is announced."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import assert_never

from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.common.contracts.contact_tasks import ContactRequested
from libs.common.value import Value, replace
from services.notifier.domain.receipts import News
from services.notifier.domain.results import NO_PERMIT, Accepted, Fault, NotSent, Refused, Result, Unknown
from services.notifier.domain.states import MAY_BE_OUT, Reached, State, better, climbs, highest
from services.notifier.domain.verdicts import Decision, Defer, Expire, Fail, Send, Suppress, Verdict, Wait

SPREAD = timedelta(seconds=30)
"""Contacts that a rule releases at the same time are spread over this interval."""
BACKOFF = timedelta(seconds=2)
LONGEST_BACKOFF = timedelta(minutes=5)
PATIENCE = MappingProxyType(
    {"throttled_recipient": (timedelta(minutes=1), timedelta(hours=1)), "throttled_content": (timedelta(minutes=1), timedelta(hours=1))}
)
"""First and longest pause after a limit on this address or this text alone: such limits last minutes or hours."""
TRY_FOR = timedelta(minutes=30)
"""A channel on which nothing went out is left for the next one if the next try is this long after the first; the last is never left."""
CALLED_OFF = "cancelled"
"""Why a contact that was called off surely did not go out."""
NO_RECEIPT = "no_receipt"
"""Why a contact that was sent moves on to its next channel."""
ANSWERABLE = frozenset({State.IN_FLIGHT, State.UNKNOWN, State.UNRESOLVED})
"""States in which the answer to the last attempt may still change something."""
RECEIPTED = frozenset({"sms", "email"})
"""Channels whose receipts say that a message has arrived; on the others nothing is known beyond acceptance."""


Task = tuple[str, str, str]
"""Tenant, borrower and task: the key of a delivery."""


class Delivery(Value, frozen=True):
    """A contact task in the notifier. `turn` counts its attempts: news of an older one changes nothing."""

    tenant: str
    borrower_id: str
    task_id: str
    request: ContactRequested
    state: State = State.PENDING
    reason: str | None = None
    next_at: datetime | None = None
    waiting: bool = False
    """Whether new data (a profile, a fact) makes it due at once."""
    sequence: int = 0
    turn: int = 0
    tries: int = 0
    channel: str | None = None
    spent: tuple[str, ...] = ()
    """Channels that are not tried again: it was refused there, or may have gone out there."""
    cancelled: bool = False
    """Called off while in flight: if it did not go out it is not tried again."""
    told: str | None = None
    """The deferral announced last, so that each is announced once."""
    decisions: tuple[Decision, ...] = ()
    resolve_by: datetime | None = None
    """When it is closed as unresolved if still unknown."""
    earlier: Reached | None = None
    """The best outcome on channels it has left; it never ends below that, and ends failed if that message came back."""
    tried_since: datetime | None = None
    """When it was first tried on its channel, while nothing has gone out there."""
    lost_time: str | None = None
    """Set while it is not shown that no attempt was made during a time the database has lost."""
    revision: int = 0
    """How often it was written: a change applies only to the revision it was decided on."""

    @property
    def key(self) -> Task:
        """Return its key."""
        return self.tenant, self.borrower_id, self.task_id


class Outcome(Value, frozen=True):
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


class Change(Value, frozen=True):
    """A delivery after a change, and what is announced about it."""

    delivery: Delivery
    outcomes: tuple[Outcome, ...] = ()


def judged(delivery: Delivery, verdict: Verdict) -> Change:
    """Return the effect of a verdict on a pending delivery."""
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
    """Return the effect of a provider's result on a delivery in flight or already given up as unknown; a receipt outranks it."""
    if delivery.state not in ANSWERABLE:
        return Change(delivery)
    match result:
        case Accepted(_, receipt):
            return _accepted(delivery, provider, loans, delivered=receipt == "delivered", now=now)
        case Refused(code, _, permanent=True):
            return _refused(delivery, code, provider, now)
        case Refused(why, fault, retry_after=floor):
            return _retried(delivery, why, now, floor=floor, fault=fault)
        case NotSent(why) if why == NO_PERMIT and delivery.state is State.IN_FLIGHT:
            return _pending(delivery, why, now)
        case NotSent(why):
            return _retried(delivery, why, now)
        case Unknown(why):
            in_flight = delivery.state is State.IN_FLIGHT
            return unknown(delivery, why, now=now, resolve_by=resolve_by, provider=provider, loans=loans) if in_flight else Change(delivery)
        case _:
            assert_never(result)


def only_moves(before: Delivery, after: Delivery) -> bool:
    """Return whether a change only moves a delivery forward and alters nothing else."""
    return replace(after, state=before.state, sequence=before.sequence, next_at=before.next_at) == before


def unknown(
    delivery: Delivery, why: str, *, now: datetime, resolve_by: datetime, provider: str | None = None, loans: tuple[str, ...] = ()
) -> Change:  # fmt: skip
    """Return a delivery whose attempt may have gone out: never sent there again, and on another channel only if its request says so."""
    kept = held(delivery, why, resolve_by=resolve_by, provider=provider, loans=loans)
    goes_on = delivery.state is State.IN_FLIGHT and delivery.request.on_unknown == "next_channel" and kept.delivery.state is State.UNKNOWN
    if not goes_on or delivery.cancelled or not _channels_left(delivery):
        return kept
    left = _left(replace(delivery, sequence=kept.delivery.sequence, resolve_by=resolve_by), State.UNKNOWN)
    return Change(_to_pending(left, why, now), kept.outcomes)


def unresolved(delivery: Delivery) -> Change:
    """Return an unknown delivery whose deadline has come without any word of its outcome."""
    ended = _stepped(delivery, State.UNRESOLVED, delivery.reason)
    return Change(ended, (Outcome("unknown", ended.sequence, delivery.reason, channel=delivery.channel, final=True),))


def fallen_back(delivery: Delivery, *, now: datetime) -> Change:
    """Return a sent delivery whose receipt did not come in time: it moves on to the next channel, once."""
    return Change(_to_pending(_left(delivery, State.SENT), NO_RECEIPT, now))


def heard(delivery: Delivery, news: News, *, now: datetime) -> Change:
    """Return the effect of news about an attempt on a delivery in any state: it only moves up, whatever order news comes in."""
    kinds = tuple(kind for kind in news.kinds if delivery.state is not State.FAILED or kind is State.DELIVERED)
    if delivery.state in {State.SUPPRESSED, State.EXPIRED, State.CANCELLED} or not kinds:
        return Change(delivery)
    if kinds == (State.FAILED,):
        return Change(delivery) if delivery.state is State.DELIVERED else _came_back(delivery, news, now)
    told = _told_of(delivery, kinds, news.channel, provider=news.provider, loans=news.loans)
    here, before, reached = told.delivery, _reached(delivery), Reached(kinds[-1], news.channel)
    best = better(before, reached)
    if here.state is State.IN_FLIGHT and not _is_at(here, news.channel):
        return Change(replace(here, earlier=better(here.earlier, reached)), told.outcomes)
    if best == before and not _is_at(here, news.channel):
        return told
    lifted = _at(here, best)
    next_at = _falls_back_at(lifted, now) if here.state is State.IN_FLIGHT else lifted.next_at
    return Change(replace(lifted, next_at=next_at), told.outcomes)


def kept_waiting(delivery: Delivery, until: datetime) -> Change:
    """Return a delivery for which its provider has no permit yet: it stays due, and nothing is announced."""
    return Change(replace(delivery, next_at=min(until, delivery.request.expires_at), reason=NO_PERMIT))


def called_off(delivery: Delivery) -> Change:
    """Announce that a delivery was cancelled before it went out: whoever asked for it may have to ask again."""
    return Change(delivery, (Outcome("suppressed", delivery.sequence, CALLED_OFF, channel=delivery.channel),))


def fraction(*parts: object) -> float:
    """Return a number from 0 to 1, always the same for these parts: jitter without randomness."""
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
    """Defer it, at most to its expiry. Announced once per reason and time, or once per reason if `passing`."""
    spread = timedelta() if defer.passing else SPREAD * fraction(delivery.task_id, "spread")
    next_at = min(defer.until + spread, delivery.request.expires_at)
    rules = tuple(rule for decision in defer.decisions for rule in decision.rules)
    fresh = delivery if defer.passing else replace(delivery, tries=0, tried_since=None)
    put_off = replace(fresh, next_at=next_at, waiting=not defer.passing, reason=defer.reason, decisions=defer.decisions)
    return _told(put_off, None if defer.passing else defer.until, tuple(dict.fromkeys(rules)))


def _told(delivery: Delivery, until: datetime | None, rules: tuple[RuleSpoken, ...]) -> Change:
    words = f"{delivery.reason} {until.isoformat() if until else ''}".strip()
    if delivery.told == words:
        return Change(delivery)
    told = replace(delivery, told=words, sequence=delivery.sequence + 1)
    return Change(told, (Outcome("deferred", told.sequence, delivery.reason, until, rules),))


def _end(delivery: Delivery, state: State, reason: str | None) -> Change:
    if (out := highest([delivery.earlier])) is not None:
        return Change(_at(delivery, out))
    state = state if delivery.earlier is None else State.FAILED
    ended = _stepped(delivery, state, reason)
    rules = tuple(dict.fromkeys(rule for decision in delivery.decisions for rule in decision.rules))
    return Change(ended, (Outcome(state.value, ended.sequence, reason, rules=rules, channel=delivery.channel),))


def _accepted(delivery: Delivery, provider: str, loans: tuple[str, ...], *, delivered: bool, now: datetime) -> Change:
    kinds = (State.SENT, State.DELIVERED) if delivered else (State.SENT,)
    told = _told_of(delivery, kinds, delivery.channel, provider=provider, loans=loans)
    reached = _at(told.delivery, better(delivery.earlier, Reached(kinds[-1], delivery.channel)))
    return Change(replace(reached, next_at=_falls_back_at(reached, now)), told.outcomes)


def _told_of(
    delivery: Delivery, kinds: tuple[State, ...], channel: str | None, *, provider: str, loans: tuple[str, ...]
) -> Change:  # fmt: skip
    """Return what is announced for a channel, and the delivery with its numbering advanced."""
    outcomes = tuple(
        Outcome(kind.value, delivery.sequence + place, channel=channel, provider=provider, loans=loans)
        for place, kind in enumerate(kinds, start=1)
    )
    return Change(replace(delivery, sequence=delivery.sequence + len(outcomes)), outcomes)


def _falls_back_at(delivery: Delivery, now: datetime) -> datetime | None:
    """Return when it moves on to the next channel unless a receipt comes first; None if it does not."""
    request, went_on = delivery.request, delivery.earlier is not None and delivery.earlier.state is not State.UNKNOWN
    if delivery.state is not State.SENT or delivery.channel not in RECEIPTED or request.fallback_after is None:
        return None
    if went_on or delivery.cancelled or not _channels_left(delivery) or now + request.fallback_after >= request.expires_at:
        return None
    return now + request.fallback_after


def held(
    delivery: Delivery, why: str, *, resolve_by: datetime, provider: str | None = None, loans: tuple[str, ...] = ()
) -> Change:  # fmt: skip
    """Return a delivery that may have gone out and tries no other channel: unknown, or the best it reached before."""
    told = replace(delivery, sequence=delivery.sequence + 1, resolve_by=resolve_by)
    best = better(delivery.earlier, Reached(State.UNKNOWN, delivery.channel))
    ended = _at(replace(told, reason=why), best)
    outcome = Outcome("unknown", told.sequence, why, ended.next_at, channel=delivery.channel, provider=provider, loans=loans)
    return Change(ended, (outcome,))


def _refused(delivery: Delivery, code: str, provider: str, now: datetime) -> Change:
    spent = replace(delivery, spent=(*delivery.spent, delivery.channel or ""), tries=0, tried_since=None)
    if delivery.state is State.IN_FLIGHT and _channels_left(spent):
        return _pending(spent, code, now)
    if (out := highest([spent.earlier])) is not None:
        return Change(_at(spent, out))
    ended = _stepped(spent, State.FAILED, code)
    return Change(ended, (Outcome("failed", ended.sequence, code, channel=delivery.channel, provider=provider),))


def _retried(delivery: Delivery, why: str, now: datetime, *, floor: timedelta | None = None, fault: Fault = "provider") -> Change:
    """Retry after an exponential pause with full jitter, never before `floor`; until it expires, or on this channel for `TRY_FOR`."""
    if delivery.state is not State.IN_FLIGHT:
        return _end(delivery, State.FAILED, why)
    first, most = PATIENCE.get(fault, (BACKOFF, LONGEST_BACKOFF))
    longest = min(first * 2 ** min(delivery.tries, 10), most)
    again = now + (floor or timedelta()) + longest * fraction(delivery.task_id, delivery.turn)
    since = delivery.tried_since or now
    if again >= since + TRY_FOR and _channels_left(delivery):
        return _pending(replace(delivery, spent=(*delivery.spent, delivery.channel or ""), tries=0, tried_since=None), why, now)
    return _pending(replace(delivery, tries=delivery.tries + 1, tried_since=since), why, min(again, delivery.request.expires_at))


def _pending(delivery: Delivery, why: str, next_at: datetime) -> Change:
    out = highest([delivery.earlier])
    if out is not None and (delivery.cancelled or out.state is State.DELIVERED):
        return Change(_at(delivery, out))
    if delivery.cancelled:
        return called_off(_stepped(delivery, State.CANCELLED, why))
    return Change(_to_pending(delivery, why, next_at))


def _to_pending(delivery: Delivery, why: str, next_at: datetime) -> Delivery:
    climbs(delivery.state, State.PENDING)
    return replace(delivery, state=State.PENDING, reason=why, next_at=next_at, waiting=False)


def _left(delivery: Delivery, state: State) -> Delivery:
    """Leave its channel, with this state as the outcome there."""
    spent = (*delivery.spent, delivery.channel or "")
    return replace(delivery, spent=spent, tries=0, tried_since=None, earlier=better(delivery.earlier, Reached(state, delivery.channel)))


def _channels_left(delivery: Delivery) -> bool:
    return bool(set(delivery.request.channels) - {*delivery.spent, delivery.channel})


def _reached(delivery: Delivery) -> Reached | None:
    if delivery.state not in MAY_BE_OUT:
        return delivery.earlier
    return better(delivery.earlier, Reached(delivery.state, delivery.channel))


def _is_at(delivery: Delivery, channel: str) -> bool:
    """Return whether the delivery's state is that of its last attempt on this channel, which it has not left."""
    return channel == delivery.channel and not (delivery.state is State.PENDING and channel in delivery.spent)


def _came_back(delivery: Delivery, news: News, now: datetime) -> Change:
    """Return a delivery whose message did not arrive: one that may be out elsewhere decides, else the next channel, else it failed."""
    flying = delivery.channel if delivery.state is State.IN_FLIGHT else None
    rest = highest(one for one in _known(delivery, news) if one.channel not in {news.channel, flying})
    returned = Reached(State.FAILED, news.channel)
    if not _is_at(delivery, news.channel):
        left = delivery.earlier is not None and delivery.earlier.channel == news.channel
        return Change(replace(delivery, earlier=rest or returned) if left else delivery)
    if _would_fall_back(delivery, now):
        return Change(_to_pending(replace(_left(delivery, State.FAILED), earlier=rest or returned), news.failure, now))
    if rest is not None:
        stays = delivery.state in MAY_BE_OUT and Reached(delivery.state, None).rank == rest.rank
        return Change(replace(delivery, channel=rest.channel) if stays else _at(delivery, rest))
    ended = _stepped(delivery, State.FAILED, news.failure)
    return Change(ended, (Outcome("failed", ended.sequence, news.failure, channel=news.channel, provider=news.provider),))


def _known(delivery: Delivery, news: News) -> tuple[Reached, ...]:
    """Return what is known about each channel: from its attempt, or else from what the delivery recorded on leaving it."""
    told, earlier = {one.channel for one in news.before}, delivery.earlier
    return news.before if earlier is None or earlier.channel in told else (*news.before, earlier)


def _would_fall_back(delivery: Delivery, now: datetime) -> bool:
    """Return whether it would move on if its receipt stayed away: then it also does so when the receipt reports a failure."""
    match delivery.state:
        case State.SENT:
            return delivery.next_at is not None
        case State.IN_FLIGHT:
            return _falls_back_at(replace(delivery, state=State.SENT), now) is not None
        case _:
            return False


def _at(delivery: Delivery, reached: Reached) -> Delivery:
    """Return the delivery in the state its best attempt reached, never lower than where it is."""
    now = _reached(replace(delivery, earlier=None))
    if now is not None and now.rank >= reached.rank:
        return delivery
    climbs(delivery.state, reached.state)
    maybe = reached.state is State.UNKNOWN
    left = () if delivery.channel in {None, reached.channel, *delivery.spent} else (delivery.channel or "",)
    return replace(
        delivery, state=reached.state, channel=reached.channel, spent=delivery.spent + left, reason=delivery.reason if maybe else None,
        next_at=delivery.resolve_by if maybe else None, waiting=False,
    )  # fmt: skip


def _stepped(delivery: Delivery, state: State, reason: str | None) -> Delivery:
    climbs(delivery.state, state)
    return replace(delivery, state=state, reason=reason, next_at=None, waiting=False, sequence=delivery.sequence + 1)
