"""What a composition root passes to a service."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncEngine

from libs.common.bus.ports import Bus
from libs.common.clock import Clock
from libs.common.jwks import Tokens


@dataclass(frozen=True, slots=True)
class Ports:
    """A service's outside world: its database, the bus, the time, its release, and the identity provider."""

    engine: AsyncEngine
    bus: Bus
    clock: Clock
    version: str
    tokens: Tokens | None = None
    """Judges JWTs; None where only keys are accepted."""
