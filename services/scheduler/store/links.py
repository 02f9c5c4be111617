"""Links to the borrower's page: made, found by the hash of their token, tried, opened, revoked; erasure deletes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.links import ACTS_AN_HOUR, LASTS, TRIES, Link
from services.scheduler.store.arrays import unnest
from services.scheduler.store.held import CaseKey

_IN_SPELL = (
    "exists (select from unnest(l.case_ids, l.spells) s(case_id, spell) join scheduler.cases c"
    " on (c.tenant, c.borrower_id, c.case_id) = (l.tenant, l.borrower_id, s.case_id) where c.spell = s.spell and c.state <> 'closed')"
)
_MAKE = text(
    "insert into scheduler.borrower_links (token_hash, tenant, borrower_id, link_id, case_ids, spells, made_at, made_by, expires_at,"
    " task_id)"
    " values (:token_hash, :tenant, :borrower_id, :link_id, :case_ids, :spells, :made_at, :made_by, :expires_at, :task_id)"
    " on conflict (token_hash) do nothing"
)
_FORGET_ENDED = text(
    "delete from scheduler.borrower_links where tenant = :tenant and borrower_id = :borrower_id and expires_at <= :made_at"
)
_FIND = text(
    "select l.token_hash, l.tenant, l.borrower_id, l.link_id, l.expires_at, l.revoked_at, l.tries, l.visit_hash, l.visit_until,"
    f" {_IN_SPELL} as in_spell from scheduler.borrower_links l where l.token_hash = :token_hash"
)
_TRIES = "case when l.task_id is null then l.tries else coalesce(t.tries, 0) end"
_LASTS = f"interval '{LASTS.days} days'"
_LIST = text(
    f"select l.link_id, l.made_at, l.made_by, l.expires_at, l.revoked_at, l.revoked_by, l.task_id, {_TRIES} as tries,"
    f" case when l.revoked_at is not null or l.expires_at <= :now or not {_IN_SPELL} then 'gone'"
    f" when {_TRIES} >= {TRIES} then 'locked' else 'open' end as state from scheduler.borrower_links l"
    f" left join scheduler.link_tries t on (t.tenant, t.borrower_id) = (l.tenant, l.borrower_id) and t.tried_at + {_LASTS} > :now"
    " where l.tenant = :tenant and l.borrower_id = :borrower_id and l.link_id > :after order by l.link_id limit :limit"
)
_TRY = text(
    "update scheduler.borrower_links set tries = tries + 1"
    f" where token_hash = :token_hash and tries < {TRIES} and revoked_at is null returning tries"
)
_TRY_BACK = text("update scheduler.borrower_links set tries = greatest(tries - 1, 0) where token_hash = :token_hash")
_OPEN = text(
    "update scheduler.borrower_links set tries = 0, visit_hash = :visit_hash, visit_until = :until"
    " where token_hash = :token_hash and revoked_at is null returning link_id"
)
_COUNT = text(
    "update scheduler.borrower_links set acts = case when acts_since > :hour_ago then acts + 1 else 1 end,"
    " acts_since = case when acts_since > :hour_ago then acts_since else :now end where token_hash = :token_hash returning acts"
)
_REVOKE = text(
    "update scheduler.borrower_links set revoked_at = :now, revoked_by = :by where tenant = :tenant and borrower_id = :borrower_id"
    " and link_id = :link_id and revoked_at is null"
)
_BORROWERS = {"tenant": "text", "borrower_id": "text"}
_ERASE = text(
    f"delete from scheduler.borrower_links l using {unnest(_BORROWERS, 'k')} where (l.tenant, l.borrower_id) = (k.tenant, k.borrower_id)"
)
_ERASE_TRIES = text(
    f"delete from scheduler.link_tries l using {unnest(_BORROWERS, 'k')} where (l.tenant, l.borrower_id) = (k.tenant, k.borrower_id)"
)
_CASES = text(
    "select tenant, borrower_id, case_id, currency, loan_id from scheduler.cases"
    " where tenant = :tenant and borrower_id = :borrower_id and spell > 0 and state <> 'closed' order by case_id"
)
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class LinkRow:
    """A new link, for the spells of these cases."""

    token_hash: bytes
    tenant: str
    borrower_id: str
    link_id: str
    case_ids: list[str]
    spells: list[int]
    made_at: datetime
    made_by: str
    expires_at: datetime
    task_id: str | None = None


async def make(conn: AsyncConnection, row: LinkRow) -> None:
    """Store a link, unless it exists, and delete the borrower's expired links."""
    values = {name: getattr(row, name) for name in LinkRow.__slots__}
    await conn.execute(_FORGET_ENDED, {name: values[name] for name in ("tenant", "borrower_id", "made_at")})
    await conn.execute(_MAKE, values)


async def find(conn: AsyncConnection, token_hash: bytes) -> Link | None:
    """Return the link of a token."""
    row = (await conn.execute(_FIND, {"token_hash": token_hash})).mappings().one_or_none()
    return None if row is None else Link(**row)


async def of_borrower(
    conn: AsyncConnection, tenant: str, borrower_id: str, *, after: str, limit: int, now: datetime
) -> Sequence[RowMapping]:
    """Return a borrower's links by id, with their current state."""
    values = {"tenant": tenant, "borrower_id": borrower_id, "after": after, "limit": limit, "now": now}
    return (await conn.execute(_LIST, values)).mappings().all()


async def take_try(conn: AsyncConnection, token_hash: bytes) -> int | None:
    """Count a try of the second factor before it is checked; return its number, or None if there are none left."""
    return (await conn.execute(_TRY, {"token_hash": token_hash})).scalar_one_or_none()


async def give_try_back(conn: AsyncConnection, token_hash: bytes) -> None:
    """Undo the count of a try that nobody could check."""
    await conn.execute(_TRY_BACK, {"token_hash": token_hash})


async def open_(conn: AsyncConnection, token_hash: bytes, visit_hash: bytes, until: datetime) -> bool:
    """Let the holder in; return False if the link was revoked or erased meanwhile."""
    return (await conn.execute(_OPEN, {"token_hash": token_hash, "visit_hash": visit_hash, "until": until})).one_or_none() is not None


async def count_act(conn: AsyncConnection, token_hash: bytes, now: datetime) -> bool:
    """Count an act made through a link; return False if there were too many in the last hour."""
    found = await conn.execute(_COUNT, {"token_hash": token_hash, "now": now, "hour_ago": now - _HOUR})
    return bool((found.scalar_one_or_none() or 0) <= ACTS_AN_HOUR)


async def revoke(conn: AsyncConnection, of: tuple[str, str], link_id: str, *, by: str, now: datetime) -> None:
    """Revoke a link of (tenant, borrower); an already revoked one is unchanged."""
    await conn.execute(_REVOKE, {"tenant": of[0], "borrower_id": of[1], "link_id": link_id, "by": by, "now": now})


async def erase(conn: AsyncConnection, borrowers: Sequence[tuple[str, str]]) -> None:
    """Delete the links of erased (tenant, borrower), whose cases are locked."""
    tenants, ids = zip(*sorted(borrowers), strict=True)
    for statement in (_ERASE, _ERASE_TRIES):
        await conn.execute(statement, {"tenant": list(tenants), "borrower_id": list(ids)})


async def cases_of(conn: AsyncConnection, tenant: str, borrower_id: str) -> list[CaseKey]:
    """Return a borrower's cases with a running spell, without locking."""
    return [CaseKey(*row) for row in await conn.execute(_CASES, {"tenant": tenant, "borrower_id": borrower_id})]
