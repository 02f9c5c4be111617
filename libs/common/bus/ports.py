"""What a bus is to the services: messages out, batches in."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from libs.common import logs
from libs.common.errors import DeadLetterLimitError, TransientError

Headers = tuple[tuple[str, bytes], ...]

LIMIT_WINDOW = timedelta(minutes=10)


def partition_of(tenant: str, of: str, partitions: int) -> int:
    """Return the partition of everything about this borrower (or loan) of this tenant, on any of our topics."""
    return zlib.crc32(f"{tenant}/{of}".encode()) % partitions


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An outgoing CloudEvent in binary mode."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message as read from the bus."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    at: datetime

    def header(self, name: str) -> str | None:
        """Return a header's text, or None."""
        for key, value in self.headers:
            if key == name:
                return value.decode(errors="replace")
        return None


class UndeliveredError(TransientError):
    """Messages of these (topic, partition) pairs could not be made durable now; those of other partitions are."""

    def __init__(self, why: str, places: Collection[tuple[str, int]]) -> None:
        super().__init__(why)
        self.places = frozenset(places)


Handler = Callable[[AsyncConnection, Sequence[Record]], Awaitable[None]]
"""Processes a batch of one partition (or of several of one topic, see `Subscription.joins_ms`) in the transaction that also moves its
position."""


@dataclass(slots=True)
class DeadLetterBudget:
    """How many bad records of a topic may be dead-lettered in ten minutes before the topic stops, whoever finds them bad."""

    limit: int = 100
    seen: dict[str, dict[tuple[int, int], datetime]] = field(default_factory=dict)
    """By topic: when the record at (partition, offset) was dead-lettered, oldest first."""
    spent: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many were dead-lettered in total, by topic and reason."""

    def spend(self, record: Record, reason: str) -> None:
        """Count a record, once however often its batch is retried; DeadLetterLimitError if the topic has no budget left."""
        recent = self.seen.setdefault(record.topic, {})
        for place, at in list(recent.items()):
            if at >= record.at - LIMIT_WINDOW:
                break
            del recent[place]
        if (record.partition, record.offset) in recent:
            return
        if len(recent) >= self.limit:
            raise DeadLetterLimitError(f"{len(recent)} unusable records on {record.topic} in ten minutes")
        recent[record.partition, record.offset] = record.at
        self.spent[record.topic, reason] += 1

    def left(self, topic: str, now: datetime) -> float:
        """Return the share of the budget that is left at this moment, 0 to 1."""
        recent = [at for at in self.seen.get(topic, {}).values() if at >= now - LIMIT_WINDOW]
        return 1 - len(recent) / self.limit


@dataclass(frozen=True, slots=True)
class Subscription:
    """A consumer group of a service: its topics, their handler, and the database that holds both effects and positions."""

    group: str
    topics: tuple[str, ...]
    handler: Handler
    engine: AsyncEngine
    schema: str
    batch_records: int = 1000
    joins_ms: int | None = None
    """Set if the handler does not care which partitions of a topic its records come from: small batches of several partitions then share
    a transaction, and a broker with little to return may wait this long for more. None: one partition per batch."""
    after_commit: Callable[[], Awaitable[None]] | None = None
    """Called after a batch is committed, outside the transaction, to wake whoever waits for its effects."""
    on_went_back: Callable[[], Awaitable[None]] | None = None
    """Called when the bus knows of a later position than the database, i.e. the database was restored to an earlier state."""
    budget: DeadLetterBudget = field(default_factory=DeadLetterBudget)
    """Shared with a handler that dead-letters records itself."""


@dataclass(slots=True)
class Health:
    """How a consumer group is doing; read by readiness and metrics."""

    joined: bool = False
    last_error: str | None = None
    stopped_topics: set[str] = field(default_factory=set)
    lag: dict[tuple[str, int], int] = field(default_factory=dict)
    assigned: dict[str, int] = field(default_factory=dict)
    rebalances: int = 0
    progress_at: dict[tuple[str, int], datetime] = field(default_factory=dict)

    def note(self, error: Exception) -> None:
        """Remember the latest error."""
        self.last_error = f"{type(error).__name__}: {error}"

    def noting(self, event: str, **about: object) -> Callable[[Exception], None]:
        """Return a function that remembers an error and logs it."""

        def note(error: Exception) -> None:
            self.note(error)
            logs.get("bus").warning(event, **about, reason=str(self.last_error)[:300])

        return note


class BusWorker(Protocol):
    """A running consumer group."""

    subscription: Subscription
    health: Health

    async def run(self) -> None:
        """Consume until cancelled or stopped; an error raised here ends the process."""
        ...

    async def stop(self) -> None:
        """Finish the batches in progress and return."""
        ...

    async def observe(self) -> None:
        """Record in the positions the moment up to which everything on the bus is committed; a running worker does so by itself."""
        ...


class Bus(Protocol):
    """Publish and subscribe, at least once, in order within a partition."""

    partitions: int

    @property
    def reads_again(self) -> bool:
        """Return whether a group whose database went back gets again the records it had read since."""
        ...

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when all messages are durable; TransientError if that is not possible now, UndeliveredError if only some are."""
        ...

    def consume(self, subscription: Subscription) -> BusWorker:
        """Return the worker of a consumer group; `run` starts it."""
        ...

    async def count_partitions(self, topics: Sequence[str]) -> int:
        """Return how many partitions these topics have in total."""
        ...

    async def behind(self, topic: str, groups: Sequence[str]) -> int:
        """Return how many records of a topic the slowest of these groups still has to consume; groups that never read it do not count."""
        ...

    async def ready(self) -> str | None:
        """Return None if the bus answers, else why it does not."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
