"""Debts as their newest facts tell them, and how far the facts reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.overdue_facts import DebtWatermark, OverdueFact
from libs.common.value import Value
from services.scheduler.store.arrays import ID, MOMENT, WORDS, arrayed, transposed, unnest
from services.scheduler.store.homes import housed
from services.scheduler.store.reach import WITH_SEGMENT

CaseOf = tuple[str, str, str, str]
"""(tenant, borrower, currency, loan): the last is empty for a borrower's case."""

DebtKey = tuple[str, str, str]
"""(tenant, borrower, loan)."""

Live = tuple[str, bytes | None, str | None]
"""(loan, its fact, the segment in which its borrower is now); no fact where it was asked for without those just kept."""

_COLUMNS = {
    "tenant": ID, "borrower_id": ID, "loan_id": ID, "currency": ID, "epoch": "int", "version": "bigint", "as_of": "date",
    "fact_at": MOMENT, "live": "boolean", "owed": "boolean", "fact": "bytea", "wake_at": MOMENT, "case_loan": WORDS,
}  # fmt: skip
_SET = ", ".join(f"{name} = excluded.{name}" for name in list(_COLUMNS)[3:-1])
_TOLD = {"status": ID, "bucket": WORDS, "overdue": "bigint", "outstanding": "bigint", "past_due_from": "date"}
_UPSERT = text(
    "with before as (select k.tenant, k.borrower_id, k.loan_id, d.case_loan from"
    f" {unnest(dict.fromkeys(('tenant', 'borrower_id', 'loan_id'), ID), 'k')}"
    " cross join lateral (select d.case_loan from scheduler.debts d"
    " where (d.tenant, d.borrower_id, d.loan_id) = (k.tenant, k.borrower_id, k.loan_id) limit 1) d),"
    f" given as (select * from {unnest({**_COLUMNS, **_TOLD}, 'v')}),"
    f" kept as (insert into scheduler.debts as d ({', '.join(_COLUMNS)})"  # the columns are ours
    f" select {', '.join(_COLUMNS)} from given order by tenant, borrower_id, loan_id"
    f" on conflict (tenant, borrower_id, loan_id) do update set {_SET},"
    f" case_loan = {housed('d', 'excluded.owed', 'excluded.case_loan')}"
    " where (excluded.epoch, excluded.version, excluded.as_of) > (d.epoch, d.version, d.as_of)"
    " returning tenant, borrower_id, loan_id, case_loan),"
    " told as (insert into scheduler.debt_facts"
    f" (tenant, borrower_id, loan_id, epoch, version, as_of, known_at, fact, currency, {', '.join(_TOLD)})"
    f" select tenant, borrower_id, loan_id, epoch, version, as_of, :known_at, fact, currency, {', '.join(_TOLD)}"
    " from given where (tenant, borrower_id, loan_id) in (select tenant, borrower_id, loan_id from kept)"
    " order by 1, 2, 3 on conflict do nothing)"
    " select k.tenant, k.borrower_id, k.loan_id, k.case_loan, b.case_loan as before from kept k"
    " left join before b on (b.tenant, b.borrower_id, b.loan_id) = (k.tenant, k.borrower_id, k.loan_id)"
)
_OF_CASES = {"tenant": ID, "borrower_id": ID, "currency": ID, "case_loan": WORDS}


def _live(fact: str) -> TextClause:
    """Return the statement that reads the debts of cases, with this of their facts."""
    return text(
        f"select k.tenant, k.borrower_id, k.currency, k.case_loan, d.loan_id, d.fact, d.segment from {unnest(_OF_CASES, 'k')}"
        f" cross join lateral (select d.loan_id, {fact} as fact, r.segment from scheduler.debts d {WITH_SEGMENT}"
        " where (d.tenant, d.borrower_id, d.currency, d.case_loan) = (k.tenant, k.borrower_id, k.currency, k.case_loan)"
        " and (d.live or exists (select from scheduler.promise_debts p"
        " where (p.tenant, p.borrower_id, p.loan_id) = (d.tenant, d.borrower_id, d.loan_id))) offset 0) d"
        " order by k.tenant, k.borrower_id, d.loan_id"
    )


_LIVE = _live("d.fact")
_LIVE_BUT_KEPT = _live("case when d.xmin = cast(pg_current_xact_id() as xid) then null else d.fact end")
"""Rows that this very transaction has written come without their facts: whoever kept those has them, and they are the larger part."""
_WAKE = text(
    "with due as (select tenant, borrower_id, loan_id from scheduler.debts where wake_at <= :now"
    " order by wake_at limit :limit for update skip locked)"
    " update scheduler.debts d set wake_at = null from due"
    " where (d.tenant, d.borrower_id, d.loan_id) = (due.tenant, due.borrower_id, due.loan_id)"
    " returning d.tenant, d.borrower_id, d.currency, d.case_loan, d.fact_at"
)
_MARKS = {"topic": "text", "partition": "int", "until": "timestamptz"}
_WATERMARK = text(
    "insert into scheduler.watermarks as w (topic, partition, until, stale_feeds)"
    " values (:topic, :partition, :until, :stale_feeds)"
    " on conflict (topic, partition) do update set until = excluded.until, stale_feeds = excluded.stale_feeds"
    " where excluded.until > w.until"
)


class Told(Value, frozen=True):
    """What reports read of a fact, beside its currency: each a column of its own, so that none reads the fact itself."""

    status: str
    bucket: str
    overdue: int
    outstanding: int
    past_due_from: date | None

    @classmethod
    def by(cls, fact: OverdueFact) -> Told:
        """Return what a fact tells."""
        return cls(fact.status, fact.bucket, fact.overdue.total, fact.outstanding.total, fact.past_due_days_from)


class DebtRow(Value, frozen=True):
    """A fact as it is kept."""

    tenant: str
    borrower_id: str
    loan_id: str
    currency: str
    epoch: int
    version: int
    as_of: date
    fact_at: datetime
    live: bool
    owed: bool
    fact: bytes
    told: Told
    wake_at: datetime | None
    case_loan: str = ""


class Home(Value, frozen=True):
    """The loan whose case a debt is in, and was in before; empty for the borrower's case, None where the debt was not known."""

    case_loan: str
    before: str | None

    @property
    def left(self) -> str | None:
        """Return the one that it has left."""
        return None if self.before == self.case_loan else self.before


@dataclass(frozen=True, slots=True)
class Woken:
    """A debt whose reminder is due."""

    tenant: str
    borrower_id: str
    currency: str
    case_loan: str
    fact_at: datetime


async def keep_newer(conn: AsyncConnection, rows: Sequence[DebtRow], now: datetime) -> dict[DebtKey, Home]:
    """Keep these facts (one a debt) where they are newer, with the moment from which they are known, and return where those debts are."""
    told = transposed(_TOLD, [row.told for row in rows])
    changed = await conn.execute(_UPSERT, {**transposed(_COLUMNS, rows), **told, "known_at": now})
    return {(tenant, borrower, loan): Home(case_loan, before) for tenant, borrower, loan, case_loan, before in changed}


async def live_facts(conn: AsyncConnection, keys: Sequence[CaseOf], *, but_kept: bool = False) -> list[tuple[CaseOf, Live]]:
    """Return the facts of the active debts of these cases, and of ended ones for which a payment was promised.

    With `but_kept`, without the facts that this transaction has kept.
    """
    columns = zip(_OF_CASES.items(), zip(*keys, strict=True), strict=True)
    asked = _LIVE_BUT_KEPT if but_kept else _LIVE
    found = await conn.execute(asked, {name: arrayed(kind, column) for (name, kind), column in columns})
    return [(tuple(row[:4]), tuple(row[4:])) for row in found]


async def claim_woken(conn: AsyncConnection, now: datetime, limit: int) -> list[Woken]:
    """Take the debts whose reminder is due; each is taken once."""
    return [Woken(*row) for row in await conn.execute(_WAKE, {"now": now, "limit": limit})]


async def raise_watermarks(conn: AsyncConnection, topic: str, marks: Mapping[int, DebtWatermark]) -> None:
    """Note how far partitions are complete; none goes back."""
    rows = [
        {"topic": topic, "partition": partition, "until": mark.until, "stale_feeds": list(mark.stale_feeds)}
        for partition, mark in sorted(marks.items())
    ]
    await conn.execute(_WATERMARK, rows)


async def watermarks(conn: AsyncConnection, topic: str) -> Mapping[int, datetime]:
    """Return up to when each partition of a topic is complete."""
    found = await conn.execute(text("select partition, until from scheduler.watermarks where topic = :topic"), {"topic": topic})
    return {row.partition: row.until for row in found}
