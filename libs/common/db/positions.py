"""Where a consumer group is on a partition: written by compare-and-set in the transaction of the batch."""

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
    """Return where to read on: the database's position, made at `bus_offset` where there is none."""
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
    """Return the database's position, or None where there is none yet."""
    row = await conn.execute(
        text(f"select next_offset from {schema}.positions where grp = :group and topic = :topic and partition = :partition"),
        {"group": place.group, "topic": place.topic, "partition": place.partition},
    )
    found = row.scalar_one_or_none()
    return None if found is None else int(found)


async def move(  # a place, and what becomes of it
    conn: AsyncConnection, schema: str, place: Place, *, expected: int, next_offset: int, record_at: datetime | None
) -> None:
    """Set the next offset if it still is the expected one; else somebody else is ahead (or the database went back)."""
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
    """A partition's step from the offset that is expected to the one behind its batch."""

    topic: str
    partition: int
    expected: int
    next_offset: int
    record_at: datetime


async def move_together(conn: AsyncConnection, schema: str, group: str, steps: Sequence[Step]) -> bool:
    """Set the next offsets of several partitions, and say whether all stood where they were expected; rows are locked in key order."""
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
    """A partition's log, and what the group has told the broker of its own place in it."""

    begins: int
    ends: int
    committed: int | None


def lower(position: int, committed: int | None) -> int:
    """Return the lower of the database's position and the group's offset: what lies between is read again, which harms nobody."""
    return position if committed is None else min(position, committed)


async def read_on(conn: AsyncConnection, schema: str, place: Place, log: Log) -> tuple[int, int]:
    """Return the database's position as it was found, and where to read on; that is where it is now.

    A position that the log does not hold goes to the log's beginning.
    """
    position = await start(conn, schema, place, bus_offset=log.begins)
    wanted = lower(position, log.committed)
    chosen = wanted if log.begins <= wanted <= log.ends else log.begins
    if chosen != position:
        await jump(conn, schema, place, to=chosen)
    return position, chosen


async def jump(conn: AsyncConnection, schema: str, place: Place, *, to: int) -> None:
    """Set the position where a person or a changed log says it must be."""
    await conn.execute(
        text(f"update {schema}.positions set next_offset = :to where grp = :group and topic = :topic and partition = :partition"),
        {"to": to, "group": place.group, "topic": place.topic, "partition": place.partition},
    )


async def caught_up(conn: AsyncConnection, schema: str, ends: Sequence[tuple[Place, int, datetime]]) -> None:
    """Note that all that stood before each end at its moment is committed, for the places whose position has reached it.

    Rows are locked in key order, as batches of several partitions lock them.
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
    """Return the least moment at which all that then stood on any input partition was committed; None until all have been.

    With `topics` only theirs: the positions of a topic that is read no more stand still for good.
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
