"""How far the consumers of the facts are: what is not urgent waits for them."""

from __future__ import annotations

from dataclasses import dataclass

from libs.common import logs
from libs.common.bus.ports import Bus
from libs.common.contracts.catalogue import FACTS, group_of
from libs.common.errors import TransientError

GROUPS = tuple(group_of(service) for service in FACTS.consumers)


@dataclass(frozen=True, slots=True)
class Readers:
    """The services that consume facts."""

    bus: Bus

    async def untaken(self) -> int:
        """Return how many facts the slowest of them still has to consume; 0 if the broker does not say, since timers must go on."""
        try:
            return await self.bus.behind(FACTS.name, GROUPS)
        except TransientError as error:
            logs.get("ingest").warning("readers_unknown", reason=str(error)[:300])
            return 0
