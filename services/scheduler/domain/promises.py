"""Promises to pay: what has been paid towards each, first in first out, and what becomes of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import chain, combinations

from services.scheduler.domain.days import begins


class PromiseState(StrEnum):
    """Where a promise is."""

    OPEN = "open"
    KEPT = "kept"
    PARTLY_KEPT = "partly_kept"
    BROKEN = "broken"
    INVALIDATED = "invalidated"
    CANCELLED = "cancelled"


VOID = frozenset({PromiseState.INVALIDATED, PromiseState.CANCELLED})
"""Nobody owes them any more: what was paid counts towards others."""


@dataclass(frozen=True, slots=True)
class PromiseTerms:
    """What may be promised and when a promise counts as kept; amounts within `tolerance_percent` of it are the whole."""

    most_open: int = 3
    most_days: int = 31
    most_broken: int = 3
    grace_days: int = 1
    tolerance_percent: int = 2


PROMISE_TERMS = PromiseTerms()


@dataclass(frozen=True, slots=True)
class Promise:
    """So much by that day for these loans; `since` is what had been received of each when it was made."""

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
        """Say whether contacts about its debts rest."""
        return self.state is PromiseState.OPEN

    @property
    def enough(self) -> bool:
        """Say whether what was paid towards it is as good as the whole."""
        return self.paid >= self.amount - self.tolerated


@dataclass(frozen=True, slots=True)
class Account:
    """What a promise reads of a debt: all that was ever received for it, and whether anything is still to be paid of what was promised."""

    received: int
    owed: bool


def deadline(due_on: date, zone: str, terms: PromiseTerms = PROMISE_TERMS) -> datetime:
    """Return the moment from which an unpaid promise is broken: the day it names and its days of grace are over."""
    return begins(due_on + timedelta(days=1 + terms.grace_days), zone)


def promisable(named: Collection[str], late: Mapping[str, int], promises: Sequence[Promise]) -> int:
    """Return how much more can be promised of these loans: no promises together are of more than is late of what they name."""
    standing = [one for one in promises if one.open]
    together = chain.from_iterable(combinations(standing, count) for count in range(len(standing) + 1))
    return max(0, min(_late_of(named, some, late) - sum(one.amount - one.paid for one in some) for some in together))


def _late_of(named: Collection[str], promises: Sequence[Promise], late: Mapping[str, int]) -> int:
    return sum(late.get(loan, 0) for loan in set(named).union(*(one.since for one in promises)))


def tolerated(amount: int, terms: PromiseTerms = PROMISE_TERMS) -> int:
    """Return how much may be missing; a promise of nothing would otherwise be kept by itself."""
    return min(amount * terms.tolerance_percent // 100, max(0, amount - 1))


def credited(promises: Sequence[Promise], accounts: Mapping[str, Account]) -> list[Promise]:
    """Return the promises, oldest first, with what was paid towards each: no payment counts twice, and the oldest has it first.

    What comes in for a loan is a line that grows. A promise takes of it from where the line stood when it was made (or fell to
    since), or from where the promises before it have taken, whichever is later. One that is decided takes no more than it had.
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
    """Return a promise, already credited, as it stands at this moment; once decided it only changes by a payment that is taken back."""
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
