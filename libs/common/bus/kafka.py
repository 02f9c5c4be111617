"""The bus on Apache Kafka: the only file that knows aiokafka.

Its known faults are handled here: consumers that silently go deaf (a watchdog ends the process), producers that stay broken after a
sequence error (a new one is made), topics whose creation fails without an exception (the response is checked), and group offsets
that mean nothing after a restore (the database's position decides).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import IllegalStateError, KafkaError

from libs.common import logs
from libs.common.bus.batches import let_go, record_of, send, undelivered
from libs.common.bus.clients import Kept, begun
from libs.common.bus.consumer import Intake
from libs.common.bus.fetching import Fetched, Fetching
from libs.common.bus.hands import Hands, parts_of
from libs.common.bus.marks import Standing
from libs.common.bus.ports import Health, Message, Record, Subscription
from libs.common.bus.topics import TopicSpec
from libs.common.clock import Clock, pause, stopwatch
from libs.common.db import positions
from libs.common.db.failures import is_transient
from libs.common.errors import DeadLetterLimitError, PositionMovedError, TransientError
from libs.common.outbox import Outbox
from libs.common.repeating import patiently

T = TypeVar("T")
Askers = tuple[AIOKafkaConsumer, AIOKafkaAdminClient]
POLL_MS = 500
OBSERVE_S = 1.0
COMMIT_EVERY_S = 1.0
DEAF_AFTER_S = 60.0
STOP_WITHIN_S = 5.0
ANSWERS_WITHIN_S = 5.0
METADATA_BACKOFF_MS = 5  # a client that has never asked for a topic learns of it only after this pause
SESSION_TIMEOUT_MS = 15_000
PUBLISH_WITHIN_S = 20.0
BATCH_BYTES = 512 * 1024
FETCH_WAIT_MS = 100
ENOUGH_BYTES = 64 * 1024  # with this much to return, a broker does not wait for more
BATCHES_AT_ONCE = 3
TOPIC_IS_THERE = 36
_OF_THE_BROKER = (KafkaError, TimeoutError)
_PASSING = (KafkaError, TransientError, OSError)


class DeafConsumerError(Exception):
    """There are records, but none has arrived for a minute: only a new process helps."""


class KafkaBus:
    """Publish and subscribe on a broker."""

    reads_again = True

    def __init__(self, bootstrap: str, *, clock: Clock, client_id: str, partitions: int = 12) -> None:
        self.partitions = partitions
        self.clock = clock
        self.bootstrap = bootstrap
        self.client_id = client_id
        self._producer = Kept(self._new_producer, lambda producer: let_go(producer, within_s=STOP_WITHIN_S))
        self._askers = Kept(self._new_askers, _end_askers)

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when all messages are on all in-sync replicas; in order within a partition."""
        began = stopwatch()
        try:
            async with asyncio.timeout(PUBLISH_WITHIN_S):
                producer = await self._producer.live()
            failed = await send(producer, messages, within_s=PUBLISH_WITHIN_S - (stopwatch() - began))
        except _PASSING as error:
            await self._producer.let_go()
            raise TransientError(f"the broker did not take {len(messages)} messages: {type(error).__name__} {error}") from error
        if not all(isinstance(error, TransientError) for error in failed.values()):
            # A producer that has lost its sequence stays broken, so the next call makes a new one; ids make the repeats harmless.
            await self._producer.let_go()
        if failed:
            raise undelivered(failed, passes=_PASSING)

    def consume(self, subscription: Subscription) -> KafkaWorker:
        """Return the worker of a consumer group."""
        return KafkaWorker(self, subscription)

    async def count_partitions(self, topics: Sequence[str]) -> int:
        """Return how many partitions these topics have in total on the broker."""
        try:
            async with asyncio.timeout(PUBLISH_WITHIN_S):
                producer = await self._producer.live()
                return sum([len(await producer.partitions_for(topic)) for topic in topics])
        except _PASSING as error:
            raise TransientError(f"the broker does not say how its topics are spread: {type(error).__name__} {error}") from error

    async def behind(self, topic: str, groups: Sequence[str]) -> int:
        """Return how many records the slowest of these groups still has to consume, by the offsets it committed to the broker lately."""
        places = [TopicPartition(topic, n) for n in range(self.partitions)]
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                consumer, admin = await self._askers.live()
                told = [await admin.list_consumer_group_offsets(group, partitions=places) for group in groups]
                ends = await consumer.end_offsets(places)
        except _PASSING as error:
            await self._askers.let_go()
            raise TransientError(f"the broker does not say how far {groups} are: {type(error).__name__} {error}") from error
        return max(sum(max(0, int(ends[tp] - at.offset)) for tp, at in one.items() if at.offset >= 0) for one in told)

    async def ready(self) -> str | None:
        """Return None if the broker answers, else why not."""
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                producer = await self._producer.live()
                await producer.client.fetch_all_metadata()
        except _PASSING as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None

    async def close(self) -> None:
        """Close the clients."""
        await self._producer.let_go()
        await self._askers.let_go()

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.bootstrap, client_id=self.client_id, enable_idempotence=True, acks="all",
            max_batch_size=BATCH_BYTES, request_timeout_ms=15_000, max_request_size=8 * BATCH_BYTES,
        )  # fmt: skip
        await begun(producer.start, producer.stop)
        return producer

    async def _new_askers(self) -> Askers:
        """Return a consumer, which can ask where topics end, and an admin client, which can ask how far groups are."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, client_id=self.client_id, retry_backoff_ms=METADATA_BACKOFF_MS)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, client_id=self.client_id)
        await begun(lambda: asyncio.gather(consumer.start(), admin.start()), lambda: _end_askers((consumer, admin)))
        return consumer, admin


@dataclass(slots=True)
class KafkaWorker:
    """One member of a consumer group."""

    bus: KafkaBus
    subscription: Subscription
    health: Health = field(default_factory=Health)
    deaf_after_s: float = DEAF_AFTER_S
    _intake: Intake = field(init=False)
    _consumer: AIOKafkaConsumer = field(init=False)
    _standing: Standing[TopicPartition] = field(default_factory=Standing)
    _unplaced: set[TopicPartition] = field(default_factory=set)
    """Assigned, but not yet moved to the database's position."""
    _hands: Hands[TopicPartition] = field(default_factory=lambda: Hands(BATCHES_AT_ONCE))
    _fetching: Fetching[TopicPartition] = field(init=False)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._intake = Intake(self.subscription, Outbox(self.subscription.schema))

    async def run(self) -> None:
        """Consume until stopped; an error raised here ends the process."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bus.bootstrap, client_id=self.bus.client_id, group_id=self.subscription.group,
            enable_auto_commit=False, auto_offset_reset="earliest", session_timeout_ms=SESSION_TIMEOUT_MS,
            max_partition_fetch_bytes=4 * 1024 * 1024, fetch_max_wait_ms=self.subscription.joins_ms or FETCH_WAIT_MS,
            fetch_min_bytes=1 if self.subscription.joins_ms is None else ENOUGH_BYTES,
        )  # fmt: skip
        self._fetching = Fetching(self._consumer, self.subscription.batch_records, self._standing.movement)
        self._consumer.subscribe(topics=list(self.subscription.topics), listener=_Rebalance(self))
        await self._started()
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch())
                await self._consume(tasks)
                watching.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # the cause itself, not the group around it
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_WITHIN_S):
                    await self._commit()
                    await self._consumer.stop()

    async def stop(self) -> None:
        """Finish the batches in progress and return."""
        self._stop.set()
        async with self._hands.still():
            return

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Finish the batches in progress, then forget these partitions: another member resumes from the database's position."""
        self.health.rebalances += 1
        async with self._hands.still():
            await self._commit()
            for tp in partitions:
                self._unplaced.discard(tp)
                self._standing.forget(tp)

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Leave the placing to the consuming loop: the client swallows an error raised here, and nobody would read these partitions."""
        self._unplaced.update(partitions)
        if not self._unplaced:
            self._note_assigned()

    async def observe(self) -> None:
        """Record the moment up to which everything on the bus is committed, and how far behind this member is."""
        async with self.subscription.engine.begin() as conn:
            seen_at = await self.bus.clock.at(conn)
        mine = list(self._standing.expected)
        ends = await self._consumer.end_offsets(mine) if mine else {}
        self.health.lag = {(tp.topic, tp.partition): max(0, ends[tp] - self._standing.expected.get(tp, ends[tp])) for tp in mine}
        reached = self._standing.looked_at(ends, seen_at)
        async with self.subscription.engine.begin() as conn:
            await positions.caught_up(conn, self.subscription.schema, [(self._place_of(tp), *mark) for tp, mark in reached])
        self._find_deafness(ends)

    async def _started(self) -> None:
        """Start the consumer, retrying while the broker cannot be reached."""
        await patiently(self._consumer.start, self._stop, passes=lambda e: isinstance(e, KafkaError | OSError), note=self.health.note)

    async def _consume(self, tasks: asyncio.TaskGroup) -> None:
        committed_at = stopwatch()
        while not self._stop.is_set():
            if self._unplaced:
                await self._place_patiently()
            stood = dict(self._standing.expected)
            free = self._hands.free(stood)
            timeout_ms = POLL_MS if self._hands.empty else 0
            asks = free or not stood  # naming no partition means all of them, even those in progress
            fetched = await self._fetching.next(free, timeout_ms=timeout_ms) if asks else {}
            for part in parts_of(fetched, topics=self.subscription.joins_ms is not None):
                await self._hands.begin(tasks, list(part), partial(self._take_what_comes_next, part, stood))
            if not fetched:
                await self._hands.one_done()
            if stopwatch() - committed_at > COMMIT_EVERY_S:
                await self._commit()
                committed_at = stopwatch()

    async def _take_what_comes_next(self, part: Fetched[TopicPartition], stood: Mapping[TopicPartition, int]) -> None:
        """Process rows, except those fetched before a rebalance or a jump: they will be fetched again."""
        still = [tp for tp in part if tp in stood and self._standing.expected.get(tp) == stood[tp] and not self._stop.is_set()]
        read = {tp: [record for row in part[tp] if (record := record_of(row)).offset >= stood[tp]] for tp in still}
        batches = {tp: batch for tp, batch in read.items() if batch}
        if len(batches) > 1 and await self._take_together(batches):
            return
        for tp, batch in batches.items():
            await self._take(tp, batch)

    async def _take_together(self, batches: Mapping[TopicPartition, Sequence[Record]]) -> bool:
        """Process batches of several partitions at once; False if each must go alone (a bad record, or a position that has moved)."""
        for tp, batch in batches.items():
            await self._note_gap(tp, batch[0].offset)
        expected = [self._standing.expected[tp] for tp in batches]
        took = await self._patiently(lambda: self._intake.take_together(list(batches.values()), expected), next(iter(batches)))
        if took:
            for tp, batch in batches.items():
                self._reached(tp, batch[-1].offset + 1)
        return took is not False  # None: the stop came first

    async def _place_patiently(self) -> None:
        """Move new partitions to the database's position, retrying while the database or the broker cannot be reached."""
        began = stopwatch()

        def passes(error: Exception) -> bool:
            of_the_broker = isinstance(error, _OF_THE_BROKER)
            if of_the_broker and stopwatch() - began > self.deaf_after_s:
                raise DeafConsumerError(f"no position could be found for {len(self._unplaced)} partitions: {error}") from error
            return of_the_broker or is_transient(error)

        await patiently(self._place, self._stop, passes=passes, note=self.health.noting("placing_retried"))

    async def _place(self) -> None:
        """Seek to the database's position, or to the group's offset if that is lower; tell the owner once if the database went back."""
        async with self._hands.still():
            new = sorted(self._unplaced)
            if not new:
                return
            begins, ends = await self._consumer.beginning_offsets(new), await self._consumer.end_offsets(new)
            committed = {tp: await self._consumer.committed(tp) for tp in new}
            found = {tp: await self._intake.read_on(self._place_of(tp), positions.Log(begins[tp], ends[tp], committed[tp])) for tp in new}
            if any(went_back for _, went_back in found.values()):
                await self._tell_went_back()
            for tp, (start, _) in found.items():
                self._go_to(tp, start)
            self._unplaced.difference_update(new)
            self._note_assigned()

    def _note_assigned(self) -> None:
        self.health.joined = True
        self.health.assigned = {t: sum(tp.topic == t for tp in self._standing.expected) for t in self.subscription.topics}

    async def _tell_went_back(self) -> None:
        logs.get("bus").error("database_went_back", group=self.subscription.group)
        if self.subscription.on_went_back is not None:
            await self.subscription.on_went_back()

    async def _take(self, tp: TopicPartition, batch: Sequence[Record]) -> None:
        await self._note_gap(tp, batch[0].offset)
        try:
            next_offset = await self._patiently(lambda: self._intake.take(batch, expected=self._standing.expected[tp]), tp)
            if next_offset is not None:
                self._reached(tp, next_offset)
        except PositionMovedError as moved:
            if moved.next_offset < self._standing.expected[tp]:  # a failover has lost what we had committed
                await self._tell_went_back()
            self._go_to(tp, moved.next_offset)
        except DeadLetterLimitError as error:
            self.health.stopped_topics.add(tp.topic)
            self.health.last_error = str(error)
            self._consumer.pause(*[mine for mine in self._standing.expected if mine.topic == tp.topic])
            self._go_to(tp, self._standing.expected[tp])
            logs.get("bus").error("topic_stopped", topic=tp.topic, reason=str(error))

    async def _note_gap(self, tp: TopicPartition, offset: int) -> None:
        """Log records that were deleted before they were read; gaps after the log's beginning are compaction, and harmless."""
        position = self._standing.expected[tp]
        if offset <= position:
            return
        begins = (await self._consumer.beginning_offsets([tp]))[tp]
        if begins > position:
            logs.get("bus").error("records_missing", topic=tp.topic, partition=tp.partition, position=position, begins=begins, ends=offset)

    async def _patiently(self, take: Callable[[], Awaitable[T]], tp: TopicPartition) -> T | None:
        """Process a batch, retrying while the database cannot be reached (the watchdog bounds that); None if stopped first."""
        note = self.health.noting("batch_retried", topic=tp.topic, partition=tp.partition)
        return await patiently(take, self._stop, passes=is_transient, note=note)

    def _reached(self, tp: TopicPartition, next_offset: int) -> None:
        self._standing.reached(tp, next_offset)
        self.health.progress_at[tp.topic, tp.partition] = self.bus.clock.now()

    async def _watch(self) -> None:
        while not self._stop.is_set():
            await pause(self._stop, OBSERVE_S)
            try:
                await self.observe()
            except Exception as error:
                if not (isinstance(error, _OF_THE_BROKER) or is_transient(error)):
                    raise
                self._standing.movement.unseen()
                self.health.note(error)

    def _find_deafness(self, ends: dict[TopicPartition, int]) -> None:
        for tp, end in ends.items():
            behind = end > self._standing.expected.get(tp, end) and tp.topic not in self.health.stopped_topics
            if self._standing.movement.is_lost(tp, behind=behind, after_s=self.deaf_after_s):
                raise DeafConsumerError(f"{tp.topic}/{tp.partition} stands at {self._standing.expected.get(tp)}, the log ends at {end}")

    def _go_to(self, tp: TopicPartition, offset: int) -> None:
        self._standing.go_to(tp, offset)
        self._consumer.seek(tp, offset)

    async def _commit(self) -> None:
        """Commit the group's offsets to the broker; for dashboards only, so a refusal does no harm."""
        if offsets := self._standing.take_uncommitted():
            with contextlib.suppress(KafkaError, IllegalStateError):
                await self._consumer.commit(offsets)

    def _place_of(self, tp: TopicPartition) -> positions.Place:
        return positions.Place(self.subscription.group, tp.topic, tp.partition)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    def __init__(self, worker: KafkaWorker) -> None:
        self._worker = worker

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._worker.revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._worker.assigned(assigned)


async def _end_askers(askers: Askers) -> None:
    consumer, admin = askers
    await asyncio.gather(consumer.stop(), admin.close(), return_exceptions=True)


async def make_topics(bootstrap: str, specs: Sequence[TopicSpec], *, replication: int = 1) -> list[str]:
    """Create the missing topics and return their names; a refusal by the broker is an error."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in existing]
        wanted = [NewTopic(spec.name, spec.partitions, replication, topic_configs=dict(spec.settings)) for spec in missing]
        answer = await admin.create_topics(wanted) if wanted else None
        if refused := [e for e in (answer.topic_errors if answer else ()) if e[1] not in (0, TOPIC_IS_THERE)]:
            raise TransientError(f"the broker refused topics: {refused}")
        return [spec.name for spec in missing]
    finally:
        await admin.close()
