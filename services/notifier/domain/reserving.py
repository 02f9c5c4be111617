"""Contacts that people make: what holds a slot until the contact is recorded, and which record takes which slot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import assert_never

from libs.common.addresses import kind_of
from libs.common.contracts.borrower_profiles import BorrowerProfile, SealedAddress
from libs.common.contracts.wallet_borrowers import ChannelName
from services.notifier.domain.verdicts import Defer, Expire, Fail, Send, Suppress, Verdict, Wait

HELD_FOR = timedelta(minutes=15)
"""How long a slot is held for a person who was permitted to contact somebody."""
SEEMS_EARLIER = timedelta(minutes=1)
"""How long before its permission a contact may seem to have been made, by another system's clock."""
RESERVED = "reserved"
REPLACED = "cancelled"
"""The result of a slot whose contact was recorded under another id: no rule counts it."""

WHY: Mapping[str, str] = MappingProxyType(
    {
        "profile_unknown": "nothing is known of this borrower yet",
        "facts_behind": "nothing is known of this debt yet",
        "in_doubt": "an event about this debt is parked until a person decides on it",
        "payment_pending": "a payment of this debt is under way",
        "paid": "nothing is owed on this debt",
        "overdue": "this debt is overdue, so a reminder does not apply",
        "erased": "this borrower was erased",
        "switched_off": "contacts are switched off",
        "shadow": "contacts are decided but not made",
        "pipeline_stale": "the latest input has not arrived here yet",
        "feed_stale": "a source that announced more data has fallen silent",
        "address_unknown": "this address is not the borrower's",
    }
)
"""Why a contact must not be made that no pack rule denies."""


@dataclass(frozen=True, slots=True)
class Held:
    """A slot that is or was held, and whose contact nobody has recorded yet."""

    contact_id: str
    at: datetime
    until: datetime
    channel: str
    loans: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A contact that a person has made and recorded."""

    contact_id: str
    at: datetime
    channel: str
    loans: tuple[str, ...]


def taken(made: Made, held: Iterable[Held]) -> Held | None:
    """Return the slot that a contact takes: the one it names, else the oldest of its channel and time, preferably for its debt."""
    slots = sorted(held, key=lambda one: (one.at, one.contact_id))
    if named := [one for one in slots if one.contact_id == made.contact_id]:
        return named[0]
    fitting = [one for one in slots if one.channel == made.channel and one.at - SEEMS_EARLIER <= made.at <= one.until]
    return min(fitting, key=lambda one: set(one.loans).isdisjoint(made.loans), default=None)


def meant(profile: BorrowerProfile, channel: str, lookup: str | None) -> tuple[str | None, ...]:
    """Return the addresses that may be contacted: the one named, else any known one of that kind, else an unknown one (None)."""
    if lookup is not None:
        return (lookup,)
    return tuple(sorted({own.lookup for own in profile.addresses if kind_of(own.channel) == kind_of(channel)})) or (None,)


def address_of(profile: BorrowerProfile, channel: ChannelName, lookup: str | None) -> SealedAddress | None:
    """Return the address to be contacted, or None if it is not the borrower's.

    It is compared with the known addresses of its kind; if there are none, nobody can say whose it is.
    """
    own = {address.lookup for address in profile.addresses if kind_of(address.channel) == kind_of(channel)}
    if lookup is not None and own and lookup not in own:
        return None
    return SealedAddress(channel=channel, sealed="", lookup=lookup or "")


def barred(verdict: Verdict) -> tuple[str, datetime | None] | None:
    """Return the reason that bars a contact before any rule is asked, and when it ends; None if only rules decide."""
    match verdict:
        case Send():
            return None
        case Defer(until, reason, decisions, passing):
            return None if decisions else (reason, None if passing else until)
        case Suppress(reason, decisions):
            return None if decisions else (reason, None)
        case Wait(reason) | Fail(reason):
            return reason, None
        case Expire():
            return "expired", None
        case _:
            assert_never(verdict)
