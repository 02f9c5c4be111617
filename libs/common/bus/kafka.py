"""The bus on Apache Kafka: the only file that knows aiokafka.

Its known faults are met here: consumers that go silently deaf (a watchdog ends the process), producers that stay broken after a
sequence error (a fresh one is made), topics whose creation fails without an exception (the answer is read), and group offsets
that mean nothing after a restore (the database's position rules).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import IllegalStateError, KafkaError

from libs.common import logs
from libs.common.bus.batches import send
from libs.common.bus.consumer import Intake
from libs.common.bus.hands import Hands
from libs.common.bus.marks import Marks, Movement
from libs.common.bus.ports import Health, Message, Record, Subscription, UndeliveredError
from libs.common.bus.topics import TopicSpec
from libs.common.clock import Clock, pause, stopwatch
from libs.common.db import positions
from libs.common.db.failures import is_transient
from libs.common.errors import DeadLetterLimitError, PositionMovedError, TransientError
from libs.common.outbox import Outbox
from libs.common.repeating import patiently

POLL_MS = 500
OBSERVE_S = 1.0
COMMIT_EVERY_S = 1.0
DEAF_AFTER_S = 60.0
STOP_WITHIN_S = 5.0
SESSION_TIMEOUT_MS = 15_000
PUBLISH_WITHIN_S = 20.0
BATCH_BYTES = 512 * 1024
BATCHES_AT_ONCE = 2


class DeafConsumerError(Exception):
    """There are records, and none has come for a minute: only a new process helps."""


class KafkaBus:
    """Publish and subscribe on a broker."""

    def __init__(self, bootstrap: str, *, clock: Clock, client_id: str, partitions: int = 12) -> None:
        self.partitions = partitions
        self.clock = clock
        self.bootstrap = bootstrap
        self.client_id = client_id
        self._producer: AIOKafkaProducer | None = None
        self._making = asyncio.Lock()

    async def publish(self, messages: Sequence[Message]) -> None:
        """Return when the broker has all of them on all in-sync replicas; in order within a partition."""
        began = stopwatch()
        try:
            async with asyncio.timeout(PUBLISH_WITHIN_S):
                producer = await self._live_producer()
            failed = await send(producer, messages, within_s=PUBLISH_WITHIN_S - (stopwatch() - began))
        except (KafkaError, TimeoutError, OSError) as error:
            await self._drop_producer()
            raise TransientError(f"the broker did not take {len(messages)} messages: {type(error).__name__} {error}") from error
        if failed:
            await self._tell_failed(failed)

    async def _tell_failed(self, failed: Mapping[tuple[str, int], BaseException]) -> None:
        for error in failed.values():
            if not isinstance(error, KafkaError | OSError | TransientError):  # a timeout is an OSError
                raise error
        if not all(isinstance(error, TransientError) for error in failed.values()):
            # A producer that has lost its sequence stays broken: the next call makes a new one; ids make the repeats harmless.
            await self._drop_producer()
        place, error = next(iter(failed.items()))
        why = f"the broker did not take the messages of {len(failed)} partitions, of {place} because of {type(error).__name__}: {error}"
        raise UndeliveredError(why, failed) from error

    def consume(self, subscription: Subscription) -> KafkaWorker:
        """Return the worker of a consumer group."""
        return KafkaWorker(self, subscription)

    async def count_partitions(self, topics: Sequence[str]) -> int:
        """Return over how many partitions these topics are spread on the broker."""
        producer = await self._live_producer()
        return sum([len(await producer.partitions_for(topic)) for topic in topics])

    async def ready(self) -> str | None:
        """Return None when the broker answers, else why not."""
        try:
            async with asyncio.timeout(5):
                producer = await self._live_producer()
                await producer.client.fetch_all_metadata()
        except (KafkaError, TimeoutError, OSError) as error:
            return f"{type(error).__name__}: {error}"[:200]
        return None

    async def close(self) -> None:
        """Let go of the producer."""
        await self._drop_producer()

    async def _live_producer(self) -> AIOKafkaProducer:
        async with self._making:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self.bootstrap, client_id=self.client_id, enable_idempotence=True, acks="all",
                    max_batch_size=BATCH_BYTES, request_timeout_ms=15_000, max_request_size=8 * BATCH_BYTES,
                )  # fmt: skip
                try:
                    await producer.start()
                except BaseException:
                    with contextlib.suppress(Exception):
                        await producer.stop()
                    raise
                self._producer = producer
            return self._producer

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_WITHIN_S):
                    await producer.stop()


@dataclass(slots=True)
class KafkaWorker:
    """One member of a consumer group."""

    bus: KafkaBus
    subscription: Subscription
    health: Health = field(default_factory=Health)
    deaf_after_s: float = DEAF_AFTER_S
    _intake: Intake = field(init=False)
    _consumer: AIOKafkaConsumer = field(init=False)
    _expected: dict[TopicPartition, int] = field(default_factory=dict)
    _movement: Movement[TopicPartition] = field(default_factory=Movement)
    _marks: Marks[TopicPartition] = field(default_factory=Marks)
    _uncommitted: dict[TopicPartition, int] = field(default_factory=dict)
    _unplaced: set[TopicPartition] = field(default_factory=set)
    """Assigned, and not yet brought to the database's position."""
    _hands: Hands[TopicPartition] = field(default_factory=lambda: Hands(BATCHES_AT_ONCE))
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self._intake = Intake(self.subscription, Outbox(self.subscription.schema))

    async def run(self) -> None:
        """Consume until stopped; what it raises ends the process."""
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=self.bus.bootstrap, client_id=self.bus.client_id, group_id=self.subscription.group,
            enable_auto_commit=False, auto_offset_reset="earliest", session_timeout_ms=SESSION_TIMEOUT_MS,
            max_partition_fetch_bytes=4 * 1024 * 1024, fetch_max_wait_ms=100,
        )  # fmt: skip
        self._consumer.subscribe(topics=list(self.subscription.topics), listener=_Rebalance(self))
        await self._started()
        try:
            async with asyncio.TaskGroup() as tasks:
                watching = tasks.create_task(self._watch())
                await self._consume(tasks)
                watching.cancel()
        except ExceptionGroup as group:
            raise group.exceptions[0] from None  # what it died of, by its name
        finally:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(STOP_WITHIN_S):
                    await self._commit()
                    await self._consumer.stop()

    async def stop(self) -> None:
        """Finish the batch in hand, hand over, return."""
        self._stop.set()
        async with self._hands.still():
            return

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Finish the batch in hand, then forget these partitions: somebody else goes on from the database's position."""
        self.health.rebalances += 1
        async with self._hands.still():
            await self._commit()
            for tp in partitions:
                self._unplaced.discard(tp)
                self._expected.pop(tp, None)
                self._movement.forget(tp)
                self._marks.forget(tp)

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """Leave it to the consuming loop to place them: the client swallows what fails here, and nobody would read them."""
        self._unplaced.update(partitions)
        if not self._unplaced:
            self._note_assigned()

    async def observe(self) -> None:
        """Note up to when everything that stood on the bus is committed, and how far behind this member is."""
        async with self.subscription.engine.begin() as conn:
            seen_at = await self.bus.clock.at(conn)
        mine = list(self._expected)
        ends = await self._consumer.end_offsets(mine) if mine else {}
        self.health.lag = {(tp.topic, tp.partition): max(0, ends[tp] - self._expected.get(tp, ends[tp])) for tp in mine}
        for tp in mine:
            self._marks.see(tp, ends[tp], seen_at)
        reached = [(tp, mark) for tp in sorted(mine) if (mark := self._marks.passed(tp, self._expected.get(tp, -1))) is not None]
        async with self.subscription.engine.begin() as conn:
            await positions.caught_up(conn, self.subscription.schema, [(self._place_of(tp), *mark) for tp, mark in reached])
        self._find_deafness(ends)

    async def _started(self) -> None:
        """Start the consumer, trying again while the broker cannot be reached."""
        await patiently(self._consumer.start, self._stop, passes=lambda e: isinstance(e, KafkaError | OSError), note=self._note_failure)

    def _note_failure(self, error: Exception) -> None:
        self.health.last_error = f"{type(error).__name__}: {error}"

    async def _consume(self, tasks: asyncio.TaskGroup) -> None:
        committed_at = stopwatch()
        while not self._stop.is_set():
            if self._unplaced:
                await self._place_patiently()
            stood = dict(self._expected)
            free = self._hands.free(stood)
            timeout_ms = POLL_MS if self._hands.empty else 0
            fetched = {}
            if free or not stood:  # no partition named means every one, those in hand too
                fetched = await self._consumer.getmany(*free, timeout_ms=timeout_ms, max_records=self.subscription.batch_records)
            for tp, rows in fetched.items():
                await self._hands.begin(tasks, tp, partial(self._take_what_comes_next, tp, rows, stood.get(tp)))
            if not fetched:
                await self._hands.one_done()
            if stopwatch() - committed_at > COMMIT_EVERY_S:
                await self._commit()
                committed_at = stopwatch()

    async def _take_what_comes_next(self, tp: TopicPartition, rows: Sequence[object], stood: int | None) -> None:
        """Take rows in, unless they were fetched before a rebalance or a jump: those will be fetched again."""
        if stood is not None and self._expected.get(tp) == stood and not self._stop.is_set():
            await self._take(tp, [_record(row) for row in rows])

    async def _place_patiently(self) -> None:
        """Bring what was assigned to where the database says, again and again while that or the broker cannot be reached."""
        began = stopwatch()

        def passes(error: Exception) -> bool:
            of_the_broker = _is_of_the_broker(error)
            if of_the_broker and stopwatch() - began > self.deaf_after_s:
                raise DeafConsumerError(f"no position could be found for {len(self._unplaced)} partitions: {error}") from error
            return of_the_broker or is_transient(error)

        def note(error: Exception) -> None:
            self._note_failure(error)
            logs.get("bus").warning("placing_retried", reason=str(self.health.last_error)[:300])

        await patiently(self._place, self._stop, passes=passes, note=note)

    async def _place(self) -> None:
        """Go to where the database says, or to the group's offset where that is lower; its owner is told once if it went back."""
        async with self._hands.still():
            new = sorted(self._unplaced)
            if not new:
                return
            begins, ends = await self._consumer.beginning_offsets(new), await self._consumer.end_offsets(new)
            committed = {tp: await self._consumer.committed(tp) for tp in new}
            found = {tp: await self._position(tp, committed[tp], begins[tp], ends[tp]) for tp in new}
            if any(went_back for _, went_back in found.values()):
                await self._tell_went_back()
            for tp, (start, _) in found.items():
                self._go_to(tp, start)
            self._unplaced.difference_update(new)
            self._note_assigned()

    def _note_assigned(self) -> None:
        self.health.joined = True
        self.health.assigned = {t: sum(tp.topic == t for tp in self._expected) for t in self.subscription.topics}

    async def _tell_went_back(self) -> None:
        logs.get("bus").error("database_went_back", group=self.subscription.group)
        if self.subscription.on_went_back is not None:
            await self.subscription.on_went_back()

    async def _take(self, tp: TopicPartition, fetched: Sequence[Record]) -> None:
        batch = [record for record in fetched if record.offset >= self._expected[tp]]
        if not batch:
            return
        if batch[0].offset > self._expected[tp]:
            await self._note_gap(tp, batch[0].offset)
        try:
            await self._take_patiently(tp, batch)
        except PositionMovedError as moved:
            if moved.next_offset < self._expected[tp]:  # it held what we had committed, and does no more: a failover lost it
                await self._tell_went_back()
            self._go_to(tp, moved.next_offset)
        except DeadLetterLimitError as error:
            self.health.stopped_topics.add(tp.topic)
            self.health.last_error = str(error)
            self._consumer.pause(*[mine for mine in self._expected if mine.topic == tp.topic])
            self._go_to(tp, self._expected[tp])
            logs.get("bus").error("topic_stopped", topic=tp.topic, reason=str(error))

    async def _note_gap(self, tp: TopicPartition, offset: int) -> None:
        """Say so when records were cut off the log before they were read; compaction leaves harmless gaps behind its beginning."""
        begins = (await self._consumer.beginning_offsets([tp]))[tp]
        if begins > self._expected[tp]:
            logs.get("bus").error(
                "records_missing", topic=tp.topic, partition=tp.partition, position=self._expected[tp], begins=begins, ends=offset
            )

    async def _take_patiently(self, tp: TopicPartition, batch: Sequence[Record]) -> None:
        """Take the batch in, again and again while the database cannot be reached; the watchdog bounds it."""

        def note(error: Exception) -> None:
            self._note_failure(error)
            logs.get("bus").warning("batch_retried", topic=tp.topic, partition=tp.partition, reason=str(self.health.last_error)[:300])

        async def take() -> int:
            return await self._intake.take(batch, expected=self._expected[tp])

        next_offset = await patiently(take, self._stop, passes=is_transient, note=note)
        if next_offset is not None:
            self._expected[tp] = self._uncommitted[tp] = next_offset
            self._movement.moved(tp)
            self.health.progress_at[tp.topic, tp.partition] = self.bus.clock.now()

    async def _position(self, tp: TopicPartition, committed: int | None, begins: int, ends: int) -> tuple[int, bool]:
        """Return where to read on, and whether the database is behind the group: then it went back."""
        async with self.subscription.engine.begin() as conn:
            log = positions.Log(begins, ends, committed)
            position, start = await positions.read_on(conn, self.subscription.schema, self._place_of(tp), log)
        about, wanted = {"topic": tp.topic, "partition": tp.partition}, positions.lower(position, committed)
        if not begins <= wanted <= ends:
            logs.get("bus").error("position_outside_the_log", **about, position=wanted, begins=begins, ends=ends)
        logs.get("bus").info("partition_assigned", **about, position=start, committed=committed)
        return start, committed is not None and position < committed

    async def _watch(self) -> None:
        while not self._stop.is_set():
            await pause(self._stop, OBSERVE_S)
            try:
                await self.observe()
            except Exception as error:
                if not (_is_of_the_broker(error) or is_transient(error)):
                    raise
                self._note_failure(error)

    def _find_deafness(self, ends: dict[TopicPartition, int]) -> None:
        for tp, end in ends.items():
            behind = end > self._expected.get(tp, end) and tp.topic not in self.health.stopped_topics
            if self._movement.stood_still_s(tp, behind=behind) > self.deaf_after_s:
                raise DeafConsumerError(f"{tp.topic}/{tp.partition} stands at {self._expected.get(tp)}, the log ends at {end}")

    def _go_to(self, tp: TopicPartition, offset: int) -> None:
        self._expected[tp] = offset
        self._marks.forget(tp)
        self._movement.moved(tp)
        self._consumer.seek(tp, offset)

    async def _commit(self) -> None:
        """Tell the broker where the group is; for dashboards only, so a refusal is no harm."""
        offsets = {tp: offset for tp, offset in self._uncommitted.items() if tp in self._expected}
        self._uncommitted.clear()
        if offsets:
            with contextlib.suppress(KafkaError, IllegalStateError):
                await self._consumer.commit(offsets)

    def _place_of(self, tp: TopicPartition) -> positions.Place:
        return positions.Place(self.subscription.group, tp.topic, tp.partition)


def _is_of_the_broker(error: Exception) -> bool:
    """Say whether the broker is at fault, which passes by itself."""
    return isinstance(error, KafkaError | TimeoutError)


class _Rebalance(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka is untyped
    def __init__(self, worker: KafkaWorker) -> None:
        self._worker = worker

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        await self._worker.revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self._worker.assigned(assigned)


async def make_topics(bootstrap: str, specs: Sequence[TopicSpec], *, replication: int = 1) -> list[str]:
    """Create what is missing, and return the names; a refusal by the broker is an error."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [spec for spec in specs if spec.name not in existing]
        answer = await admin.create_topics([_new_topic(spec, replication) for spec in missing]) if missing else None
        already = 36
        refused = [e for e in (answer.topic_errors if answer else ()) if e[1] not in (0, already)]
        if refused:
            raise TransientError(f"the broker refused topics: {refused}")
        return [spec.name for spec in missing]
    finally:
        await admin.close()


def _new_topic(spec: TopicSpec, replication: int) -> NewTopic:
    return NewTopic(spec.name, spec.partitions, replication, topic_configs=dict(spec.settings))


def _record(row: object) -> Record:
    at = datetime.fromtimestamp(row.timestamp / 1000, UTC)  # type: ignore[attr-defined]  # aiokafka is untyped
    headers = tuple((name, value or b"") for name, value in row.headers)  # type: ignore[attr-defined]  # a header may have no value
    return Record(row.topic, row.partition, row.offset, row.key, row.value, headers, at)  # type: ignore[attr-defined]
