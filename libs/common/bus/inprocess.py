"""The bus inside one process: `publish` returns once every consumer group has committed.

Its seeded mode behaves like a broker on a bad day instead: records are delayed or come twice, and topics overtake each other, while
each partition keeps its order; `step` delivers one batch, chosen by the seed.
"""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from libs.common.bus.consumer import Intake
from libs.common.bus.marks import Marks
from libs.common.bus.ports import Health, Message, Record, Subscription, UndeliveredError
from libs.common.clock import Clock, stopwatch
from libs.common.db import positions
from libs.common.db.failures import is_transient
from libs.common.errors import DeadLetterLimitError, PositionMovedError, TransientError
from libs.common.outbox import Outbox

OBSERVE_S = 1.0
REPEAT_SHARE = 0.15
RETRY_S = 0.2


@dataclass(slots=True)
class _Ticket:
    """What a publisher waits for: one group has committed all its records."""

    remaining: int
    done: asyncio.Future[None]

    def commit_one(self) -> None:
        self.remaining -= 1
        if self.remaining == 0 and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: BaseException) -> None:
        if not self.done.done():
            self.done.set_exception(TransientError(f"the consumer stopped: {error}"))


@dataclass(slots=True)
class _Waiting:
    message: Message
    ticket: _Ticket | None


class InProcessBus:
    """Publish and subscribe without a broker; `seed` turns on the seeded mode."""

    reads_again = False

    def __init__(self, *, clock: Clock, partitions: int = 4, seed: int | None = None) -> None:
        self.partitions = partitions
        self.clock = clock
        self._groups: list[InProcessWorker] = []
        self._random = None if seed is None else random.Random(seed)  # noqa: S311  # reproducible, not secret

    async def publish(self, messages: Sequence[Message]) -> None:
        """Hand the messages to every group that reads their topics; wait for the commits unless seeded."""
        if self._random is not None:
            for group in self._groups:
                wanted = [m for m in messages if m.topic in group.topics]
                group.offer([m for m in wanted for _ in range(1 + (self._random.random() < REPEAT_SHARE))], None)
            return
        by_topic: dict[str, list[Message]] = defaultdict(list)
        for message in messages:
            by_topic[message.topic].append(message)
        failed = {topic: why for topic in by_topic if (why := self._refused(topic)) is not None}
        tickets = [(t, self._offer(group, mine)) for t, mine in by_topic.items() if t not in failed for group in self._readers(t)]
        for topic, ticket in tickets:
            try:
                await ticket.done
            except TransientError as error:
                failed[topic] = str(error)
        if failed:
            places = [(m.topic, m.partition) for m in messages if m.topic in failed]
            raise UndeliveredError("; ".join(failed.values()), places)

    def _readers(self, topic: str) -> list[InProcessWorker]:
        return [group for group in self._groups if topic in group.topics]

    def _refused(self, topic: str) -> str | None:
        """Return why a topic cannot be consumed now, or None: nobody must wait for a commit that will not come."""
        return next((why for group in self._readers(topic) if (why := group.refuses(topic)) is not None), None)

    @staticmethod
    def _offer(group: InProcessWorker, messages: Sequence[Message]) -> _Ticket:
        ticket = _Ticket(len(messages), asyncio.get_running_loop().create_future())
        group.offer(messages, ticket)
        return ticket

    def consume(self, subscription: Subscription) -> InProcessWorker:
        """Return the worker of a consumer group."""
        worker = InProcessWorker(self, subscription)
        self._groups.append(worker)
        return worker

    async def step(self) -> bool:
        """Deliver one batch of one partition of one group, chosen by the seed; False if nothing is waiting."""
        if self._random is None:
            raise RuntimeError("only a seeded bus can be stepped")
        choices = [(g, place) for g in self._groups for place in g.waiting_places()]
        if not choices:
            return False
        group, place = self._random.choice(sorted(choices, key=lambda c: (c[0].subscription.group, c[1])))
        await group.deliver(place, self._random.randint(1, 8))
        return True

    async def count_partitions(self, topics: Sequence[str]) -> int:
        """Return how many partitions these topics have in total."""
        return len(topics) * self.partitions

    async def behind(self, topic: str, groups: Sequence[str]) -> int:
        """Return how many records are waiting for the group that has most of them waiting."""
        return max((group.waits(topic) for group in self._groups if group.subscription.group in groups), default=0)

    async def ready(self) -> str | None:
        """Return None while every group's worker lives."""
        stopped = [g.subscription.group for g in self._groups if g.closed]
        return f"stopped: {', '.join(stopped)}" if stopped else None

    async def close(self) -> None:
        """Do nothing: there are no resources to release."""


@dataclass(slots=True)
class InProcessWorker:
    """One consumer group in this process."""

    bus: InProcessBus
    subscription: Subscription
    health: Health = field(default_factory=Health)
    closed: bool = False
    topics: frozenset[str] = field(init=False)
    _intake: Intake = field(init=False)
    _queues: dict[tuple[str, int], deque[_Waiting]] = field(default_factory=dict)
    _next: dict[tuple[str, int], int] = field(default_factory=dict)
    _work: asyncio.Event = field(default_factory=asyncio.Event)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    _marks: Marks[tuple[str, int]] = field(default_factory=Marks)
    _observed_at: float = 0.0

    def __post_init__(self) -> None:
        self.topics = frozenset(self.subscription.topics)
        self._intake = Intake(self.subscription, Outbox(self.subscription.schema))

    def offer(self, messages: Sequence[Message], ticket: _Ticket | None) -> None:
        """Queue messages for this group."""
        for message in messages:
            self._queues.setdefault((message.topic, message.partition), deque()).append(_Waiting(message, ticket))
        self._work.set()

    def refuses(self, topic: str) -> str | None:
        """Return why this topic is not consumed now, or None."""
        if self.closed:
            return f"{self.subscription.group} has stopped"
        return f"{self.subscription.group} has stopped consuming {topic}" if topic in self.health.stopped_topics else None

    def waiting_places(self) -> list[tuple[str, int]]:
        """Return the partitions on which records are waiting."""
        return sorted(place for place, queue in self._queues.items() if queue and place[0] not in self.health.stopped_topics)

    def waits(self, topic: str) -> int:
        """Return how many records of a topic are still to be consumed."""
        return sum(len(queue) for place, queue in self._queues.items() if place[0] == topic)

    async def run(self) -> None:
        """Consume until stopped; an error raised here ends the process."""
        await self.join()
        try:
            while not self._stop.is_set():
                self._work.clear()
                for place in self.waiting_places():
                    await self.deliver(place, self.subscription.batch_records)
                if not self.waiting_places():
                    await self._idle()
                await self._observe_once_a_second()
        except BaseException as error:
            self._fail(error)
            raise
        self.closed = True

    async def join(self) -> None:
        """Create the positions of all partitions, so that watermarks count them."""
        async with self.subscription.engine.begin() as conn:
            for topic in sorted(self.topics):
                for partition in range(self.bus.partitions):
                    place = positions.Place(self.subscription.group, topic, partition)
                    self._next[topic, partition] = await positions.start(conn, self.subscription.schema, place, bus_offset=0)
        self.health.joined = True
        self.health.assigned = dict.fromkeys(self.topics, self.bus.partitions)

    async def deliver(self, place: tuple[str, int], limit: int) -> None:
        """Process up to `limit` records of one partition."""
        if not self.health.joined:
            await self.join()
        async with self._busy:
            queue = self._queues[place]
            waiting = [queue[i] for i in range(min(limit, len(queue)))]
            if not waiting:
                return
            try:
                await self._take(place, waiting)
            except DeadLetterLimitError as error:
                self._stop_topic(place[0], error)
                return
            for entry in waiting:
                queue.popleft()
                if entry.ticket is not None:
                    entry.ticket.commit_one()
            self.health.progress_at[place] = self.bus.clock.now()

    async def _take(self, place: tuple[str, int], waiting: Sequence[_Waiting]) -> None:
        """Commit one batch; if the position has moved meanwhile, renumber the records and try again."""
        left = list(waiting)
        while left:
            first, now = self._next[place], self.bus.clock.now()
            batch = [
                Record(place[0], place[1], first + i, e.message.key, e.message.value, e.message.headers, now) for i, e in enumerate(left)
            ]
            self._intake.reached = first
            try:
                self._next[place] = await self._intake.take(batch, expected=first)
            except PositionMovedError as moved:
                self._next[place] = moved.next_offset
                self._marks.forget(place)
            except Exception as error:
                if not is_transient(error):
                    raise
                self.health.last_error = f"{type(error).__name__}: {error}"
                left, self._next[place] = left[self._intake.reached - first :], self._intake.reached
                await asyncio.sleep(RETRY_S)
            else:
                return

    async def observe(self) -> None:
        """Record the moment up to which everything is committed."""
        self._observed_at = stopwatch()
        async with self.subscription.engine.begin() as conn:
            seen_at = await self.bus.clock.at(conn)
            for place, at in self._next.items():
                self._marks.see(place, at + len(self._queues.get(place, ())), seen_at)
            reached = [(place, mark) for place, at in sorted(self._next.items()) if (mark := self._marks.passed(place, at)) is not None]
            ends = [(positions.Place(self.subscription.group, *place), *mark) for place, mark in reached]
            await positions.caught_up(conn, self.subscription.schema, ends)

    async def stop(self) -> None:
        """Finish the current batch and return."""
        self._stop.set()
        self._work.set()
        async with self._busy:
            self._fail(RuntimeError("shutting down"))

    async def _idle(self) -> None:
        try:
            async with asyncio.timeout(OBSERVE_S):
                await self._work.wait()
        except TimeoutError:
            return

    async def _observe_once_a_second(self) -> None:
        """Observe once a second, busy or not; a temporary failure is left to the next time."""
        if stopwatch() - self._observed_at < OBSERVE_S:
            return
        try:
            await self.observe()
        except Exception as error:
            if not is_transient(error):
                raise
            self.health.last_error = f"{type(error).__name__}: {error}"

    def _stop_topic(self, topic: str, error: Exception) -> None:
        self.health.stopped_topics.add(topic)
        self.health.last_error = str(error)
        self._drop([queue for (name, _), queue in self._queues.items() if name == topic], error)

    def _fail(self, error: BaseException) -> None:
        self.closed = True
        self._drop(self._queues.values(), error)

    @staticmethod
    def _drop(queues: Iterable[deque[_Waiting]], error: BaseException) -> None:
        for queue in queues:
            for entry in queue:
                if entry.ticket is not None:
                    entry.ticket.fail(error)
            queue.clear()
