"""The states of a delivery, and which may follow which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """The state of a delivery."""

    PENDING = "pending"
    IN_FLIGHT = "in_flight"
    UNKNOWN = "unknown"
    UNRESOLVED = "unresolved"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    SUPPRESSED = "suppressed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


MAY_BE_OUT = (State.UNKNOWN, State.UNRESOLVED, State.SENT, State.DELIVERED)
"""States of what may have gone out, lowest first."""
NEXT: Mapping[State, frozenset[State]] = MappingProxyType(
    {
        State.PENDING: frozenset(
            {State.IN_FLIGHT, State.UNKNOWN, State.SENT, State.DELIVERED, State.FAILED, State.SUPPRESSED, State.EXPIRED, State.CANCELLED}
        ),
        State.IN_FLIGHT: frozenset(
            {State.PENDING, State.UNKNOWN, State.SENT, State.DELIVERED, State.FAILED, State.CANCELLED}
        ),
        State.UNKNOWN: frozenset({State.UNRESOLVED, State.SENT, State.DELIVERED, State.FAILED}),
        State.UNRESOLVED: frozenset({State.SENT, State.DELIVERED, State.FAILED}),
        State.SENT: frozenset({State.DELIVERED, State.FAILED, State.PENDING}),
        State.DELIVERED: frozenset(),
        State.FAILED: frozenset({State.DELIVERED}),
        State.SUPPRESSED: frozenset(),
        State.EXPIRED: frozenset(),
        State.CANCELLED: frozenset(),
    }
)  # fmt: skip
"""Which states may follow: upward only, except after an attempt that surely did not go out, or on to the next channel, recording `earlier`.

A receipt may show that what is being retried went out after all, that what was sent came back, and that what failed had arrived: arrival
outranks failure.
"""


@dataclass(frozen=True, slots=True)
class Reached:
    """What became of a delivery on one channel: how far it may have come there, or that it came back (`failed`)."""

    state: State
    channel: str | None

    @property
    def rank(self) -> int:
        """Return its rank; what came back ranks below everything that may be out."""
        return (State.FAILED, *MAY_BE_OUT).index(self.state)


def better(before: Reached | None, after: Reached) -> Reached:
    """Return the higher of two; the earlier one if equal."""
    return after if before is None or before.rank < after.rank else before


def highest(all_of_them: Iterable[Reached | None]) -> Reached | None:
    """Return the highest that may be out; None if nothing may be."""
    out = [one for one in all_of_them if one is not None and one.state in MAY_BE_OUT]
    return max(out, key=lambda one: one.rank, default=None)


def climbs(before: State, after: State) -> None:
    """Raise unless a delivery may take this step."""
    if after not in NEXT[before]:
        raise ValueError(f"a delivery that is {before} cannot become {after}")
