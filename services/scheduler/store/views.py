"""What the HTTP side reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

SLACK = timedelta(minutes=5)
"""A moment that passed longer ago than this was missed."""
LOST_AFTER = timedelta(minutes=30)
"""A contact whose window closed longer ago than this without any outcome, or an unknown one whose deadline did, is lost."""

_CASE = (
    "c.case_id, c.borrower_id, c.currency, c.assignment, c.policy, c.policy_version, c.state, c.stage, c.spell, c.opened_at, c.clear_since,"
    " c.next_at, c.contact_at, c.contact_step, c.reason, c.reason_until, c.reason_event, c.reason_task, c.in_doubt,"
    " c.nonpayment_reason"
)
_FILTERS = {
    "borrower_id": "c.borrower_id = :borrower_id",
    "state": "c.state = :state",
    "stage": "c.stage = :stage",
    "policy": "c.policy = :policy",
    "loan_id": "(c.borrower_id, c.currency) in (select d.borrower_id, d.currency from scheduler.debts d"
    " where d.tenant = :tenant and d.loan_id = :loan_id)",
    "after": "c.case_id > :after",
}
_TIMELINE = text(
    "select at, kind, reason, detail, seq from scheduler.timeline where tenant = :tenant and borrower_id = :borrower_id"
    " and case_id = :case_id and (at, seq) > (:after_at, :after_seq) order by at, seq limit :limit"
)
_OPEN_TASK = (
    "exists (select from scheduler.tasks t where (t.tenant, t.borrower_id, t.case_id, t.spell)"
    " = (c.tenant, c.borrower_id, c.case_id, c.spell) and t.state <> 'done')"
)
_LATE = "c.state = 'open' and c.stage = 'overdue' and (cast(:tenant as text) is null or c.tenant = :tenant)"
_WITHOUT_NEXT = (
    "select c.tenant, c.borrower_id, c.currency, c.case_id, c.opened_at as since, coalesce(c.reason, 'unplanned') as reason"
    f" from scheduler.cases c where {_LATE} and not (coalesce(c.contact_at > :missed, false) or c.reason_event is not null"
    f" or coalesce(c.reason_until > :missed, false)) and not {_OPEN_TASK}"
)
_WITHOUT_OUTCOME = (
    "select c.tenant, c.borrower_id, c.currency, c.case_id, c.opened_at, 'no_outcome' from scheduler.case_steps s join scheduler.cases c"
    " on (c.tenant, c.borrower_id, c.case_id, c.spell) = (s.tenant, s.borrower_id, s.case_id, s.spell)"
    " where s.state in ('requested', 'deferred', 'unknown') and s.expires_at < :lost and (s.state <> 'unknown' or s.until < :lost)"
    f" and s.about is null and {_LATE} and not {_OPEN_TASK}"
    " and not exists (select from scheduler.case_steps a where (a.tenant, a.borrower_id, a.case_id, a.spell)"
    " = (c.tenant, c.borrower_id, c.case_id, c.spell) and a.state = 'done' and a.about is null)"
)
_WITHOUT_CASE = (
    "select d.tenant, d.borrower_id, d.currency, null, d.fact_at, 'no_case' from scheduler.debts d"
    " where d.owed and (cast(:tenant as text) is null or d.tenant = :tenant) and not exists (select from scheduler.cases c"
    " where (c.tenant, c.borrower_id, c.currency) = (d.tenant, d.borrower_id, d.currency) and c.state = 'open' and c.stage = 'overdue')"
)
_UNCONTACTED = (
    f"select distinct on (tenant, borrower_id, currency) * from ({_WITHOUT_NEXT} union all {_WITHOUT_OUTCOME} union all {_WITHOUT_CASE}) u"
    " order by tenant, borrower_id, currency, reason"
)
_COUNT = text(f"select count(*) from ({_UNCONTACTED}) n")
_LIST = text(
    f"select * from ({_UNCONTACTED}) n where (borrower_id, currency) > (:after_borrower, :after_currency)"
    " order by borrower_id, currency limit :limit"
)
_REASONS = text(f"select coalesce(c.reason, 'unplanned') as reason, count(*) as number from scheduler.cases c where {_LATE} group by 1")


@dataclass(frozen=True, slots=True)
class Search:
    """Which cases; what is None does not matter."""

    borrower_id: str | None = None
    loan_id: str | None = None
    state: str | None = None
    stage: str | None = None
    policy: str | None = None
    after: str | None = None


async def search_cases(conn: AsyncConnection, tenant: str, search: Search, limit: int) -> Sequence[RowMapping]:
    """Return cases by id."""
    given = {name: value for name in _FILTERS if (value := getattr(search, name)) is not None}
    where = " and ".join(["c.tenant = :tenant", "c.spell > 0", *(_FILTERS[name] for name in given)])
    statement = text(f"select {_CASE} from scheduler.cases c where {where} order by c.case_id limit :limit")
    return (await conn.execute(statement, {"tenant": tenant, "limit": limit, **given})).mappings().all()


async def case(conn: AsyncConnection, tenant: str, case_id: str) -> RowMapping | None:
    """Return a case, or None."""
    statement = text(f"select {_CASE} from scheduler.cases c where c.tenant = :tenant and c.case_id = :case_id and c.spell > 0")
    return (await conn.execute(statement, {"tenant": tenant, "case_id": case_id})).mappings().one_or_none()


async def timeline(conn: AsyncConnection, of: tuple[str, str, str], *, after: tuple[datetime, int], limit: int) -> Sequence[RowMapping]:
    """Return the story of (tenant, borrower, case) in order, above a key."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "after_at": after[0], "after_seq": after[1], "limit": limit}
    return (await conn.execute(_TIMELINE, values)).mappings().all()


async def count_uncontacted(conn: AsyncConnection, now: datetime, *, tenant: str | None) -> int:
    """Return how many are forgotten; it must be 0."""
    return int((await conn.execute(_COUNT, _moments(now, tenant))).scalar_one())


async def uncontacted(conn: AsyncConnection, now: datetime, tenant: str, *, after: tuple[str, str], limit: int) -> Sequence[RowMapping]:
    """Return those who are forgotten, by (borrower, currency)."""
    values = {**_moments(now, tenant), "after_borrower": after[0], "after_currency": after[1], "limit": limit}
    return (await conn.execute(_LIST, values)).mappings().all()


async def reasons(conn: AsyncConnection, *, tenant: str | None) -> dict[str, int]:
    """Return how many overdue cases have which reason."""
    return {row.reason: row.number for row in await conn.execute(_REASONS, {"tenant": tenant})}


def _moments(now: datetime, tenant: str | None) -> dict[str, Any]:
    return {"tenant": tenant, "missed": now - SLACK, "lost": now - LOST_AFTER}
