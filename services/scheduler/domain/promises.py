"""Promises to pay: what has been paid towards each, oldest first, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import chain, combinations

from services.scheduler.domain.days import begins


class PromiseState(StrEnum):
    """The state of a promise."""

    OPEN = "open"
    KEPT = "kept"
    PARTLY_KEPT = "partly_kept"
    BROKEN = "broken"
    INVALIDATED = "invalidated"
    CANCELLED = "cancelled"


VOID = frozenset({PromiseState.INVALIDATED, PromiseState.CANCELLED})
"""No longer owed: what was paid counts towards other promises."""


@dataclass(frozen=True, slots=True)
class PromiseTerms:
    """What may be promised, and when a promise counts as kept; an amount short by up to `tolerance_percent` counts as the whole."""

    most_open: int = 3
    most_days: int = 31
    most_broken: int = 3
    grace_days: int = 1
    tolerance_percent: int = 2


PROMISE_TERMS = PromiseTerms()


@dataclass(frozen=True, slots=True)
class Promise:
    """An amount by a day for these loans; `since` is what each had received when it was made."""

    promise_id: str
    amount: int
    due_on: date
    until: datetime
    made_at: datetime
    since: Mapping[str, int] = field(hash=False)
    tolerated: int = 0
    state: PromiseState = PromiseState.OPEN
    paid: int = 0
    decided_at: datetime | None = None
    spell: int = 1

    @property
    def open(self) -> bool:
        """Return whether it is open, so that contacts about its debts pause."""
        return self.state is PromiseState.OPEN

    @property
    def enough(self) -> bool:
        """Return whether the amount paid towards it counts as the whole."""
        return self.paid >= self.amount - self.tolerated


@dataclass(frozen=True, slots=True)
class Account:
    """What a promise needs of a debt: the total ever received, and whether anything promised is still to be paid."""

    received: int
    owed: bool


def deadline(due_on: date, zone: str, terms: PromiseTerms = PROMISE_TERMS) -> datetime:
    """Return when an unpaid promise breaks: at the end of its day and the days of grace."""
    return begins(due_on + timedelta(days=1 + terms.grace_days), zone)


def promisable(named: Collection[str], late: Mapping[str, int], promises: Sequence[Promise]) -> int:
    """Return how much more can be promised for these loans: no set of promises may exceed what is overdue on the loans it names."""
    standing = [one for one in promises if one.open]
    together = chain.from_iterable(combinations(standing, count) for count in range(len(standing) + 1))
    return max(0, min(_late_of(named, some, late) - sum(one.amount - one.paid for one in some) for some in together))


def _late_of(named: Collection[str], promises: Sequence[Promise], late: Mapping[str, int]) -> int:
    return sum(late.get(loan, 0) for loan in set(named).union(*(one.since for one in promises)))


def tolerated(amount: int, terms: PromiseTerms = PROMISE_TERMS) -> int:
    """Return how much may be missing, less than the whole: otherwise a small promise would be kept with nothing paid."""
    return min(amount * terms.tolerance_percent // 100, max(0, amount - 1))


def credited(promises: Sequence[Promise], accounts: Mapping[str, Account]) -> list[Promise]:
    """Return the promises, oldest first, with what was paid towards each: no payment counts twice, and the oldest is served first.

    What a loan receives is a growing total. A promise takes from the point at which the total stood when it was made (or to which it
    fell since), or from where earlier promises stopped, whichever is later. A decided promise takes no more than it had.
    """
    taken: dict[str, int] = {}
    found = []
    for promise in sorted(promises, key=lambda one: (one.made_at, one.promise_id)):
        if promise.state in VOID or not all(loan in accounts for loan in promise.since):
            found.append(promise)
            continue
        wanted = left = promise.amount if promise.open else promise.paid
        since = {loan: min(begin, accounts[loan].received) for loan, begin in promise.since.items()} if promise.open else promise.since
        for loan, begin in sorted(since.items()):
            begins_at = max(begin, taken.get(loan, begin))
            part = max(0, min(left, accounts[loan].received - begins_at))
            left -= part
            if part:
                taken[loan] = begins_at + part
        found.append(replace(promise, paid=wanted - left, since=since))
    return found


def decided(promise: Promise, accounts: Mapping[str, Account], now: datetime) -> Promise:
    """Return a credited promise as it stands now; once decided, only a reversed payment changes it."""
    state = _state(promise, accounts, now)
    return promise if state is promise.state else replace(promise, state=state, decided_at=now)


def _state(promise: Promise, accounts: Mapping[str, Account], now: datetime) -> PromiseState:
    match promise.state:
        case PromiseState.OPEN if promise.enough:
            return PromiseState.KEPT
        case PromiseState.OPEN if now >= promise.until:
            return _missed(promise)
        case PromiseState.OPEN if not any(accounts[loan].owed for loan in promise.since if loan in accounts):
            return PromiseState.INVALIDATED
        case PromiseState.KEPT if not promise.enough:
            return _missed(promise)
        case PromiseState.PARTLY_KEPT if not promise.paid:
            return PromiseState.BROKEN
        case state:
            return state


def _missed(promise: Promise) -> PromiseState:
    return PromiseState.PARTLY_KEPT if promise.paid else PromiseState.BROKEN


def judged(promises: Sequence[Promise], accounts: Mapping[str, Account], now: datetime) -> list[Promise]:
    """Return all promises of a case as they stand now, oldest first."""
    return [decided(promise, accounts, now) for promise in credited(promises, accounts)]
