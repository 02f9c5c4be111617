"""Who must no longer be contacted, where and why, as used by the gate and by the choice of an address."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from libs.common.contracts.borrower_profiles import SealedAddress
from libs.common.value import Value
from libs.compliance import Stop, StopKind, StopScope
from services.notifier.domain.results import Fault

EVERY = "*"
"""In place of a channel: all channels."""
ANYBODY = ""
"""In place of a borrower: whoever has the address."""


class Ground(StrEnum):
    """Why contacts end."""

    OPT_OUT = "opt_out"
    COMPLAINT = "complaint"
    UNCLEAR = "unclear"
    """It may have been an opt-out: applies until a person has looked."""
    INVALID_ADDRESS = "invalid_address"


STOP_OF: Mapping[Ground, StopKind] = {
    Ground.OPT_OUT: StopKind.OPT_OUT,
    Ground.COMPLAINT: StopKind.COMPLAINT,
    Ground.UNCLEAR: StopKind.IN_DOUBT,
}


GROUND_OF: Mapping[Fault, Ground] = {
    "opted_out": Ground.OPT_OUT,
    "complained": Ground.OPT_OUT,
    "invalid_address": Ground.INVALID_ADDRESS,
}
"""The suppression that a provider's statement calls for: whoever reports a mail as spam wants no more of them."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """A suppression in force: on one channel or all, with the address it came from."""

    ground: Ground
    channel: str
    lookup: str
    since: datetime


class Beside(Value, frozen=True):
    """Other channels on which an opt-out also closes this one, at this address (empty: at any address)."""

    channels: frozenset[str] = frozenset()
    lookup: str = ""

    def widens(self, one: Suppression) -> bool:
        """Return whether this opt-out closes the channel too."""
        return one.ground is Ground.OPT_OUT and one.channel in self.channels and self.lookup in {"", one.lookup}


ALONE = Beside()


def stops(
    suppressions: Iterable[Suppression], channel: str, consents: Mapping[tuple[str, str], datetime | None], purposes: Collection[str],
    *, beside: Beside = ALONE,
) -> Iterator[Stop]:  # fmt: skip
    """Yield the stops for a contact on a channel; an opt-out holds until the borrower gives a later consent."""
    asked = [at for (on, purpose), at in consents.items() if on == channel and purpose in purposes and at is not None]
    for one in suppressions:
        kind = STOP_OF.get(one.ground)
        if kind is None or (one.ground is Ground.OPT_OUT and any(at > one.since for at in asked)):
            continue
        everywhere = one.channel == EVERY
        closed = channel if beside.widens(one) else one.channel
        yield Stop(kind, StopScope.PERSON if everywhere else StopScope.CHANNEL, one.since, None, channel=None if everywhere else closed)


def is_out(address: SealedAddress, suppressions: Iterable[Suppression]) -> bool:
    """Return whether an address was found invalid and has not been verified since."""
    return any(
        one.ground is Ground.INVALID_ADDRESS
        and one.lookup == address.lookup
        and (address.verified_at is None or address.verified_at <= one.since)
        for one in suppressions
    )
