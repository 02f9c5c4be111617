"""How far a consumer group is on a partition: written by compare-and-set in the transaction of the batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.errors import PositionMovedError


@dataclass(frozen=True, slots=True)
class Place:
    """A partition as one consumer group sees it."""

    group: str
    topic: str
    partition: int


async def start(conn: AsyncConnection, schema: str, place: Place, *, bus_offset: int) -> int:
    """Return where to resume: the database's position, created at `bus_offset` if there is none."""
    row = await conn.execute(
        text(
            f"insert into {schema}.positions as p (grp, topic, partition, next_offset)"  # the schema is ours
            " values (:group, :topic, :partition, :offset)"
            " on conflict (grp, topic, partition) do update set next_offset = p.next_offset returning next_offset"
        ),
        {"group": place.group, "topic": place.topic, "partition": place.partition, "offset": bus_offset},
    )
    return int(row.scalar_one())


async def find(conn: AsyncConnection, schema: str, place: Place) -> int | None:
    """Return the database's position, or None if there is none yet."""
    row = await conn.execute(
        text(f"select next_offset from {schema}.positions where grp = :group and topic = :topic and partition = :partition"),
        {"group": place.group, "topic": place.topic, "partition": place.partition},
    )
    found = row.scalar_one_or_none()
    return None if found is None else int(found)


async def move(  # a partition and its new position
    conn: AsyncConnection, schema: str, place: Place, *, expected: int, next_offset: int, record_at: datetime | None
) -> None:
    """Set the next offset if it is still the expected one; PositionMovedError if another member is ahead (or the database went back)."""
    moved = await conn.execute(
        text(
            f"update {schema}.positions set next_offset = :next, record_at = :record_at"
            " where grp = :group and topic = :topic and partition = :partition and next_offset = :expected"
        ),
        {
            "next": next_offset, "record_at": record_at, "expected": expected,
            "group": place.group, "topic": place.topic, "partition": place.partition,
        },
    )  # fmt: skip
    if moved.rowcount != 1:
        found = await find(conn, schema, place)
        raise PositionMovedError(found if found is not None else 0)


@dataclass(frozen=True, slots=True)
class Step:
    """A partition's step from the expected offset to the one after its batch."""

    topic: str
    partition: int
    expected: int
    next_offset: int
    record_at: datetime


async def move_together(conn: AsyncConnection, schema: str, group: str, steps: Sequence[Step]) -> bool:
    """Set the next offsets of several partitions; return whether all were as expected. Rows are locked in key order."""
    moved = await conn.execute(
        text(
            f"update {schema}.positions p set next_offset = m.next_offset, record_at = m.record_at"
            " from (select q.topic, q.partition, s.next_offset, s.record_at"
            f" from {schema}.positions q join unnest(cast(:topics as text[]), cast(:partitions as int[]), cast(:expected as bigint[]),"
            " cast(:next as bigint[]), cast(:moments as timestamptz[])) as s(topic, partition, expected, next_offset, record_at)"
            " on q.grp = :group and (q.topic, q.partition, q.next_offset) = (s.topic, s.partition, s.expected)"
            " order by q.topic, q.partition for update of q) as m"
            " where p.grp = :group and (p.topic, p.partition) = (m.topic, m.partition)"
        ),
        {
            "group": group, "topics": [s.topic for s in steps], "partitions": [s.partition for s in steps],
            "expected": [s.expected for s in steps], "next": [s.next_offset for s in steps], "moments": [s.record_at for s in steps],
        },
    )  # fmt: skip
    return moved.rowcount == len(steps)


@dataclass(frozen=True, slots=True)
class Log:
    """The bounds of a partition's log, and the offset that the group has committed to the broker."""

    begins: int
    ends: int
    committed: int | None


def lower(position: int, committed: int | None) -> int:
    """Return the lower of the database's position and the group's offset: what lies between is read again, which does no harm."""
    return position if committed is None else min(position, committed)


async def read_on(conn: AsyncConnection, schema: str, place: Place, log: Log) -> tuple[int, int]:
    """Return the database's position as found, and where to resume, which is now its position.

    A position outside the log is moved to the log's beginning.
    """
    position = await start(conn, schema, place, bus_offset=log.begins)
    wanted = lower(position, log.committed)
    chosen = wanted if log.begins <= wanted <= log.ends else log.begins
    if chosen != position:
        await jump(conn, schema, place, to=chosen)
    return position, chosen


async def jump(conn: AsyncConnection, schema: str, place: Place, *, to: int) -> None:
    """Set the position that an operator or a changed log requires."""
    await conn.execute(
        text(f"update {schema}.positions set next_offset = :to where grp = :group and topic = :topic and partition = :partition"),
        {"to": to, "group": place.group, "topic": place.topic, "partition": place.partition},
    )


async def caught_up(conn: AsyncConnection, schema: str, ends: Sequence[tuple[Place, int, datetime]]) -> None:
    """Record, for the partitions whose position has reached the end, that everything present at that moment is committed.

    Rows are locked in key order, as in batches of several partitions.
    """
    if not ends:
        return
    await conn.execute(
        text(
            f"update {schema}.positions p set caught_up_at = greatest(p.caught_up_at, c.seen_at)"
            f" from (select q.grp, q.topic, q.partition, e.seen_at from {schema}.positions q"
            " join unnest(cast(:groups as text[]), cast(:topics as text[]), cast(:partitions as int[]), cast(:ends as bigint[]),"
            " cast(:moments as timestamptz[])) as e(grp, topic, partition, ends_at, seen_at)"
            " on (q.grp, q.topic, q.partition) = (e.grp, e.topic, e.partition) and q.next_offset >= e.ends_at"
            " order by q.grp, q.topic, q.partition for update of q) as c"
            " where (p.grp, p.topic, p.partition) = (c.grp, c.topic, c.partition)"
        ),
        {
            "groups": [place.group for place, _, _ in ends], "topics": [place.topic for place, _, _ in ends],
            "partitions": [place.partition for place, _, _ in ends], "ends": [end for _, end, _ in ends],
            "moments": [moment for _, _, moment in ends],
        },
    )  # fmt: skip


async def watermark(
    conn: AsyncConnection, schema: str, group: str, *, places: int, topics: Sequence[str] | None = None
) -> datetime | None:  # fmt: skip
    """Return the moment up to which all input partitions are committed; None until each has caught up once.

    With `topics`, only theirs: the positions of a topic that is no longer read never move again.
    """
    row = (
        await conn.execute(
            text(
                f"select count(caught_up_at), min(caught_up_at) from {schema}.positions where grp = :group"
                " and (cast(:topics as text[]) is null or topic = any(:topics))"
            ),
            {"group": group, "topics": None if topics is None else list(topics)},
        )
    ).one()
    return row[1] if row[0] >= places else None
