"""What the HTTP API reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.held import CaseKey

SLACK = timedelta(minutes=5)
"""A moment that passed longer ago than this was missed."""
RECENT = timedelta(days=1)
"""Overdue debts without a case are looked for in facts no older than this; in all facts once an hour, and on request."""
MOST_COUNTS = 500
"""Up to this many rows of count changes are summed at each read before they are folded."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
LOST_AFTER = timedelta(minutes=30)
"""A contact is lost if its window closed longer ago than this with no outcome, or, for an unknown one, if its deadline did."""

_CASE = (
    "c.case_id, c.borrower_id, c.currency, c.loan_id, c.assignment, c.policy, c.policy_version, c.state, c.stage, c.spell, c.opened_at,"
    " c.clear_since,"
    " c.next_at, c.contact_at, c.contact_step, c.reason, c.reason_until, c.reason_event, c.reason_task, c.in_doubt,"
    " c.nonpayment_reason"
)
_FILTERS = {
    "borrower_id": "c.borrower_id = :borrower_id",
    "state": "c.state = :state",
    "stage": "c.stage = :stage",
    "policy": "c.policy = :policy",
    "loan_id": "(c.borrower_id, c.currency, c.loan_id) in (select d.borrower_id, d.currency, d.case_loan from scheduler.debts d"
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
_OF_TENANT = "(cast(:tenant as text) is null or c.tenant = :tenant)"
_LATE = f"c.state = 'open' and c.stage = 'overdue' and {_OF_TENANT}"
UNCOVERED = (
    "(c.covered_until <= :missed and c.covered_until < coalesce(c.next_at, timestamptz 'infinity')"
    " or c.next_at <= :missed and c.covered_until <= :missed)"
)
"""A case that nothing covers any more. The index only has cases whose cover ends before they are next planned: any other case is planned
in time, or is found among those that are due."""
_WITHOUT_NEXT = (
    "select c.tenant, c.borrower_id, c.currency, c.loan_id, c.case_id, c.opened_at as since, coalesce(c.reason, 'unplanned') as reason"
    f" from scheduler.cases c where {UNCOVERED} and {_OF_TENANT} and not {_OPEN_TASK}"
)
_WITHOUT_OUTCOME = (
    "select c.tenant, c.borrower_id, c.currency, c.loan_id, c.case_id, c.opened_at, 'no_outcome'"
    " from scheduler.case_steps s join scheduler.cases c"
    " on (c.tenant, c.borrower_id, c.case_id, c.spell) = (s.tenant, s.borrower_id, s.case_id, s.spell)"
    " where s.state in ('requested', 'deferred', 'unknown') and s.expires_at < :lost and (s.state <> 'unknown' or s.until < :lost)"
    f" and s.about is null and {_LATE} and not {_OPEN_TASK}"
    " and not exists (select from scheduler.case_steps a where (a.tenant, a.borrower_id, a.case_id, a.spell)"
    " = (c.tenant, c.borrower_id, c.case_id, c.spell) and a.state = 'done' and a.about is null)"
)
_WITHOUT_CASE = (
    "select d.tenant, d.borrower_id, d.currency, d.case_loan, null, d.fact_at, 'no_case' from scheduler.debts d"
    " where d.owed and d.fact_at >= :told_since and (cast(:tenant as text) is null or d.tenant = :tenant)"
    " and not exists (select from scheduler.cases c"
    " where (c.tenant, c.borrower_id, c.currency, c.loan_id) = (d.tenant, d.borrower_id, d.currency, d.case_loan)"
    " and c.state = 'open' and c.stage = 'overdue')"
)
_UNCONTACTED = (
    "select distinct on (tenant, borrower_id, currency, loan_id) * from"
    f" ({_WITHOUT_NEXT} union all {_WITHOUT_OUTCOME} union all {_WITHOUT_CASE}) u"
    " order by tenant, borrower_id, currency, loan_id, reason"
)
_COUNT = text(f"select count(*) from ({_UNCONTACTED}) n")
_LIST = text(
    f"select * from ({_UNCONTACTED}) n where (borrower_id, currency, loan_id) > (:after_borrower, :after_currency, :after_loan)"
    " order by borrower_id, currency, loan_id limit :limit"
)
_UNTOLD = text(
    f"select tenant, borrower_id, case_id, currency, loan_id, reason from ({_UNCONTACTED}) n where case_id is not null and not exists"
    " (select from scheduler.timeline t where (t.tenant, t.borrower_id, t.case_id) = (n.tenant, n.borrower_id, n.case_id)"
    " and t.kind = :kind and t.at >= n.since) limit :limit"
)
_REASONS = text(
    f"select c.reason, sum(c.number)::bigint as number from scheduler.case_counts c where {_OF_TENANT} group by 1 having sum(c.number) <> 0"
)
_FOLD = text(
    f"with gone as (delete from scheduler.case_counts where (select count(*) from scheduler.case_counts) > {MOST_COUNTS}"
    " returning tenant, reason, number) insert into scheduler.case_counts (tenant, reason, number)"
    " select tenant, reason, sum(number) from gone group by tenant, reason having sum(number) <> 0"
)
_RECOUNT = text(
    "with gone as (delete from scheduler.case_counts) insert into scheduler.case_counts (tenant, reason, number)"
    " select c.tenant, coalesce(c.reason, 'unplanned'), count(*) from scheduler.cases c"
    " where c.state = 'open' and c.stage = 'overdue' group by 1, 2"
)


@dataclass(frozen=True, slots=True)
class Search:
    """Which cases; None matches everything."""

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
    """Return the timeline of (tenant, borrower, case) in order, after a key."""
    values = {"tenant": of[0], "borrower_id": of[1], "case_id": of[2], "after_at": after[0], "after_seq": after[1], "limit": limit}
    return (await conn.execute(_TIMELINE, values)).mappings().all()


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose coverage (None: every tenant's), at which moment, and whether old facts are searched too for debts without a case."""

    tenant: str | None
    now: datetime
    whole: bool = False

    @property
    def values(self) -> dict[str, Any]:
        """Return it as statement parameters."""
        since = BEGINNING if self.whole else self.now - RECENT
        return {"tenant": self.tenant, "missed": self.now - SLACK, "lost": self.now - LOST_AFTER, "told_since": since}


async def count_uncontacted(conn: AsyncConnection, scope: Scope) -> int:
    """Return how many borrowers are forgotten; it must be 0."""
    return int((await conn.execute(_COUNT, scope.values)).scalar_one())


async def uncontacted(conn: AsyncConnection, scope: Scope, *, after: tuple[str, str, str], limit: int) -> Sequence[RowMapping]:
    """Return the forgotten borrowers, by (borrower, currency, loan)."""
    values = {**scope.values, "after_borrower": after[0], "after_currency": after[1], "after_loan": after[2], "limit": limit}
    return (await conn.execute(_LIST, values)).mappings().all()


async def untold(conn: AsyncConnection, scope: Scope, *, kind: str, limit: int) -> dict[CaseKey, str]:
    """Return forgotten cases that have no entry of this kind since their spell began, each with the reason."""
    found = await conn.execute(_UNTOLD, {**scope.values, "kind": kind, "limit": limit})
    return {CaseKey(*key): reason for *key, reason in found}


async def fold_counts(conn: AsyncConnection) -> None:
    """Merge each reason's changes into one row."""
    await conn.execute(_FOLD)


async def recount(conn: AsyncConnection) -> None:
    """Recount all overdue cases from scratch, which repairs counts after manual changes."""
    await conn.execute(_RECOUNT)


async def reasons(conn: AsyncConnection, *, tenant: str | None) -> dict[str, int]:
    """Return how many overdue cases have which reason."""
    return {row.reason: row.number for row in await conn.execute(_REASONS, {"tenant": tenant})}
