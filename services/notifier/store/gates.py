"""What applies to every claim: watermarks, the switch, and this database's epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.contact_tasks import PolicyRef
from libs.common.contracts.overdue_facts import DebtWatermark
from services.notifier.domain.clocks import FAR_AHEAD
from services.notifier.domain.switching import Position, Waiting

EVERYWHERE = ""
"""The switch's tenant that stands for all tenants."""


@dataclass(frozen=True, slots=True)
class Watermark:
    """Up to when a partition is known, and the tenants that have a silent feed."""

    until: datetime
    stale_feeds: frozenset[str]


@dataclass(frozen=True, slots=True)
class Switch:
    """One position of the stop button."""

    tenant: str
    scope: str
    key: str
    contacts: str
    reason: str
    by: str
    at: datetime

    @property
    def position(self) -> Position:
        """Return it as the rules take it."""
        return Position(self.scope, self.key, self.contacts)


@dataclass(frozen=True, slots=True)
class Epoch:
    """The database's epoch and when it began."""

    number: int
    since: datetime


async def keep_watermarks(conn: AsyncConnection, marks: Mapping[tuple[str, int], DebtWatermark], *, now: datetime | None) -> None:
    """Store watermarks, by (topic, partition); they never go back, except from a future time (by `now`, or the database's clock)."""
    together: dict[tuple[str, ...], list[tuple[str, int, datetime]]] = {}
    for (topic, partition), mark in sorted(marks.items()):
        together.setdefault(tuple(mark.stale_feeds), []).append((topic, partition, mark.until))
    for stale, rows in sorted(together.items()):
        topics, partitions, untils = zip(*rows, strict=True)
        await conn.execute(
            text(
                "insert into notifier.watermarks as w (topic, partition, until, stale_feeds)"
                " select topic, partition, until, cast(:stale as text[])"
                " from unnest(cast(:topics as text[]), cast(:partitions as int[]), cast(:untils as timestamptz[]))"
                " as m(topic, partition, until)"
                " on conflict (topic, partition) do update set until = excluded.until, stale_feeds = excluded.stale_feeds"
                " where w.until <= excluded.until or w.until > coalesce(cast(:now as timestamptz), clock_timestamp()) + :apart"
            ),
            {
                "topics": topics, "partitions": partitions, "untils": untils, "stale": list(stale), "now": now, "apart": FAR_AHEAD,
            },
        )  # fmt: skip


async def watermarks(conn: AsyncConnection) -> dict[tuple[str, int], Watermark]:
    """Return the watermarks of all partitions."""
    rows = await conn.execute(text("select topic, partition, until, stale_feeds from notifier.watermarks"))
    return {(row.topic, row.partition): Watermark(row.until, frozenset(row.stale_feeds)) for row in rows}


async def switches(conn: AsyncConnection, tenant: str | None = None) -> list[Switch]:
    """Return every position of the switch, or those that apply to a tenant."""
    rows = await conn.execute(
        text(
            "select tenant, scope, key, contacts, reason, by, at from notifier.switches"
            " where cast(:tenant as text) is null or tenant in ('', :tenant) order by tenant, scope, key"
        ),
        {"tenant": tenant},
    )
    return [Switch(row.tenant, row.scope, row.key, row.contacts, row.reason, row.by, row.at) for row in rows]


async def set_switch(conn: AsyncConnection, switch: Switch) -> None:
    """Turn the switch."""
    await conn.execute(
        text(
            "insert into notifier.switches (tenant, scope, key, contacts, reason, by, at)"
            " values (:tenant, :scope, :key, :contacts, :reason, :by, :at)"
            " on conflict (tenant, scope, key) do update set contacts = excluded.contacts, reason = excluded.reason,"
            " by = excluded.by, at = excluded.at"
        ),
        {
            "tenant": switch.tenant, "scope": switch.scope, "key": switch.key, "contacts": switch.contacts,
            "reason": switch.reason, "by": switch.by, "at": switch.at,
        },
    )  # fmt: skip


async def waiting(conn: AsyncConnection, tenant: str, *, most: int) -> list[Waiting]:
    """Return how much of a tenant's waits to be sent, by step: among the first deliveries due."""
    rows = await conn.execute(
        text(
            "select r -> 'policy' ->> 'name' as policy, cast(r -> 'policy' ->> 'version' as int) as version, r ->> 'step' as step,"
            " r ->> 'template' as template, count(*) as number"
            " from (select * from notifier.queue where tenant = :tenant and state = 'pending' order by next_at limit :most) q"
            " join notifier.deliveries d using (tenant, borrower_id, task_id)"
            " cross join lateral (select cast(convert_from(d.request, 'UTF8') as jsonb) offset 0) as p(r) group by 1, 2, 3, 4"
        ),
        {"tenant": tenant, "most": most},
    )
    return [Waiting(PolicyRef(name=row.policy, version=row.version), row.step, row.template, row.number) for row in rows]


async def epoch(conn: AsyncConnection) -> Epoch:
    """Return this database's epoch; the first one before the service has ever started."""
    row = (await conn.execute(text("select epoch, since from notifier.lineage"))).one_or_none()
    return Epoch(row.epoch, row.since) if row else Epoch(1, datetime.min)  # noqa: DTZ901  # compared only in later epochs
