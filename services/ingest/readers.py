"""How far those are who read the facts: what is not urgent waits for them."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common import logs
from libs.common.bus.ports import Bus
from libs.common.contracts.catalogue import FACTS, group_of
from libs.common.errors import TransientError

GROUPS = tuple(group_of(service) for service in FACTS.consumers)


@dataclass(frozen=True, slots=True)
class Readers:
    """The services that take facts in."""

    bus: Bus

    async def untaken(self) -> int:
        """Return how many facts the slowest of them has still to take; 0 where the broker does not say, since timers go on without it."""
        try:
            return await self.bus.behind(FACTS.name, GROUPS)
        except TransientError as error:
            logs.get("ingest").warning("readers_unknown", reason=str(error)[:300])
            return 0
