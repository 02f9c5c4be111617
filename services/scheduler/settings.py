"""What the scheduler is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """`settle_s`: how long a case rests after its newest change, ten times that at most since the first one."""

    settle_s: float = 2.0
    tenants: tuple[str, ...] = ("default",)


def from_env(env: Mapping[str, str] | None = None) -> Settings:
    """Read them from the environment."""
    env = os.environ if env is None else env
    return Settings(
        settle_s=float(env.get("DUNWELL_SETTLE_SECONDS", "2")),
        tenants=tuple(name.strip() for name in env.get("DUNWELL_TENANTS", "default").split(",") if name.strip()),
    )
