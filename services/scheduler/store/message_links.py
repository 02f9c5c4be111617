"""Links in messages: nothing is stored until somebody tries one; tries count per borrower, across all of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.links import LASTS, TRIES, Link, hashed

ERASED = "erased"
_FIND = text(
    "select s.borrower_id, s.case_id, s.spell, s.step, s.requested_at, l.revoked_at, l.visit_hash, l.visit_until,"
    " coalesce(t.tries, 0) as tries, c.spell = s.spell and c.state <> 'closed' and not exists (select from scheduler.statuses e"
    f" where (e.tenant, e.borrower_id, e.kind) = (s.tenant, s.borrower_id, '{ERASED}') and e.stands) as in_spell"
    " from scheduler.case_steps s"
    " join scheduler.cases c on (c.tenant, c.borrower_id, c.case_id) = (s.tenant, s.borrower_id, s.case_id)"
    " left join scheduler.borrower_links l on l.token_hash = :token_hash"
    " left join scheduler.link_tries t on (t.tenant, t.borrower_id) = (s.tenant, s.borrower_id) and t.tried_at > :since"
    " where s.tenant = :tenant and s.task_id = :task_id"
)
_TRY = text(
    "insert into scheduler.link_tries as t (tenant, borrower_id, tries, tried_at) values (:tenant, :borrower_id, 1, :now)"
    " on conflict (tenant, borrower_id) do update set tries = case when t.tried_at > :since then t.tries + 1 else 1 end, tried_at = :now"
    f" where t.tries < {TRIES} or t.tried_at <= :since returning tries"
)
_TRY_BACK = text("update scheduler.link_tries set tries = greatest(tries - 1, 0) where (tenant, borrower_id) = (:tenant, :borrower_id)")
_FORGET = text("delete from scheduler.link_tries where (tenant, borrower_id) = (:tenant, :borrower_id)")


async def find(conn: AsyncConnection, of: tuple[str, str], token: str, *, now: datetime) -> Link | None:
    """Return the link in a message of (tenant, task), which we signed; None if no case requested such a message."""
    tenant, task_id = of
    values = {"tenant": tenant, "task_id": task_id, "token_hash": hashed(token), "since": now - LASTS}
    row = (await conn.execute(_FIND, values)).one_or_none()
    if row is None:
        return None
    return Link(
        hashed(token), tenant, row.borrower_id, f"l-{task_id.partition('-')[2]}", row.requested_at + LASTS, row.revoked_at, row.tries,
        row.in_spell, task_id, row.case_id, row.spell, row.step, row.visit_hash, row.visit_until,
    )  # fmt: skip


async def take_try(conn: AsyncConnection, of: tuple[str, str], *, now: datetime) -> int | None:
    """Count a try of (tenant, borrower) before it is checked; return its number in a row, or None if there are none left."""
    values = {"tenant": of[0], "borrower_id": of[1], "now": now, "since": now - LASTS}
    return (await conn.execute(_TRY, values)).scalar_one_or_none()


async def give_try_back(conn: AsyncConnection, of: tuple[str, str]) -> None:
    """Undo the count of a try that nobody could check."""
    await conn.execute(_TRY_BACK, {"tenant": of[0], "borrower_id": of[1]})


async def forget_tries(conn: AsyncConnection, of: tuple[str, str]) -> None:
    """Reset the wrong tries of (tenant, borrower), who was let in."""
    await conn.execute(_FORGET, {"tenant": of[0], "borrower_id": of[1]})
