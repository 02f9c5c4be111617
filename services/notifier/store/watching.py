"""The watcher's queries; each reads only the queue of deliveries or a small table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store import gates, health

NO_PROVIDER = "none"
"""The provider label of a contact that is unknown without an attempt."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What the watcher read from the tables."""

    states: Mapping[str, int]
    unknown: Mapping[str, tuple[int, datetime | None]]
    """Number and oldest, by provider."""
    due: int
    oldest_due: datetime | None
    watermarks: Mapping[tuple[str, int], datetime]
    stopped: Mapping[str, tuple[int, int]]
    """By provider name: how many accounts are paused, and how many have a breaker that is not closed."""
    switched: Mapping[str, int]
    """How many positions of the switch are `off`, and how many `shadow`."""


async def look(conn: AsyncConnection, *, now: datetime) -> Watched:
    """Return the current numbers."""
    open_states = await conn.execute(
        text(
            "select state, count(*) as number, count(*) filter (where next_at <= :now) as due, min(next_at) as oldest"
            " from notifier.queue group by state"
        ),
        {"now": now},
    )
    rows = {row.state: row for row in open_states}
    unknown = (
        await conn.execute(
            text(
                "select coalesce(a.provider, :none) as provider, count(*) as number, min(d.taken_at) as oldest from notifier.queue q"
                " join notifier.deliveries d using (tenant, borrower_id, task_id)"
                " left join notifier.attempts a on (a.tenant, a.borrower_id, a.task_id, a.channel) ="
                " (d.tenant, d.borrower_id, d.task_id, d.channel) where q.state = 'unknown' group by 1"
            ),
            {"none": NO_PROVIDER},
        )
    ).all()
    pending = rows.get("pending")
    return Watched(
        states={**{state: row.number for state, row in rows.items()}, "unknown": sum(row.number for row in unknown)},
        unknown={row.provider: (row.number, row.oldest) for row in unknown},
        due=pending.due if pending else 0,
        oldest_due=pending.oldest if pending and pending.due else None,
        watermarks={place: mark.until for place, mark in (await gates.watermarks(conn)).items()},
        stopped=await health.stopped(conn),
        switched=Counter(one.contacts for one in await gates.switches(conn)),
    )
