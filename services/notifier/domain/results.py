"""What a provider says of a message it was given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fault = Literal["none", "recipient", "content", "provider", "config", "throttled"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has taken it over; `receipt` is `delivered` where it says so at once."""

    provider_ref: str
    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """It surely did not go out: for good (`permanent`), or for now."""

    code: str
    fault: Fault
    permanent: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can say whether it went out."""

    why: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """Not a byte of it was written: trying again is safe."""

    why: str


Result = Accepted | Refused | Unknown | NotSent
