"""Outgoing messages as prebuilt batches (a future per message would cost five times as much); incoming rows as records."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from libs.common.bus.ports import Message, Record, UndeliveredError
from libs.common.errors import TransientError

Place = tuple[str, int]
_LAST_MS = 253_402_300_799_999
"""The end of the calendar; a publisher's client may put any number into a record's timestamp."""


def record_of(row: Any) -> Record:
    """Convert a row of the Kafka client; a header may have no value."""
    headers = tuple([(name, value or b"") for name, value in row.headers])
    at = datetime.fromtimestamp(min(max(row.timestamp, 0), _LAST_MS) / 1000, UTC)
    return Record(row.topic, row.partition, row.offset, row.key, row.value, headers, at)


async def send(producer: Any, messages: Sequence[Message], *, within_s: float) -> Mapping[Place, BaseException]:
    """Send the messages, in order within a partition, and return the partitions that failed, each with the reason."""
    by_partition: dict[Place, list[Message]] = defaultdict(list)
    for message in messages:
        by_partition[message.topic, message.partition].append(message)
    tasks = {place: asyncio.ensure_future(_send_to(producer, place, part)) for place, part in by_partition.items()}
    try:
        if tasks:
            await asyncio.wait(tasks.values(), timeout=within_s)
        return {place: failed for place, task in tasks.items() if (failed := _failure(task)) is not None}
    finally:
        for task in tasks.values():
            task.cancel()


def undelivered(failed: Mapping[Place, BaseException], *, passes: tuple[type[BaseException], ...]) -> UndeliveredError:
    """Return the error for the publisher; a failure that is not temporary is raised as it is."""
    for error in failed.values():
        if not isinstance(error, passes):
            raise error
    place, error = next(iter(failed.items()))
    told = UndeliveredError(
        f"{len(failed)} partitions did not get their messages, {place} because of {type(error).__name__}: {error}", failed
    )
    told.__cause__ = error
    return told


async def let_go(producer: Any, *, within_s: float) -> None:
    """Close a producer after it has sent what it holds, or has run out of time to do so.

    Its own `stop` waits for that without limit, and an abandoned `stop` keeps trying, connections and all, for the life of the process.
    """
    producer._closed = True  # noqa: SLF001  # it has no public way to close without waiting
    for end in (producer.flush, producer.client.close, producer._sender.close):  # noqa: SLF001  # nor for its sender's
        with contextlib.suppress(Exception):
            async with asyncio.timeout(within_s):
                await end()


def _failure(task: asyncio.Future[None]) -> BaseException | None:
    if not task.done():
        return TimeoutError("no answer in time")
    return task.exception()


async def _send_to(producer: Any, place: Place, messages: Sequence[Message]) -> None:
    topic, partition = place
    if partition >= len(known := await producer.partitions_for(topic)):
        raise TransientError(f"{topic} has {len(known)} partitions, partition {partition} was asked for: check the number of partitions")
    futures, batch = [], producer.create_batch()
    for message in messages:
        if not _fits(batch, message):
            futures.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            _fits(batch, message)
    futures.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*futures)


def _fits(batch: Any, message: Message) -> bool:
    """Append a message to a batch; return whether there was room."""
    return batch.append(key=message.key, value=message.value, timestamp=None, headers=list(message.headers)) is not None
