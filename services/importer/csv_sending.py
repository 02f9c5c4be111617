"""Sending events to ingest: several batches under way at once, tried again until they are acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, stop_after_delay, wait_random_exponential

from services.importer.client import AgainError, post
from services.importer.csv_checked import Event
from services.importer.csv_state import State

EVENTS = 500
BYTES = 4 * 1024 * 1024
AT_ONCE = 4
PATIENCE_S = 300.0

_backoff = wait_random_exponential(multiplier=0.5, max=20.0)


@dataclass(frozen=True, slots=True)
class Batch:
    """Events that are sent together."""

    number: int
    events: tuple[Event, ...]


def batches(events: Iterable[Event]) -> Iterator[Batch]:
    """Cut events into batches that ingest takes, always in the same places."""
    number, size, taken = 0, 0, list[Event]()
    for event in events:
        if taken and (len(taken) == EVENTS or size + len(event.body) > BYTES):
            yield Batch(number, tuple(taken))
            number, size, taken = number + 1, 0, []
        taken.append(event)
        size += len(event.body) + 1
    if taken:
        yield Batch(number, tuple(taken))


class Sender:
    """Sends what has not been acknowledged yet."""

    def __init__(self, client: httpx.AsyncClient, state: State, *, refused: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        """The client knows where ingest is; `refused` hears a line for each event that ingest refuses."""
        self._client = client
        self._state = state
        self._refused = refused
        self._again = AsyncRetrying(retry=retry_if_exception_type(AgainError), wait=_wait, stop=stop_after_delay(patience_s), reraise=True)

    async def send(self, events: Iterable[Event], told: Callable[[int], None]) -> None:
        """Send all of them; `told` hears how many have been acknowledged. Raises NotSentError."""
        waiting = batches(events)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(self._work(waiting, told))
        except ExceptionGroup as several:
            raise several.exceptions[0] from several
        self._state.finish()

    async def _work(self, waiting: Iterator[Batch], told: Callable[[int], None]) -> None:
        for batch in waiting:
            if not self._state.has(batch.number):
                answer: dict[str, Any] = await self._again.copy()(self._post, batch)
                for entry in answer["rejected"]:
                    event = batch.events[entry["index"]]
                    self._refused(f"{event.file} line {event.line}: ingest refuses it: {entry['error']}: {entry['detail']}")
                self._state.acknowledge(batch.number, len(answer["rejected"]))
            told(len(batch.events))

    async def _post(self, batch: Batch) -> Any:
        return (await post(self._client, b"\n".join(event.body for event in batch.events))).json()


def _wait(call: RetryCallState) -> float:
    """Wait longer each time, and never less than ingest asks for."""
    error = call.outcome.exception() if call.outcome else None
    return max(_backoff(call), error.after_s if isinstance(error, AgainError) else 0.0)
