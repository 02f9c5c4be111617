"""At most one dunning message a day over all of a borrower's cases: ours by default, however many cases there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.compliance import Nature, RuleKind
from services.notifier.domain.verdicts import Decision, Defer

ONCE_A_DAY = "one-dunning-message-a-day"
CITE = "product default: one dunning message a day over all cases of a borrower"
CITE_MANY = "product default: as many dunning messages a day over all cases of a borrower as the tenant has set"
NO_CONTACT = frozenset({"refused", "not_sent", "cancelled"})
"""Results of messages that surely did not go out: they leave their place to others."""


def free_at(earlier: Collection[datetime], limit: int, zones: Sequence[str], now: datetime) -> datetime | None:
    """Return when one more may go out, by the calendar of every zone, where so many of today's have gone out; None: now."""
    ends = []
    for zone in map(ZoneInfo, zones):
        today = now.astimezone(zone).date()
        if sum(at.astimezone(zone).date() == today for at in earlier) >= limit:
            ends.append(datetime.combine(today + timedelta(days=1), time.min, zone).astimezone(now.tzinfo))
    return max(ends, default=None)


def put_off(allowed: Decision, until: datetime, limit: int) -> Defer:
    """Return the deferral to that moment of a message that every other rule allows."""
    rule = RuleSpoken(rule=ONCE_A_DAY, nature=Nature.PRODUCT_DEFAULT.value, cite=CITE if limit == 1 else CITE_MANY, until=until)
    denied = Decision(
        "deny", allowed.channel, allowed.at, (rule,), (RuleKind.CAP.value,), earliest=until, packs=allowed.packs, facts=allowed.facts
    )  # fmt: skip
    return Defer(until, ONCE_A_DAY, (denied,))
