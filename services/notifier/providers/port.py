"""What a provider is to the sender."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol, runtime_checkable

from services.notifier.domain.asking import Question, Search
from services.notifier.domain.message import OutgoingMessage
from services.notifier.domain.receipts import Receipt
from services.notifier.domain.results import Accepted, NotSent, Refused, Result, Unknown

__all__ = [
    "Accepted", "Askable", "NotSent", "OutgoingMessage", "Provider", "Queryable", "Question", "Refused", "Result", "Search", "Unknown",
]  # fmt: skip


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


@runtime_checkable
class Askable(Provider, Protocol):
    """A provider that can be asked what became of a message."""

    @property
    def absent_after(self) -> timedelta | None:
        """Return how long after an attempt what it has not was never taken; None where that proves nothing."""
        ...

    async def look_up(self, question: Question) -> Search | None:
        """Return what it has that may be the message; None where nobody has answered."""
        ...


@runtime_checkable
class Queryable(Provider, Protocol):
    """A provider that can be asked about a message by the name it gave it."""

    async def query(self, name: str) -> Receipt | None:
        """Return how the message or the part of it has ended; None where it has not, or nobody can say."""
        ...
