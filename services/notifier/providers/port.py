"""What a provider is to the sender."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown

__all__ = ["Accepted", "NotSent", "OutgoingMessage", "Provider", "Refused", "Result", "Unknown"]


class Provider(Protocol):
    """Carries messages of some channels to people, or to nobody (`sandbox`)."""

    @property
    def name(self) -> str:
        """Return its name."""
        ...

    @property
    def channels(self) -> tuple[str, ...]:
        """Return the channels it carries."""
        ...

    @property
    def sandbox(self) -> bool:
        """Return whether it reaches nobody."""
        ...

    async def deliver(self, batch: Sequence[OutgoingMessage]) -> list[Result]:
        """Return what became of each message, in their order; an error means that of none anything is known."""
        ...
