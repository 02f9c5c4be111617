"""Attempts of unknown outcome, about which providers are asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.notifier.store.attempts import Attempt


@dataclass(frozen=True, slots=True)
class Lost:
    """An attempt whose answer was lost, and where it went."""

    attempt: Attempt
    message_id: str
    began_at: datetime
    ended_at: datetime
    asked: int
    """How many times its provider has been asked, including this time."""
    lookup: str | None
    same_account: bool
    """Whether the account has not changed since the message was given to it."""


async def claim(
    conn: AsyncConnection, kinds: Collection[str], pauses: Sequence[timedelta], *, since: datetime, now: datetime, limit: int
) -> list[Lost]:  # fmt: skip
    """Count one more question for each attempt whose next one is due, and return these; concurrent callers skip them."""
    rows = await conn.execute(
        text(
            "with due as (select a.tenant, a.borrower_id, a.task_id, a.channel, p.at <= a.began_at as same_account"
            " from notifier.attempts a join notifier.provider_accounts p on p.tenant = a.tenant and p.name = a.provider"
            " where a.result = 'unknown' and a.receipt is null and a.ended_at > :since and p.kind = any(cast(:kinds as text[]))"
            " and not p.paused and a.ended_at + (cast(:pauses as interval[]))[a.asked + 1] <= :now"
            " order by a.ended_at limit :limit for update of a skip locked),"
            " asked as (update notifier.attempts a set asked = a.asked + 1 from due"
            " where a.tenant = due.tenant and a.borrower_id = due.borrower_id and a.task_id = due.task_id and a.channel = due.channel"
            " returning a.tenant, a.borrower_id, a.task_id, a.channel, a.turn, a.provider, a.message_id, a.began_at, a.ended_at, a.asked,"
            " due.same_account)"
            " select asked.*, c.lookup from asked left join notifier.contacts c on c.tenant = asked.tenant"
            " and c.borrower_id = asked.borrower_id and c.contact_id = asked.task_id || '/' || asked.channel"
        ),
        {"kinds": sorted(kinds), "pauses": list(pauses), "since": since, "now": now, "limit": limit},
    )
    return [
        Lost(
            Attempt(row.tenant, row.borrower_id, row.task_id, row.channel, row.turn, row.provider), row.message_id, row.began_at,
            row.ended_at, row.asked, row.lookup, row.same_account,
        )
        for row in rows
    ]  # fmt: skip


async def named(conn: AsyncConnection, tenant: str, provider: str, refs: Collection[str]) -> set[str]:
    """Return which of a provider's ids belong to known messages."""
    rows = await conn.execute(
        text(
            "select provider_ref from notifier.attempts where tenant = :tenant and provider = :provider"
            " and provider_ref = any(cast(:refs as text[]))"
        ),
        {"tenant": tenant, "provider": provider, "refs": sorted(refs)},
    )
    return {row.provider_ref for row in rows}


async def others_lost(conn: AsyncConnection, lost: Lost, *, since: datetime, until: datetime) -> bool:
    """Return whether another message to the same address, given to its provider between these times, is of unknown outcome too."""
    rows = await conn.execute(
        text(
            "select 1 from notifier.contacts c join notifier.attempts a on a.tenant = c.tenant and a.borrower_id = c.borrower_id"
            " and a.task_id = c.task_id and a.channel = c.channel"
            " where c.tenant = :tenant and c.lookup = :lookup and a.provider = :provider and a.message_id <> :message"
            " and (a.result = 'unknown' or a.result is null) and a.receipt is null and a.began_at <= :until"
            " and (a.ended_at is null or a.ended_at >= :since) limit 1"
        ),
        {
            "tenant": lost.attempt.tenant, "lookup": lost.lookup, "provider": lost.attempt.provider, "message": lost.message_id,
            "since": since, "until": until,
        },
    )  # fmt: skip
    return rows.first() is not None


async def is_lost(conn: AsyncConnection, attempt: Attempt) -> bool:
    """Return whether an attempt's outcome is still unknown; its borrower is locked."""
    rows = await conn.execute(
        text(
            "select 1 from notifier.attempts where tenant = :tenant and borrower_id = :borrower and task_id = :task"
            " and channel = :channel and turn = :turn and result = 'unknown' and receipt is null"
        ),
        {
            "tenant": attempt.tenant, "borrower": attempt.borrower_id, "task": attempt.task_id, "channel": attempt.channel,
            "turn": attempt.turn,
        },
    )  # fmt: skip
    return rows.first() is not None
