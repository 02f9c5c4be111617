"""What the sender expects of a provider."""

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
        """Return the result of each message, in order; an error means that none of their outcomes is known."""
        ...


@runtime_checkable
class Askable(Provider, Protocol):
    """A provider that can be asked what became of a message."""

    @property
    def absent_after(self) -> timedelta | None:
        """Return how long after an attempt its absence proves it was never accepted; None if absence proves nothing."""
        ...

    async def look_up(self, question: Question) -> Search | None:
        """Return what it has that may be the message; None if it did not answer."""
        ...


@runtime_checkable
class Queryable(Provider, Protocol):
    """A provider that can be asked about a message by the name it gave."""

    async def query(self, name: str) -> Receipt | None:
        """Return how the message or part has ended; None if it has not, or nobody can say."""
        ...
