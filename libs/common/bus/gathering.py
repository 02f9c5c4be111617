"""Group commit: what arrives while a publish is under way goes out together in the next one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from libs.common.bus.ports import Message, UndeliveredError

ALONE = 100
"""This many messages form a group by themselves: they neither wait for others nor keep others waiting."""
TOGETHER = 10_000
"""A group with this many messages is full; later ones go into the next."""

Publish = Callable[[Sequence[Message]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Waiting:
    messages: Sequence[Message]
    durable: asyncio.Future[None]


@dataclass(slots=True)
class Gathering:
    """Publishes for many callers at once, small requests in groups and in order of arrival; each caller gets its own result."""

    together: Publish
    waits_s: float = 0.0
    """How long a group waits at most for as many callers as there were a moment ago: one that was just answered tends to come back."""
    _were_here: int = 0
    _all_came: asyncio.Event = field(default_factory=asyncio.Event)
    _waiting: deque[_Waiting] = field(default_factory=deque)
    _at_work: asyncio.Task[None] | None = None

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when these messages are durable, or raise why they are not, whatever happens to the rest of the group."""
        if not messages:
            return
        if len(messages) >= ALONE:
            await self.together(messages)
            return
        mine = _Waiting(messages, asyncio.get_running_loop().create_future())
        self._waiting.append(mine)
        if len(self._waiting) >= self._were_here:
            self._all_came.set()
        if self._at_work is None:
            self._at_work = asyncio.create_task(self._work_off())
        await mine.durable

    async def _work_off(self) -> None:
        try:
            while self._waiting:
                await self._wait_for_others()
                await self._publish_one_group()
        finally:
            self._at_work = None

    async def _wait_for_others(self) -> None:
        """Let the group grow to the size of the last one plus those that queued behind it: each group costs a round trip."""
        if len(self._waiting) >= self._were_here or not self.waits_s:
            return
        self._all_came.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.waits_s):
                await self._all_came.wait()

    async def _publish_one_group(self) -> None:
        group: list[_Waiting] = []
        size = 0
        while self._waiting and size < TOGETHER:
            one = self._waiting.popleft()
            if not one.durable.done():  # else its caller has gone, and knows that it was not published
                group.append(one)
                size += len(one.messages)
        try:
            if group:
                await self.together([message for one in group for message in one.messages])
        except Exception as error:  # noqa: BLE001  # any error belongs to the callers of this group; the next group goes on
            _answer(group, error)
        else:
            _answer(group, None)
        self._were_here = len(group) + len(self._waiting)


def _answer(group: Sequence[_Waiting], error: Exception | None) -> None:
    """Resolve each caller of the group; an error that names partitions concerns only those with messages there."""
    for one in group:
        if one.durable.done():  # its caller has gone
            continue
        if error is None or (isinstance(error, UndeliveredError) and not _concerned(one, error)):
            one.durable.set_result(None)
        else:
            one.durable.set_exception(error)


def _concerned(one: _Waiting, error: UndeliveredError) -> bool:
    return any((message.topic, message.partition) in error.places for message in one.messages)
