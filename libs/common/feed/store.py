"""SQL of the feed.

The relay writes what it has published, in the transaction that removes it from the outbox. Numbers come from the row of each tenant's
topic, locked until the commit: unlike those of a sequence they become visible in order, so that no reader skips one that is committed
later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.bundles import packed, unpacked
from libs.common.bus.ports import Message
from libs.common.feed.cursors import Cursor, Standing


@dataclass(frozen=True, slots=True)
class Stream:
    """One topic of one tenant, in the schema of the service that writes it."""

    schema: str
    tenant: str
    topic: str

    @property
    def named(self) -> dict[str, object]:
        """Return it as parameters."""
        return {"tenant": self.tenant, "topic": self.topic}


@dataclass(frozen=True, slots=True)
class Bundle:
    """Messages of one tenant's topic, in order."""

    tenant: str
    topic: str
    messages: Sequence[Message]


async def keep(conn: AsyncConnection, schema: str, bundles: Sequence[Bundle]) -> None:
    """Number messages and keep them; bundles of one tenant's topic must be in order."""
    await conn.execute(
        text(
            "with said as materialized (select tenant, topic, messages, bundle,"
            " sum(messages) over (partition by tenant, topic order by place) as upto,"
            " sum(messages) over (partition by tenant, topic) as total"
            " from unnest(cast(:tenants as text[]), cast(:topics as text[]), cast(:counts as int[]), cast(:bundles as bytea[]))"
            " with ordinality as m(tenant, topic, messages, bundle, place)),"
            f" raised as (insert into {schema}.feed_heads as h (tenant, topic, last)"  # the schema is ours
            " select distinct tenant, topic, total from said order by tenant, topic"
            " on conflict (tenant, topic) do update set last = h.last + excluded.last returning h.tenant, h.topic, h.last)"
            f" insert into {schema}.feed (tenant, topic, last, messages, epoch, bundle)"
            f" select s.tenant, s.topic, r.last - s.total + s.upto, s.messages, coalesce((select epoch from {schema}.lineage), 1), s.bundle"
            " from said s join raised r using (tenant, topic)"
        ),
        {
            "tenants": [bundle.tenant for bundle in bundles], "topics": [bundle.topic for bundle in bundles],
            "counts": [len(bundle.messages) for bundle in bundles], "bundles": [packed(bundle.messages) for bundle in bundles],
        },
    )  # fmt: skip


async def interrupt(conn: AsyncConnection, schema: str) -> None:
    """Note that from now on messages are published without being kept: a returning reader must learn that some are missing."""
    await conn.execute(text(f"truncate {schema}.feed"))
    await conn.execute(text(f"update {schema}.feed_heads set last = last + 1"))


async def standing(conn: AsyncConnection, stream: Stream, after: Cursor | None) -> Standing:
    """Return the extent of a stream's feed, for a reader at this position."""
    row = (
        await conn.execute(
            text(
                f"select coalesce((select epoch from {stream.schema}.lineage), 1) as epoch,"
                f" coalesce((select last from {stream.schema}.feed_heads where tenant = :tenant and topic = :topic), 0) as ends,"
                f" (select last - messages from {stream.schema}.feed where tenant = :tenant and topic = :topic"
                " order by last limit 1) as begins"
            ),
            stream.named,
        )
    ).one()
    known = await _last_of(conn, stream, after.epoch) if after is not None and after.epoch < row.epoch else None
    return Standing(row.epoch, row.ends if row.begins is None else row.begins, row.ends, known)


async def read(conn: AsyncConnection, stream: Stream, behind: int, limit: int) -> list[tuple[Cursor, Message]]:
    """Return the next messages after a number, at most so many."""
    rows = await conn.execute(
        text(
            "select last, epoch, bundle from (select last, epoch, bundle, sum(held) over (order by last) - held as before"
            " from (select last, epoch, bundle, least(messages, last - :behind) as held"
            f" from {stream.schema}.feed where tenant = :tenant and topic = :topic and last > :behind order by last limit :limit) f) f"
            " where before < :limit order by last"
        ),
        {**stream.named, "behind": behind, "limit": limit},
    )
    found = [(row, unpacked(row.bundle)) for row in rows]
    numbered = [(Cursor(row.epoch, row.last - len(held) + at), one) for row, held in found for at, one in enumerate(held, 1)]
    return [(cursor, message) for cursor, message in numbered if cursor.number > behind][:limit]


async def prune(conn: AsyncConnection, schema: str, older_than: timedelta, *, most: int) -> int:
    """Drop the oldest rows beyond this age, at most so many, and return their number."""
    gone = await conn.execute(
        text(
            f"delete from {schema}.feed f using (select tenant, topic, last from {schema}.feed"
            " where at < clock_timestamp() - cast(:age as interval) order by at limit :most) o"
            " where (f.tenant, f.topic, f.last) = (o.tenant, o.topic, o.last)"
        ),
        {"age": older_than, "most": most},
    )
    return gone.rowcount


async def _last_of(conn: AsyncConnection, stream: Stream, epoch: int) -> int | None:
    found = await conn.execute(
        text(f"select max(last) from {stream.schema}.feed where tenant = :tenant and topic = :topic and epoch <= :epoch"),
        {**stream.named, "epoch": epoch},
    )
    last = found.scalar_one()
    return None if last is None else int(last)
