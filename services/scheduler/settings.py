"""What the scheduler is told by its environment."""

from __future__ import annotations

from dataclasses import dataclass, field

from libs.common.settings import Outlets


@dataclass(frozen=True, slots=True)
class Settings:
    """`settle_s`: how long a case rests after its newest change, ten times that at most since the first one.

    `tenants`: the first one's topics have the plain names.
    """

    settle_s: float = 2.0
    outlets: Outlets = field(default_factory=Outlets)
    tenants: tuple[str, ...] = ("default",)
