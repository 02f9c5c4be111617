"""Where another case has already sent a borrower today's dunning message, this one waits for the next day."""

from __future__ import annotations

from datetime import datetime

from libs.common.contracts.contact_outcomes import RuleSpoken
from libs.compliance import Nature, RuleKind
from libs.compliance.daily import ONCE_A_DAY, cite_of
from services.notifier.domain.verdicts import Decision, Defer

NO_CONTACT = frozenset({"refused", "not_sent", "cancelled"})
"""Results of messages that surely did not go out: they leave their place to others."""


def put_off(allowed: Decision, until: datetime, limit: int) -> Defer:
    """Return the deferral until that time of a message that every other rule allows."""
    rule = RuleSpoken(rule=ONCE_A_DAY, nature=Nature.PRODUCT_DEFAULT.value, cite=cite_of(limit), until=until)
    denied = Decision(
        "deny", allowed.channel, allowed.at, (rule,), (RuleKind.CAP.value,), earliest=until, packs=allowed.packs, facts=allowed.facts
    )  # fmt: skip
    return Defer(until, ONCE_A_DAY, (denied,))
