"""What a provider says of a message it was given."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

Fault = Literal[
    "none", "recipient", "content", "provider", "config", "throttled", "throttled_recipient", "throttled_content", "opted_out",
    "invalid_address",
]  # fmt: skip
"""Whose fault it is. `throttled` is the account's or the sender's; the recipient's and the content's say nothing of the provider."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken it over; `receipt` is `delivered` where it says so at once."""

    provider_ref: str
    receipt: str | None = None
    parts: tuple[str, ...] = ()
    """Its names for the parts, where it will speak of each by that alone."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It surely did not go out: for good (`permanent`), or for now, and then not before `retry_after` where the provider names one."""

    code: str
    fault: Fault
    permanent: bool = True
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say whether it went out."""

    why: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not a byte of it was written: trying again is safe."""

    why: str


Result = Accepted | Refused | Unknown | NotSent
