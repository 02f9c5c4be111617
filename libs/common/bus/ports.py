"""What a bus is to the services: messages out, batches of one partition in."""

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
    """Return the partition of everything about this borrower (or loan) of this tenant, on any topic of ours."""
    return zlib.crc32(f"{tenant}/{of}".encode()) % partitions


class Message(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A CloudEvent on its way out, in binary mode."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class Record(msgspec.Struct, frozen=True, gc=False):
    """A message as it stands on the bus."""

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
    """Messages of these (topic, partition) could not be made durable now; those of other partitions are."""

    def __init__(self, why: str, places: Collection[tuple[str, int]]) -> None:
        super().__init__(why)
        self.places = frozenset(places)


Handler = Callable[[AsyncConnection, Sequence[Record]], Awaitable[None]]
"""Takes in a batch of one partition (or of several of one topic, see `Subscription.joins_ms`) inside the transaction that also moves its
position."""


@dataclass(slots=True)
class DeadLetterBudget:
    """How many bad records of a topic may be set aside in ten minutes before the topic stands still, whoever finds them bad."""

    limit: int = 100
    seen: dict[str, dict[tuple[int, int], datetime]] = field(default_factory=dict)
    """By topic: when the record at (partition, offset) was set aside, oldest first."""
    spent: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How many were ever set aside, by topic and reason."""

    def spend(self, record: Record, reason: str) -> None:
        """Count a record, once however often its batch is tried again; an error when the topic has no budget left."""
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
        """Return the share of the budget that a bad record of this moment would find, 0 to 1."""
        recent = [at for at in self.seen.get(topic, {}).values() if at >= now - LIMIT_WINDOW]
        return 1 - len(recent) / self.limit


@dataclass(frozen=True, slots=True)
class Subscription:
    """A consumer group of a service: its topics, what takes them in, and the database whose transaction holds both."""

    group: str
    topics: tuple[str, ...]
    handler: Handler
    engine: AsyncEngine
    schema: str
    batch_records: int = 1000
    joins_ms: int | None = None
    """Set where the handler does not care from which partitions of a topic its records are: small batches of several then share a
    transaction, and a broker that has little may wait so long for more. None: a batch is of one partition."""
    after_commit: Callable[[], Awaitable[None]] | None = None
    """Called when a batch is committed, outside the transaction: wakes whoever waits for its effects."""
    on_went_back: Callable[[], Awaitable[None]] | None = None
    """Called when the bus knows of a later position than the database: it was restored to an earlier moment."""
    budget: DeadLetterBudget = field(default_factory=DeadLetterBudget)
    """The one that a handler which sets records aside itself spends too."""


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
        """Remember what went wrong last."""
        self.last_error = f"{type(error).__name__}: {error}"

    def noting(self, event: str, **about: object) -> Callable[[Exception], None]:
        """Return what remembers an error, and logs it."""

        def note(error: Exception) -> None:
            self.note(error)
            logs.get("bus").warning(event, **about, reason=str(self.last_error)[:300])

        return note


class BusWorker(Protocol):
    """A running consumer group."""

    subscription: Subscription
    health: Health

    async def run(self) -> None:
        """Consume until cancelled or stopped; what it raises ends the process."""
        ...

    async def stop(self) -> None:
        """Finish the batch in hand, hand over, return."""
        ...

    async def observe(self) -> None:
        """Note in the positions up to when everything that stood on the bus is committed; the running worker does it by itself."""
        ...


class Bus(Protocol):
    """Publish and subscribe, at least once, in order within a partition."""

    partitions: int

    @property
    def reads_again(self) -> bool:
        """Return whether a group whose database went back is given again what it had read since."""
        ...

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when all of them are durable; TransientError when that cannot be had now, UndeliveredError where some are."""
        ...

    def consume(self, subscription: Subscription) -> BusWorker:
        """Return the worker of a consumer group; it starts when run."""
        ...

    async def count_partitions(self, topics: Sequence[str]) -> int:
        """Return over how many partitions these topics are spread."""
        ...

    async def behind(self, topic: str, groups: Sequence[str]) -> int:
        """Return how many records of a topic the group that is furthest behind has still to take, of those that have ever taken any."""
        ...

    async def ready(self) -> str | None:
        """Return None when the bus answers, else why it does not."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
