"""What the scheduler is told by its environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from libs.common.settings import SettingsError


@dataclass(frozen=True, slots=True)
class Settings:
    """`settle_s`: how long a case rests after its newest change, ten times that at most since the first one."""

    settle_s: float = 2.0
    tenants: tuple[str, ...] = ("default",)


def from_env(env: Mapping[str, str] | None = None) -> Settings:
    """Read them from the environment."""
    env = os.environ if env is None else env
    settle = env.get("DUNWELL_SETTLE_SECONDS", "2")
    try:
        settle_s = float(settle)
    except ValueError:
        raise SettingsError(f"DUNWELL_SETTLE_SECONDS must be a number, not {settle!r}") from None
    return Settings(
        settle_s=settle_s,
        tenants=tuple(name.strip() for name in env.get("DUNWELL_TENANTS", "default").split(",") if name.strip()),
    )
