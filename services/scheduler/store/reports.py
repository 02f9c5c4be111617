"""Reports on past days, from append-only data (facts with the moment they were known, and timelines), up to the end of a day.

Nothing here reads a row that may change later, or an entry added after the end of the period: so the past stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.store.trials import COMPLAINED, OPTED_OUT

DAYS_LATE = (8, 15, 31, 61, 91)
BANDS = ("1-7", "8-14", "15-30", "31-60", "61-90", "91+")


def _detail(columns: str) -> str:
    """Return the row source for the content of an entry, parsed once per row."""
    return f"cross join lateral json_to_record(cast(convert_from(t.detail, 'UTF8') as json)) as d({columns})"


def _entries(of: str) -> str:
    """Return the row source for all entries of a case up to the end: read case by case, however many rows the planner expects."""
    return (
        f"(select * from scheduler.timeline e where (e.tenant, e.borrower_id, e.case_id)"
        f" = (:tenant, {of}.borrower_id, {of}.case_id) and e.at < :end offset 0) as t"
    )


def _story(of: str) -> str:
    """Return the join with these entries."""
    return f"cross join lateral {_entries(of)}"


_STATE = "case when status in ('closed', 'written_off') then status else bucket end"
ROLLS = text(
    f"with told as (select borrower_id, loan_id, epoch, version, as_of, currency, {_STATE} as bucket, overdue,"
    " width_bucket(known_at, cast(:ends as timestamptz[])) + 1 as since,"
    " coalesce(width_bucket(min(known_at) over later, cast(:ends as timestamptz[])), cardinality(cast(:ends as timestamptz[]))) as until"
    " from scheduler.debt_facts where tenant = :tenant and known_at < :end"
    " window later as (partition by borrower_id, loan_id order by epoch, version, as_of rows between 1 following and unbounded following)),"
    " stood as (select since, until, currency, bucket, overdue, lag(bucket) over kept as before, lag(overdue) over kept as overdue_before"
    " from told where since <= until window kept as (partition by borrower_id, loan_id order by epoch, version, as_of)),"
    " steps as (select bucket, currency, n, sum(number) as number, sum(amount) as amount from stood"
    " cross join lateral (values (since + 1, 1, overdue), (until + 1, -1, -overdue)) as v(n, number, amount)"
    " where until > since and bucket not in ('closed', 'written_off') group by bucket, currency, n),"
    " moved as (select since as n, currency, coalesce(before, 'new') as bucket_before, bucket as bucket_after, count(*) as debts,"
    " coalesce(sum(overdue_before), 0) as overdue_before, sum(overdue) as overdue_after from stood"
    " where since > 1 and (before is distinct from bucket or bucket not in ('closed', 'written_off')) group by 1, 2, 3, 4"
    " union all select c.n, currency, bucket, bucket, sum(number), sum(amount), sum(amount)"
    " from generate_series(2, cardinality(cast(:ends as timestamptz[]))) as c(n) join steps on steps.n <= c.n group by 1, 2, 3, 4)"
    " select n, currency, bucket_before, bucket_after, sum(debts) as debts, sum(overdue_before) as overdue_before,"
    " sum(overdue_after) as overdue_after, sum(debts) / sum(sum(debts)) over (partition by n, currency, bucket_before) as rate"
    " from moved where debts > 0 group by n, currency, bucket_before, bucket_after order by n, currency, bucket_before, bucket_after"
)
"""A fact is its debt's newest from when it was known until a newer one was; it counts at the ends of days in between. What stays the same
over several ends is counted once at the first and removed after the last: the work grows with the facts, not with debts times days. The
primary key yields them in order with every column needed: the table itself is not read."""

_SAID = "t.kind in ('contact.sent', 'contact.delivered')"
_IS_ASKED = "t.kind = 'contact.requested'"
_TASKS = (
    "tasks as materialized (select t.borrower_id, t.case_id, d.task_id,"
    f" min(t.at) filter (where {_IS_ASKED}) as asked_at, max(d.step) filter (where {_IS_ASKED}) as step,"
    f" max(d.purpose) filter (where {_IS_ASKED}) as purpose, max(d.occurrence) filter (where {_IS_ASKED}) as occurrence,"
    f" max(d.loans) filter (where {_IS_ASKED}) as loans, max(d.policy->>'name') filter (where {_IS_ASKED}) as policy,"
    f" cast(max(d.policy->>'version') filter (where {_IS_ASKED}) as int) as policy_version,"
    f" min(t.seq) filter (where {_SAID}) as seq, min(t.at) filter (where {_SAID}) as sent_at,"
    " bool_or(t.kind = 'contact.delivered') as delivered, bool_or(t.kind = 'contact.failed') as failed,"
    " bool_or(t.kind = 'contact.expired') as expired, bool_or(t.kind = 'contact.suppressed') as suppressed,"
    f" bool_or(t.kind = 'contact.cancelled') as cancelled from who w {_story('w')}"
    f" {_detail('task_id text, step text, purpose text, occurrence int, loans text[], policy json')}"
    " where t.kind in ('contact.requested', 'contact.sent', 'contact.delivered', 'contact.failed', 'contact.expired',"
    " 'contact.suppressed', 'contact.cancelled') group by 1, 2, 3)"
)
"""What happened to each contact of the cases `who`, in one pass over their timelines."""
_BEGUN = (
    "select t.borrower_id, t.case_id from scheduler.timeline t"
    " where t.tenant = :tenant and t.kind = '{}' and t.at >= :begin and t.at < :end"
)


def _paid(of: str, which: str, since: str) -> str:
    """Return the row source for what was paid within the period since a moment, on the borrower's selected debts.

    As far as facts show it: by how much a debt's outstanding amount fell from one to the next. Read borrower by borrower.
    """
    return (
        "cross join lateral (select sum(fell) as paid from (select f.known_at, f.loan_id, f.currency, f.status,"
        " lag(f.outstanding) over (partition by f.loan_id order by f.epoch, f.version, f.as_of)"
        " - f.outstanding as fell from scheduler.debt_facts f"
        f" where (f.tenant, f.borrower_id) = (:tenant, {of}.borrower_id) and f.known_at < :end offset 0) as change"
        f" where fell > 0 and status <> 'written_off' and {which} and known_at > {since}"
        f" and known_at <= {since} + cast(:within as interval)) as p"
    )


_CURRENCY = (
    "cross join lateral (select c.currency, c.loan_id from scheduler.cases c"
    " where (c.tenant, c.borrower_id, c.case_id) = (:tenant, {0}.borrower_id, {0}.case_id) offset 0) as c"
)
_OF_CASE = "change.currency = d.currency and d.loan_id in ('', change.loan_id)"
"""Whether a debt is one that the case may contain."""
FUNNEL = text(
    f"with who as (select distinct * from ({_BEGUN.format('contact.requested')}) as begun), {_TASKS},"
    " lived as (select a.*, c.currency, a.sent_at + cast(:within as interval) <= :end as observed, p.paid from tasks a"
    f" {_CURRENCY.format('a')} {_paid('a', 'change.loan_id = any(a.loans)', 'a.sent_at')} where a.asked_at >= :begin)"
    " select policy, policy_version, step, purpose, currency, count(*) filter (where occurrence = 1) as due, count(*) as requested,"
    " count(sent_at) as sent, count(*) filter (where delivered) as delivered, count(*) filter (where failed) as failed,"
    " count(*) filter (where expired) as expired, count(*) filter (where suppressed) as suppressed,"
    " count(*) filter (where cancelled) as cancelled, count(*) filter (where observed) as observed,"
    " count(*) filter (where observed and paid > 0) as paid, coalesce(sum(paid) filter (where observed), 0) as paid_amount"
    " from lived group by 1, 2, 3, 4, 5 order by 1, 2, 3, 4, 5"
)
CURES = text(
    f"with who as ({_BEGUN.format('contact.requested')} union {_BEGUN.format('case.opened')}), {_TASKS},"
    " marks as (select borrower_id, case_id, 'said' as kind, sent_at as at, seq, policy, policy_version, step,"
    " asked_at >= :begin and purpose <> 'reminder' as counts from tasks where sent_at is not null"
    " union all select t.borrower_id, t.case_id, t.kind, t.at, t.seq, d.policy->>'name', cast(d.policy->>'version' as int), null,"
    f" t.kind = 'case.opened' and t.at >= :begin from who w {_story('w')} {_detail('policy json')}"
    " where t.kind in ('case.opened', 'case.cured')),"
    " stages as (select *, lead(kind) over (partition by borrower_id, case_id order by at, seq) as next from marks),"
    " aged as (select g.*, c.currency, cast(g.at at time zone :zone as date) - (select min(past_due_from) from"
    " (select distinct on (f.loan_id) f.loan_id, f.past_due_from, f.status, f.currency, f.overdue from scheduler.debt_facts f"
    " where (f.tenant, f.borrower_id) = (:tenant, g.borrower_id) and f.known_at <= g.at"
    " order by f.loan_id, f.epoch desc, f.version desc, f.as_of desc) as newest"
    " where newest.currency = c.currency and c.loan_id in ('', newest.loan_id)"
    " and newest.status = 'active' and newest.overdue > 0) as late"
    f" from stages g {_CURRENCY.format('g')} where g.counts)"
    " select policy, policy_version, step, (cast(:bands as text[]))[width_bucket(late, cast(:days as int[])) + 1] as days_late, currency,"
    " count(*) as reached, count(*) filter (where next = 'case.cured') as cured, count(*) filter (where next = 'said') as went_on,"
    " count(*) filter (where next is null or next = 'case.opened') as still_there,"
    " cast(count(*) filter (where next = 'case.cured') as numeric) / count(*) as rate"
    " from aged group by policy, policy_version, step, width_bucket(late, cast(:days as int[])), currency"
    " order by policy, policy_version, step nulls first, width_bucket(late, cast(:days as int[])), currency"
)
PROMISES = text(
    "with made as materialized (select t.borrower_id, t.case_id, d.promise_id, d.amount, d.currency, d.channel from scheduler.timeline t"
    f" {_detail('promise_id text, amount bigint, currency text, channel text')}"
    " where t.tenant = :tenant and t.kind = 'case.promise_made' and t.at >= :begin and t.at < :end),"
    " fates as (select distinct on (m.borrower_id, m.case_id, d.promise_id) m.borrower_id, m.case_id, d.promise_id,"
    f" substr(t.kind, 14) as state, d.paid from (select distinct borrower_id, case_id from made) m {_story('m')}"
    f" {_detail('promise_id text, paid bigint')} where t.kind like 'case.promise\\_%' and t.kind <> 'case.promise_made'"
    " order by 1, 2, 3, t.at desc, t.seq desc)"
    " select m.currency, m.channel, coalesce(f.state, 'open') as state, count(*) as promises, sum(m.amount) as amount,"
    " coalesce(sum(f.paid), 0) as paid from made m"
    " left join fates f on (f.borrower_id, f.case_id, f.promise_id) = (m.borrower_id, m.case_id, m.promise_id)"
    " group by 1, 2, 3 order by 1, 2 nulls first, 3"
)

EXPERIMENTS = text(
    "with dealt as materialized (select x.*, e.challenger, c.currency, c.loan_id,"
    " x.began_at + cast(:within as interval) <= :end as observed,"
    " case when e.stopped_at < :end then e.stopped_at end as stopped_at, case when e.stopped_at < :end then e.guardrail end as guardrail"
    " from scheduler.experiments e join scheduler.trials x on (x.tenant, x.policy, x.version) = (e.tenant, e.policy, e.version)"
    " and x.arm = any(array['champion', 'challenger']) and x.began_at >= :begin and x.began_at < :end"
    " join scheduler.cases c on (c.tenant, c.borrower_id, c.case_id) = (x.tenant, x.borrower_id, x.case_id) where e.tenant = :tenant),"
    f" lived as (select d.*, l.*, p.paid from dealt d cross join lateral (select min(t.at) as at from {_entries('d')}"
    " where t.kind = 'case.opened' and t.at > d.began_at) as following"
    " cross join lateral (select count(*) filter (where t.kind = 'contact.sent') as messages,"
    " min(t.at) filter (where t.kind = 'case.cured') as cured_at,"
    f" count(*) filter (where {COMPLAINED}) > 0 as complained, count(*) filter (where {OPTED_OUT}) > 0 as opted_out from {_entries('d')}"
    " where t.at >= d.began_at and t.at < coalesce(following.at, :end)) as l"
    f" {_paid('d', _OF_CASE, 'd.began_at')})"
    " select policy, version as policy_version, challenger, arm, currency, count(*) as cases, sum(messages) as messages,"
    " count(*) filter (where observed) as observed,"
    " count(*) filter (where observed and cured_at <= began_at + cast(:within as interval)) as cured,"
    " cast(count(*) filter (where observed and cured_at <= began_at + cast(:within as interval)) as numeric)"
    " / nullif(count(*) filter (where observed), 0) as cure_rate,"
    " coalesce(sum(paid) filter (where observed), 0) as paid_amount, count(*) filter (where complained) as complaints,"
    " count(*) filter (where opted_out) as opt_outs, stopped_at, guardrail"
    " from lived group by policy, version, challenger, arm, currency, stopped_at, guardrail order by policy, version, arm, currency"
)

FEEDBACK = text(
    "with said as materialized (select t.borrower_id, t.case_id, t.reason, d.step, d.task_id from scheduler.timeline t"
    f" {_detail('step text, task_id text')}"
    " where t.tenant = :tenant and t.kind = 'case.feedback_given' and t.at >= :begin and t.at < :end)"
    " select a.policy, a.policy_version, s.step, count(*) as answers, count(*) filter (where s.reason = 'good') as good,"
    " count(*) filter (where s.reason = 'fair') as fair, count(*) filter (where s.reason = 'bad') as bad from said s left join lateral"
    " (select d.policy->>'name' as policy, cast(d.policy->>'version' as int) as policy_version"
    f" from {_entries('s')} {_detail('task_id text, policy json')} where {_IS_ASKED} and d.task_id = s.task_id) as a on true"
    " group by 1, 2, 3 order by 1 nulls first, 2, 3"
)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows, and the names of their columns even if there are none."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]

    def without(self, name: str) -> Table:
        """Return the table without this column."""
        rows = [{key: value for key, value in row.items() if key != name} for row in self.rows]
        return Table(tuple(key for key in self.columns if key != name), rows)


async def roll_rates(conn: AsyncConnection, tenant: str, ends: Sequence[datetime]) -> Table:
    """Return how many debts moved between which buckets from each moment to the next (`n` numbers the later one, from 2)."""
    return await _read(conn, ROLLS, tenant=tenant, ends=list(ends), end=ends[-1])


async def cure_rates(conn: AsyncConnection, tenant: str, span: tuple[datetime, datetime], zone: str) -> Table:
    """Return what came after the start of a spell, and after each message, by policy, step and days late."""
    begin, end = span
    return await _read(conn, CURES, tenant=tenant, begin=begin, end=end, zone=zone, bands=list(BANDS), days=list(DAYS_LATE))


async def funnel(conn: AsyncConnection, tenant: str, span: tuple[datetime, datetime], within: timedelta) -> Table:
    """Return what became of the requested messages, by policy and step."""
    return await _read(conn, FUNNEL, tenant=tenant, begin=span[0], end=span[1], within=within)


async def promises(conn: AsyncConnection, tenant: str, span: tuple[datetime, datetime]) -> Table:
    """Return what became of the promises made."""
    return await _read(conn, PROMISES, tenant=tenant, begin=span[0], end=span[1])


async def feedback(conn: AsyncConnection, tenant: str, span: tuple[datetime, datetime]) -> Table:
    """Return borrowers' feedback, by the policy and step whose message led them to the question."""
    return await _read(conn, FEEDBACK, tenant=tenant, begin=span[0], end=span[1])


async def experiments(conn: AsyncConnection, tenant: str, span: tuple[datetime, datetime], within: timedelta) -> Table:
    """Return how the new spells went in each arm."""
    return await _read(conn, EXPERIMENTS, tenant=tenant, begin=span[0], end=span[1], within=within)


async def _read(conn: AsyncConnection, statement: TextClause, **values: Any) -> Table:
    found = (await conn.execute(statement, values)).mappings()
    return Table(tuple(found.keys()), [{name: _number(value) for name, value in row.items()} for row in found])


def _number(value: Any) -> Any:
    """Return sums as integers, and rates to six places."""
    if not isinstance(value, Decimal):
        return value
    return int(value) if value.as_tuple().exponent == 0 else round(float(value), 6)
