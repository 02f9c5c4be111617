"""Several batches in progress at once, each of different partitions: while one waits for the database, another is computed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

P = TypeVar("P")
"""A partition."""


class InTopic(Protocol):
    """A partition as clients name it."""

    @property
    def topic(self) -> str:
        """Return its topic."""
        ...


T = TypeVar("T", bound=InTopic)


def parts_of(fetched: Mapping[T, Sequence[object]], *, topics: bool) -> list[dict[T, Sequence[object]]]:
    """Group what was fetched by transaction: the batch of one partition, or all batches of one topic."""
    parts: dict[object, dict[T, Sequence[object]]] = {}
    for partition, rows in fetched.items():
        parts.setdefault(partition.topic if topics else partition, {})[partition] = rows
    return list(parts.values())


@dataclass(slots=True)
class Hands(Generic[P]):
    """Runs up to `most` batches at once, and one per partition."""

    most: int
    _at_work: dict[P, asyncio.Task[None]] = field(default_factory=dict)
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def empty(self) -> bool:
        """Return whether nothing is in progress."""
        return not self._at_work

    def free(self, partitions: Iterable[P]) -> list[P]:
        """Return the partitions that have no batch in progress."""
        return [partition for partition in partitions if partition not in self._at_work]

    async def begin(self, tasks: asyncio.TaskGroup, partitions: Sequence[P], work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a batch of these partitions as soon as a slot is free."""
        while len(set(self._at_work.values())) >= self.most:
            await self.one_done()
        async with self._turn:
            task = tasks.create_task(work())
            self._at_work.update(dict.fromkeys(partitions, task))
            task.add_done_callback(lambda _: self._let_go(partitions))

    def _let_go(self, partitions: Sequence[P]) -> None:
        for partition in partitions:
            del self._at_work[partition]

    async def one_done(self) -> None:
        """Wait until any batch in progress is done."""
        if self._at_work:
            await asyncio.wait(list(self._at_work.values()), return_when=asyncio.FIRST_COMPLETED)

    @asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Start no new batch; enter the block once all batches in progress are done."""
        async with self._turn:
            if self._at_work:
                await asyncio.wait(list(self._at_work.values()))
            yield
