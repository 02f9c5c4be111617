"""Debts as described by their newest facts, and how far the facts reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from operator import attrgetter

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.overdue_facts import DebtWatermark, OverdueFact
from libs.common.db.copying import copy_new
from libs.common.value import Value
from services.scheduler import tables
from services.scheduler.simulation_tables import debt_facts
from services.scheduler.store.arrays import ID, MOMENT, WORDS, arrayed, in_order, transposed, unnest
from services.scheduler.store.homes import housed
from services.scheduler.store.reach import WITH_SEGMENT

FACT = (
    "(select f.fact from scheduler.debt_facts f where (f.tenant, f.borrower_id, f.loan_id, f.epoch, f.version, f.as_of)"
    " = (d.tenant, d.borrower_id, d.loan_id, d.epoch, d.version, d.as_of))"
)
"""The newest fact of a debt `d`, which is stored only once, among all facts that were ever the newest."""

CaseOf = tuple[str, str, str, str]
"""(tenant, borrower, currency, loan); the loan is empty for a borrower's case."""

DebtKey = tuple[str, str, str]
"""(tenant, borrower, loan)."""

Live = tuple[str, bytes, str | None]
"""(loan, its fact, its borrower's current segment)."""

_KEY = {"tenant": ID, "borrower_id": ID, "loan_id": ID}
_COLUMNS = {
    **_KEY, "currency": ID, "epoch": "int", "version": "bigint", "as_of": "date", "fact_at": MOMENT, "live": "boolean", "owed": "boolean",
    "wake_at": MOMENT, "case_loan": WORDS,
}  # fmt: skip
_HISTORY = {
    **{name: name for name in ("tenant", "borrower_id", "loan_id", "epoch", "version", "as_of", "fact", "currency")},
    **{name: f"told.{name}" for name in ("status", "bucket", "overdue", "outstanding", "past_due_from")},
}
"""The columns of a permanently stored fact, except when it became known, and the row attribute for each."""
_STAND = text(
    f"select k.place, d.case_loan from {in_order(_KEY, 'k')} cross join lateral (select d.case_loan from scheduler.debts d"
    " where (d.tenant, d.borrower_id, d.loan_id) = (k.tenant, k.borrower_id, k.loan_id) limit 1) d"
)
_FACTS = text(
    f"select k.tenant, k.borrower_id, k.loan_id, {FACT} as fact from {unnest(_KEY, 'k')}"
    " cross join lateral (select * from scheduler.debts d"
    " where (d.tenant, d.borrower_id, d.loan_id) = (k.tenant, k.borrower_id, k.loan_id) limit 1) d"
)
_SET = ", ".join(f"{name} = excluded.{name}" for name in list(_COLUMNS)[3:-1])
_RENEW = text(
    f"insert into scheduler.debts as d ({', '.join(_COLUMNS)})"  # the columns are ours
    f" select {', '.join(_COLUMNS)} from {unnest(_COLUMNS, 'v')} order by tenant, borrower_id, loan_id"
    f" on conflict (tenant, borrower_id, loan_id) do update set {_SET},"
    f" case_loan = {housed('d', 'excluded.owed', 'excluded.case_loan')}"
    " where (excluded.epoch, excluded.version, excluded.as_of) > (d.epoch, d.version, d.as_of)"
    " returning tenant, borrower_id, loan_id, case_loan"
)
_OF_CASES = {"tenant": ID, "borrower_id": ID, "currency": ID, "case_loan": WORDS}


def _live(more: str) -> TextClause:
    """Return the statement that reads the debts of cases with their facts, with an additional condition."""
    return text(
        f"select k.tenant, k.borrower_id, k.currency, k.case_loan, d.loan_id, d.fact, d.segment from {unnest(_OF_CASES, 'k')}"
        f" cross join lateral (select d.loan_id, {FACT} as fact, r.segment from scheduler.debts d {WITH_SEGMENT}"
        " where (d.tenant, d.borrower_id, d.currency, d.case_loan) = (k.tenant, k.borrower_id, k.currency, k.case_loan)"
        " and (d.live or exists (select from scheduler.promise_debts p"
        f" where (p.tenant, p.borrower_id, p.loan_id) = (d.tenant, d.borrower_id, d.loan_id))){more} offset 0) d"
        " order by k.tenant, k.borrower_id, d.loan_id"
    )


_LIVE, _LIVE_BUT_KEPT = _live(""), _live(" and not (d.live and r.segment is null and d.xmin = cast(pg_current_xact_id() as xid))")
"""Facts stored by this very transaction are already at hand, and they are the larger part."""
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
    """What reports need of a fact besides its currency: each in its own column, so that no report reads the fact itself."""

    status: str
    bucket: str
    overdue: int
    outstanding: int
    past_due_from: date | None

    @classmethod
    def by(cls, fact: OverdueFact) -> Told:
        """Return it for a fact."""
        return cls(fact.status, fact.bucket, fact.overdue.total, fact.outstanding.total, fact.past_due_days_from)


class DebtRow(Value, frozen=True):
    """A fact as stored."""

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

    @property
    def key(self) -> DebtKey:
        """Return the key of its debt."""
        return self.tenant, self.borrower_id, self.loan_id


class Home(Value, frozen=True):
    """The loan whose case a debt is in, and was in before; empty for the borrower's case, None if the debt was unknown."""

    case_loan: str
    before: str | None

    @property
    def left(self) -> str | None:
        """Return the case it has left, if any."""
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
    """Store these facts (one per debt, in key order) if they are newer, as known from now on; return where those debts are.

    Raise TransientError if another transaction has stored the first fact of one of these debts meanwhile.
    """
    before = {rows[place - 1].key: case_loan for place, case_loan in await conn.execute(_STAND, transposed(_KEY, rows))}
    new, known = [row for row in rows if row.key not in before], [row for row in rows if row.key in before]
    homes = {row.key: Home(row.case_loan, None) for row in new}
    if known:
        for tenant, borrower, loan, case_loan in await conn.execute(_RENEW, transposed(_COLUMNS, known)):
            homes[tenant, borrower, loan] = Home(case_loan, before[tenant, borrower, loan])
    await copy_new(conn, tables.debts, tuple(_COLUMNS), list(map(attrgetter(*_COLUMNS), new)))
    kept = map(attrgetter(*_HISTORY.values()), [row for row in rows if row.key in homes])
    await copy_new(conn, debt_facts, (*_HISTORY, "known_at"), [(*row, now) for row in kept])
    return homes


async def live_facts(conn: AsyncConnection, keys: Sequence[CaseOf], *, but_kept: bool = False) -> list[tuple[CaseOf, Live]]:
    """Return the facts of these cases' active debts, and of ended ones for which a payment was promised.

    `but_kept` leaves out facts of active debts that this transaction has stored, if their borrower has no segment.
    """
    columns = zip(_OF_CASES.items(), zip(*keys, strict=True), strict=True)
    asked = _LIVE_BUT_KEPT if but_kept else _LIVE
    found = await conn.execute(asked, {name: arrayed(kind, column) for (name, kind), column in columns})
    return [(tuple(row[:4]), tuple(row[4:])) for row in found]


async def facts_of(conn: AsyncConnection, keys: Sequence[DebtKey]) -> dict[DebtKey, bytes]:
    """Return the newest facts of these debts."""
    if not keys:
        return {}
    columns = zip(_KEY.items(), zip(*keys, strict=True), strict=True)
    found = await conn.execute(_FACTS, {name: arrayed(kind, column) for (name, kind), column in columns})
    return {(tenant, borrower, loan): fact for tenant, borrower, loan, fact in found}


async def claim_woken(conn: AsyncConnection, now: datetime, limit: int) -> list[Woken]:
    """Claim the debts whose reminder is due; each is claimed once."""
    return [Woken(*row) for row in await conn.execute(_WAKE, {"now": now, "limit": limit})]


async def raise_watermarks(conn: AsyncConnection, topic: str, marks: Mapping[int, DebtWatermark]) -> None:
    """Record how far partitions are complete; a watermark never goes back."""
    rows = [
        {"topic": topic, "partition": partition, "until": mark.until, "stale_feeds": list(mark.stale_feeds)}
        for partition, mark in sorted(marks.items())
    ]
    await conn.execute(_WATERMARK, rows)


async def watermarks(conn: AsyncConnection, topic: str) -> Mapping[int, datetime]:
    """Return the moment up to which each partition of a topic is complete."""
    found = await conn.execute(text("select partition, until from scheduler.watermarks where topic = :topic"), {"topic": topic})
    return {row.partition: row.until for row in found}
