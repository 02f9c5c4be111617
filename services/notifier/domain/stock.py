"""What one claim may give to the providers, known before it begins, and what it has given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from services.notifier.domain.delivery import fraction
from services.notifier.domain.health import Account, Admission

LONGEST_WAIT = timedelta(minutes=15)
"""Longest time until a message waiting for a permit is looked at again: the rate may have risen, or messages before it may be gone."""


@dataclass(frozen=True, slots=True)
class Permit:
    """One message may start between these two seconds of the process's stopwatch."""

    not_before: float
    until: float


@dataclass(slots=True)
class Stock:
    """How many messages each limited account may be given; accounts without a limit are absent."""

    now: datetime
    admissions: Mapping[Account, Admission] = field(default_factory=dict)
    permits: Mapping[Account, tuple[Permit, ...]] = field(default_factory=dict)
    """For accounts with a rate: each permit's time by this process's stopwatch."""
    queues: dict[Account, datetime] = field(default_factory=dict)
    """Until when future permits are promised to messages already deferred."""
    lead: timedelta = timedelta()
    """How long before its time a permit is leased."""
    given: Counter[Account] = field(default_factory=Counter)
    waiting: Counter[Account] = field(default_factory=Counter)

    @property
    def shut(self) -> frozenset[Account]:
        """Return the accounts that are out of the draw."""
        return frozenset(account for account, one in self.admissions.items() if one.shut)

    def probes(self, tenant: str) -> frozenset[str]:
        """Return those of a tenant that one message may still probe."""
        return frozenset(name for whose, name in self.unused_probes() if whose == tenant)

    def slow(self, tenant: str) -> frozenset[str]:
        """Return those of a tenant that asked for a rest."""
        return frozenset(name for (whose, name), one in self.admissions.items() if whose == tenant and one.slow)

    def unused_probes(self) -> frozenset[Account]:
        """Return the accounts whose probe found no message to carry it."""
        return frozenset(account for account, one in self.admissions.items() if one.probe and not self.given[account])

    def take(self, account: Account) -> bool:
        """Give a message to an account if it may have one more; return whether it may."""
        most = self.admissions[account].most if account in self.admissions else None
        if most is not None and self.given[account] >= most:
            return False
        self.given[account] += 1
        return True

    def again_at(self, account: Account, *seed: object) -> datetime:
        """Return when a message that got no permit comes again: in time for the first moment not promised to another."""
        self.waiting[account] += 1
        one = self.admissions[account]
        at = max(one.free_at or self.now, self.queues.get(account, self.now), self.now + one.interval)
        if at > self.now + LONGEST_WAIT:
            return self.now + LONGEST_WAIT * (1 + fraction(*seed)) / 2
        self.queues[account] = at + one.interval
        return max(at - self.lead, self.now + one.interval)

    def handed_out(self, account: Account) -> tuple[Permit, ...]:
        """Return the permits for the messages given to an account."""
        return self.permits[account][: self.given[account]]

    def left_over(self) -> dict[Account, tuple[Permit, ...]]:
        """Return the permits that no message took."""
        return {account: permits[self.given[account] :] for account, permits in self.permits.items()}
