"""What providers say about a message after accepting it, and what a set of receipts comes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum

from services.notifier.domain.results import Fault
from services.notifier.domain.states import Reached, State


class Standing(IntEnum):
    """How far a message has come; later receipts raise it and never lower it."""

    ACCEPTED = 0
    SENT = 1
    FAILED = 2
    DELIVERED = 3
    """Above `FAILED`: what has once arrived has arrived, whatever else is said."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One statement of a provider about one message."""

    standing: Standing | None
    """None if it is only about the person: a complaint, an unsubscription."""
    message_id: str | None = None
    """Our id, if the provider returns it."""
    provider_ref: str | None = None
    address: str | None = None
    event_id: str | None = None
    """The provider's id of this statement, if it has one."""
    at: datetime | None = None
    code: str | None = None
    fault: Fault = "none"
    of_part: bool = False
    """Whether it is about a single part of a message sent in several, even though it carries our id."""
    parts: int = 1
    """How many parts the message has, as far as the receipt itself says."""


@dataclass(frozen=True, slots=True)
class Reduced:
    """What all the receipts of a message come to."""

    standing: Standing | None = None
    faults: frozenset[tuple[str, Fault]] = frozenset()
    opted_out: bool = False
    """The person wants no more contact; never reverts."""


def reduced(receipts: Iterable[Receipt], before: Reduced | None = None) -> Reduced:
    """Return what these receipts come to, whatever their order and repetition."""
    before = before or Reduced()
    told = tuple(receipts)
    standings = [one.standing for one in told if one.standing is not None]
    if before.standing is not None:
        standings.append(before.standing)
    return Reduced(
        standing=max(standings, default=None),
        faults=before.faults | {(one.code or "", one.fault) for one in told if one.fault != "none"},
        opted_out=before.opted_out or any(one.fault in ("opted_out", "complained") for one in told),
    )


def of_whole(message_id: str, parts: int, words: Sequence[tuple[int | str, Receipt]]) -> Receipt | None:
    """Return what the receipts of parts say about their message: it has arrived when all parts have, and failed when one has.

    None if nothing has been said yet. The result does not depend on order or repetition; later receipts raise it and never lower it.
    """
    arrived = {part for part, one in words if one.standing is Standing.DELIVERED}
    failures = sorted((one.code or "", one.fault) for _, one in words if one.standing is Standing.FAILED)
    at = max((one.at for _, one in words if one.at is not None), default=None)
    if len(arrived) == parts:
        return Receipt(Standing.DELIVERED, message_id=message_id, at=at)
    if failures:
        code, fault = failures[0]
        return Receipt(Standing.FAILED, message_id=message_id, at=at, code=code or None, fault=fault)
    return Receipt(Standing.SENT, message_id=message_id, at=at) if words else None


@dataclass(frozen=True, slots=True)
class News:
    """How far an attempt's message has come by everything said about it, and what was known before about the delivery's attempts."""

    channel: str
    standing: Standing
    before: tuple[Reached, ...]
    provider: str
    loans: tuple[str, ...] = ()
    code: str | None = None

    @property
    def failure(self) -> str:
        """Return why it failed, if it did."""
        return self.code or "receipt_failed"

    @property
    def kinds(self) -> tuple[State, ...]:
        """Return what is new in it, in the order of announcement."""
        was = next((one.state for one in self.before if one.channel == self.channel), None)
        match self.standing:
            case _ if was is State.DELIVERED:
                return ()
            case Standing.FAILED:
                return () if was is State.FAILED else (State.FAILED,)
            case Standing.DELIVERED:
                return (State.DELIVERED,) if was in {State.SENT, State.FAILED} else (State.SENT, State.DELIVERED)
            case _:
                return () if was in {State.SENT, State.FAILED} else (State.SENT,)


def state_of(result: str | None, receipt: str | None) -> State | None:
    """Return what is known about an attempt from its result and receipts; None if it surely did not go out."""
    if receipt is not None:
        return {"delivered": State.DELIVERED, "failed": State.FAILED}.get(receipt, State.SENT)
    match result:
        case "accepted":
            return State.SENT
        case "refused" | "not_sent":
            return None
        case _:
            return State.UNKNOWN
