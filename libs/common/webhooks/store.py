"""SQL of webhooks: their secrets, and how far each of their topics was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.feed.cursors import Cursor
from libs.common.webhooks.forms import Webhook


@dataclass(frozen=True, slots=True)
class Place:
    """How far a webhook has got on one topic, and the lease under which it is being advanced."""

    tenant: str
    webhook_id: str
    topic: str
    after: Cursor
    tries: int
    failing_since: datetime | None
    lease: str

    @property
    def named(self) -> dict[str, object]:
        """Return it as parameters."""
        return {"tenant": self.tenant, "webhook": self.webhook_id, "topic": self.topic, "lease": self.lease}


@dataclass(frozen=True, slots=True)
class WebhookHealth:
    """The health of a webhook on one topic."""

    id: str
    topic: str
    delivered_to: str
    behind: int
    delivered_at: datetime | None
    failing_since: datetime | None
    last_error: str | None
    next_try_at: datetime | None
    switched_off_at: datetime | None
    switched_off_because: str | None


@dataclass(frozen=True, slots=True)
class Tally:
    """The number of webhooks in trouble."""

    failing: int
    off: int


async def put(conn: AsyncConnection, schema: str, tenant: str, webhooks: Sequence[Webhook], *, now: datetime) -> None:
    """Deliver to exactly these: new ones from the next message on, others from where they are."""
    pairs = sorted((webhook.id, topic, webhook.active) for webhook in webhooks for topic in webhook.topics)
    named = {
        "tenant": tenant, "now": now, "ids": [one for one, _, _ in pairs], "topics": [topic for _, topic, _ in pairs],
        "actives": [active for _, _, active in pairs],
    }  # fmt: skip
    await conn.execute(
        text(
            f"delete from {schema}.webhook_places p where p.tenant = :tenant and not exists ("  # the schema is ours
            " select from unnest(cast(:ids as text[]), cast(:topics as text[])) as w(id, topic)"
            " where (w.id, w.topic) = (p.webhook_id, p.topic))"
        ),
        named,
    )
    await conn.execute(
        text(
            f"insert into {schema}.webhook_places as p (tenant, webhook_id, topic, epoch, number, active, next_at)"
            f" select :tenant, w.id, w.topic, coalesce((select epoch from {schema}.lineage), 1), coalesce(h.last, 0), w.active, :now"
            " from unnest(cast(:ids as text[]), cast(:topics as text[]), cast(:actives as boolean[])) as w(id, topic, active)"
            f" left join {schema}.feed_heads h on (h.tenant, h.topic) = (:tenant, w.topic) order by w.id, w.topic"
            " on conflict (tenant, webhook_id, topic) do update set active = excluded.active, next_at = excluded.next_at, tries = 0,"
            " failing_since = case when p.active then p.failing_since end, off_since = case when not excluded.active then p.off_since end,"
            " off_reason = case when not excluded.active then p.off_reason end"
        ),
        named,
    )


async def put_secrets(conn: AsyncConnection, schema: str, tenant: str, sealed: dict[str, bytes]) -> None:
    """Store secrets, replacing earlier ones."""
    await conn.execute(
        text(
            f"insert into {schema}.webhook_secrets (tenant, webhook_id, sealed)"
            " select :tenant, id, sealed from unnest(cast(:ids as text[]), cast(:sealed as bytea[])) as s(id, sealed) order by id"
            " on conflict (tenant, webhook_id) do update set sealed = excluded.sealed"
        ),
        {"tenant": tenant, "ids": list(sealed), "sealed": list(sealed.values())},
    )


async def forget_secrets(conn: AsyncConnection, schema: str, tenant: str, *, but: Sequence[str]) -> None:
    """Forget the secrets of webhooks that no longer exist."""
    await conn.execute(
        text(f"delete from {schema}.webhook_secrets where tenant = :tenant and webhook_id <> all(cast(:but as text[]))"),
        {"tenant": tenant, "but": list(but)},
    )


async def secrets(conn: AsyncConnection, schema: str, tenants: Sequence[str]) -> dict[tuple[str, str], bytes]:
    """Return the sealed secrets of tenants, by tenant and webhook."""
    rows = await conn.execute(
        text(
            "select s.tenant, s.webhook_id, s.sealed from unnest(cast(:tenants as text[])) as w(tenant)"
            f" join {schema}.webhook_secrets s on s.tenant = w.tenant"
        ),
        {"tenants": sorted(set(tenants))},
    )
    return {(row.tenant, row.webhook_id): row.sealed for row in rows}


async def lease(conn: AsyncConnection, schema: str, lease_id: str, *, now: datetime, until: datetime, most: int) -> list[Place]:
    """Lease free places with something waiting, at most so many."""
    rows = await conn.execute(
        text(
            f"update {schema}.webhook_places p set lease = :lease, leased_until = :until from ("
            f" select q.tenant, q.webhook_id, q.topic from {schema}.webhook_places q"
            f" join {schema}.feed_heads h on (h.tenant, h.topic) = (q.tenant, q.topic)"
            " where q.active and q.next_at <= :now and (q.leased_until is null or q.leased_until <= :now)"
            f" and (h.last > q.number or q.epoch < (select epoch from {schema}.lineage))"
            " order by q.next_at, q.tenant, q.webhook_id, q.topic limit :most for update of q skip locked) d"
            " where (p.tenant, p.webhook_id, p.topic) = (d.tenant, d.webhook_id, d.topic)"
            " returning p.tenant, p.webhook_id, p.topic, p.epoch, p.number, p.tries, p.failing_since"
        ),
        {"lease": lease_id, "now": now, "until": until, "most": most},
    )
    return [
        Place(row.tenant, row.webhook_id, row.topic, Cursor(row.epoch, row.number), row.tries, row.failing_since, lease_id) for row in rows
    ]


async def advance(
    conn: AsyncConnection, schema: str, place: Place, *, to: Cursor, now: datetime, until: datetime | None
) -> bool:  # fmt: skip
    """Record how far a place has got, and extend the lease (`until` None: release it); False where somebody else has taken the place."""
    moved = await conn.execute(
        text(
            f"update {schema}.webhook_places set epoch = :epoch, number = :number, leased_until = :until, tries = 0,"
            " failing_since = null, last_error = null, delivered_at = :now"
            " where tenant = :tenant and webhook_id = :webhook and topic = :topic and lease = :lease and leased_until is not null"
        ),
        {**place.named, "epoch": to.epoch, "number": to.number, "now": now, "until": until},
    )
    return moved.rowcount == 1


async def release(conn: AsyncConnection, schema: str, place: Place) -> None:
    """Release a place."""
    await conn.execute(
        text(
            f"update {schema}.webhook_places set leased_until = null"
            " where tenant = :tenant and webhook_id = :webhook and topic = :topic and lease = :lease"
        ),
        place.named,
    )


async def note_failure(
    conn: AsyncConnection, schema: str, place: Place, *, error: str, next_at: datetime, now: datetime
) -> bool:  # fmt: skip
    """Record a call that was not accepted, and release the place until the next one; False where somebody else has taken it."""
    noted = await conn.execute(
        text(
            f"update {schema}.webhook_places set tries = tries + 1, failing_since = coalesce(failing_since, :now), last_error = :error,"
            " next_at = :next_at, leased_until = null"
            " where tenant = :tenant and webhook_id = :webhook and topic = :topic and lease = :lease and leased_until is not null"
        ),
        {**place.named, "error": error, "next_at": next_at, "now": now},
    )
    return noted.rowcount == 1


async def switch_off(conn: AsyncConnection, schema: str, place: Place, because: str, *, now: datetime) -> None:
    """Record that a webhook is no longer delivered to, on any of its topics."""
    await conn.execute(
        text(
            f"update {schema}.webhook_places set active = false, off_since = :now, off_reason = :because"
            " where tenant = :tenant and webhook_id = :webhook"
        ),
        {**place.named, "now": now, "because": because},
    )


async def health(conn: AsyncConnection, schema: str, tenant: str) -> list[WebhookHealth]:
    """Return the health of a tenant's webhooks."""
    rows = await conn.execute(
        text(
            f"select p.*, greatest(coalesce(h.last, 0) - p.number, 0) as behind from {schema}.webhook_places p"
            f" left join {schema}.feed_heads h on (h.tenant, h.topic) = (p.tenant, p.topic)"
            " where p.tenant = :tenant order by p.webhook_id, p.topic"
        ),
        {"tenant": tenant},
    )
    return [
        WebhookHealth(
            row.webhook_id, row.topic, Cursor(row.epoch, row.number).text, row.behind, row.delivered_at, row.failing_since,
            row.last_error, row.next_at if row.failing_since and row.active else None, row.off_since, row.off_reason,
        )
        for row in rows
    ]  # fmt: skip


async def tally(conn: AsyncConnection, schema: str) -> Tally:
    """Return how many webhooks are in trouble."""
    row = (
        await conn.execute(
            text(
                "select count(distinct (tenant, webhook_id)) filter (where failing_since is not null and active) as failing,"
                f" count(distinct (tenant, webhook_id)) filter (where off_since is not null) as off"
                f" from {schema}.webhook_places"
            )
        )
    ).one()
    return Tally(row.failing, row.off)
