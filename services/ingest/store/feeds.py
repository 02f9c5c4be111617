"""Sources that send heartbeats: how often they promise to, when they were heard last, and who has retired them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

Source = tuple[str, str]
"""(tenant, source)."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The newest promise of a source, when it was recorded, and when the source was heard last."""

    every_s: int
    said_at: datetime
    heard_at: datetime

    def joined(self, other: Beat) -> Beat:
        """Return both as one: the promise recorded last holds, whichever arrived last."""
        newer = max(self, other, key=lambda beat: (beat.said_at, beat.every_s))
        return Beat(newer.every_s, newer.said_at, max(self.heard_at, other.heard_at))


@dataclass(frozen=True, slots=True)
class FeedRow:
    """A source as operators see it; it is retired only as long as it is not heard again."""

    source: str
    every_s: int
    heard_at: datetime
    silent: bool
    retired_at: datetime | None
    retired_by: str | None
    retired_reason: str | None


_RETIRED = "(f.retired_at is not null and f.heard_at <= f.retired_at)"
_SILENT = "f.heard_at + make_interval(secs => f.every_s) < :now"
_HEARD = text(
    "insert into ingest.feeds as f (tenant, source, every_s, said_at, heard_at)"
    " select * from unnest(cast(:tenants as text[]), cast(:sources as text[]), cast(:every as int[]), cast(:said as timestamptz[]),"
    " cast(:heard as timestamptz[])) order by 1, 2"
    " on conflict (tenant, source) do update set said_at = greatest(f.said_at, excluded.said_at),"
    " every_s = case when (f.said_at, f.every_s) < (excluded.said_at, excluded.every_s) then excluded.every_s else f.every_s end,"
    " heard_at = greatest(f.heard_at, excluded.heard_at)"
)
_STALE = text(f"select distinct f.tenant from ingest.feeds f where {_SILENT} and not {_RETIRED} order by 1")  # no value in it
_SHOWN = (
    f"f.source, f.every_s, f.heard_at, {_SILENT} and not {_RETIRED} as silent,"
    f" case when {_RETIRED} then f.retired_at end as retired_at, case when {_RETIRED} then f.retired_by end as retired_by,"
    f" case when {_RETIRED} then f.retired_reason end as retired_reason"
)
_PAGE = text(
    f"select {_SHOWN} from ingest.feeds f"  # no value in it
    ' where f.tenant = :tenant and f.source collate "C" > :after order by f.source collate "C" limit :limit'
)
_RETIRE = text(
    "update ingest.feeds f set retired_at = :now, retired_by = :by, retired_reason = :reason"
    f" where f.tenant = :tenant and f.source = :source returning {_SHOWN}"  # no value in it
)


async def heard(conn: AsyncConnection, beats: Mapping[Source, Beat]) -> None:
    """Note that these sources are alive."""
    if beats:
        keys = sorted(beats)
        arrays = {
            "tenants": [tenant for tenant, _ in keys], "sources": [source for _, source in keys],
            "every": [beats[key].every_s for key in keys], "said": [beats[key].said_at for key in keys],
            "heard": [beats[key].heard_at for key in keys],
        }  # fmt: skip
        await conn.execute(_HEARD, arrays)


async def stale(conn: AsyncConnection, now: datetime) -> tuple[str, ...]:
    """Return the tenants with a source that has said it goes on, has not, and is not retired."""
    return tuple((await conn.execute(_STALE, {"now": now})).scalars().all())


async def page(conn: AsyncConnection, tenant: str, now: datetime, *, after: str, limit: int) -> list[FeedRow]:
    """Return sources of a tenant by their names."""
    rows = await conn.execute(_PAGE, {"tenant": tenant, "now": now, "after": after, "limit": limit})
    return [FeedRow(*row) for row in rows]


async def retire(conn: AsyncConnection, key: Source, now: datetime, *, by: str, reason: str) -> FeedRow | None:
    """Expect a source no more until it is heard again; None where it was never heard."""
    given = {"tenant": key[0], "source": key[1], "now": now, "by": by, "reason": reason}
    row = (await conn.execute(_RETIRE, given)).one_or_none()
    return None if row is None else FeedRow(*row)
