"""When and how a borrower wants to be contacted, within what the page lets them choose: hours on some days, and channels."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from libs.common import logs
from libs.common.contracts.contact_tasks import QuietHours
from services.scheduler.elsewhere import Asking, Elsewhere, NoAnswerError

WITHIN_S = 4.0
GROUPS: Mapping[str, tuple[str, ...]] = {"sms": ("sms",), "email": ("email",), "app": ("push", "inbox")}
"""Channels that are chosen together."""
OTHER_DAYS: Mapping[str, str | None] = {"every": None, "mon-fri": "sat-sun", "sat-sun": "mon-fri"}
"""Choices of days, and the days each one closes."""
LEAST_HOURS = 2
MIDNIGHT = 24


@dataclass(frozen=True, slots=True)
class Hours:
    """From one hour to another on some days, in the borrower's time zone."""

    days: str = "every"
    begins: int = 0
    ends: int = MIDNIGHT

    def quiet(self) -> tuple[QuietHours, ...]:
        """Return the hours this closes."""
        parts = [(self.days, 0, self.begins), (self.days, self.ends, MIDNIGHT)]
        if (others := OTHER_DAYS[self.days]) is not None:
            parts.append((others, 0, MIDNIGHT))
        return tuple(QuietHours(days=days, from_=_clock(begins), to=_clock(ends)) for days, begins, ends in parts if begins < ends)


ALWAYS = Hours()


@dataclass(frozen=True, slots=True)
class WishesSeen:
    """Current preferences: hours (None if the page cannot show them), and the groups of channels in use."""

    hours: Hours | None
    used: frozenset[str]


async def wishes_of(elsewhere: Elsewhere, tenant: str, borrower_id: str) -> WishesSeen | None:
    """Return the borrower's preferences so far; None if the notifier does not answer."""
    try:
        async with asyncio.timeout(WITHIN_S):
            said = await elsewhere.read("notifier", f"/v1/borrowers/{borrower_id}/preferences", Asking(tenant, None))
        return None if said is None else _seen(said)
    except (NoAnswerError, TimeoutError, KeyError, TypeError) as error:
        logs.get("page").warning("no_preferences", reason=type(error).__name__)
        return None


def hours_of(no_contact: frozenset[tuple[str, str, str]]) -> Hours | None:
    """Return the hours that close exactly these (days, from, to); None if the page has no such choice."""
    shapes = (Hours(days, begins, ends) for days, begins, ends in product(OTHER_DAYS, range(MIDNIGHT), range(1, MIDNIGHT + 1)))
    return next((one for one in shapes if {(q.days, q.from_, q.to) for q in one.quiet()} == no_contact), None)


def _seen(said: Mapping[str, Any]) -> WishesSeen:
    closed = frozenset((days, one["from"], one["to"]) for one in said["no_contact"] for days in one["days"])
    never, only = set(said["channels"]["never"]), said["channels"]["only"]
    open_ = {name: set(channels) - never if only is None else (set(channels) & set(only)) - never for name, channels in GROUPS.items()}
    return WishesSeen(hours_of(closed), frozenset(name for name, channels in open_.items() if channels))


def _clock(hour: int) -> str:
    return f"{hour:02}:00"
