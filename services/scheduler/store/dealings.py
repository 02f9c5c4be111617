"""What people settle in cases: approvals of steps, documents, offers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.case import Case
from services.scheduler.domain.dealing import Approval, Exhibit, Offer, OfferState
from services.scheduler.store.arrays import ID, transposed, unnest

_OF = {"tenant": ID, "borrower_id": ID, "case_id": ID, "spell": "int"}
_MINE = "(k.tenant, k.borrower_id, k.case_id, k.spell)"
_OF_CASES = text(
    f"with k as (select * from {unnest(_OF, 'v')})"
    " select a.tenant, a.case_id, 'approval' as what, a.step as name, a.approved::text as state, a.by, a.at,"
    " null::timestamptz as until, null::timestamptz as decided_at"
    f" from k join scheduler.approvals a on (a.tenant, a.borrower_id, a.case_id, a.spell) = {_MINE}"
    " union all select e.tenant, e.case_id, 'exhibit', e.document, null, e.by, e.at, null, null"
    f" from k join scheduler.exhibits e on (e.tenant, e.borrower_id, e.case_id, e.spell) = {_MINE}"
    " union all select o.tenant, o.case_id, 'offer', o.offer_id, o.state, o.made_by, o.made_at, o.expires_at, o.decided_at"
    f" from k join scheduler.offers o on (o.tenant, o.borrower_id, o.case_id, o.spell) = {_MINE}"
    " order by at, what, name"
)
_ADD_APPROVAL = text(
    "insert into scheduler.approvals (tenant, borrower_id, case_id, spell, step, approved, by, at, reason, exhibits)"
    " values (:tenant, :borrower_id, :case_id, :spell, :step, :approved, :by, :at, :reason, :exhibits)"
)
_ADD_EXHIBIT = text(
    "insert into scheduler.exhibits (tenant, borrower_id, case_id, spell, document, sha256, reference, by, at)"
    " values (:tenant, :borrower_id, :case_id, :spell, :document, :sha256, :reference, :by, :at) on conflict do nothing"
)
_OFFER = {
    "tenant": "text", "borrower_id": "text", "case_id": "text", "offer_id": "text", "spell": "int", "step": "text", "state": "text",
    "terms": "bytea", "made_by": "text", "made_at": "timestamptz", "expires_at": "timestamptz",
}  # fmt: skip
_ADD_OFFERS = text(
    f"insert into scheduler.offers ({', '.join(_OFFER)}) select {', '.join(_OFFER)} from {unnest(_OFFER, 'v')}"
    " order by tenant, borrower_id, case_id, offer_id"
)
_CASE = "tenant = :tenant and borrower_id = :borrower_id and case_id = :case_id"
_PUT_OFFER = text(
    "update scheduler.offers set state = :state, decided_by = :by, decided_at = :at, taken = coalesce(:taken, taken),"
    " reason = coalesce(:reason, reason), approved_by = case when cast(:approves as boolean) then :by else approved_by end,"
    f" expires_at = :expires_at where {_CASE} and offer_id = :offer_id"
)
_SHOWN_OFFER = "offer_id, spell, step, state, terms, made_by, made_at, expires_at, decided_by, decided_at, approved_by, taken, reason"
_OFFERS = text(f"select {_SHOWN_OFFER} from scheduler.offers where {_CASE} order by made_at, offer_id")
_APPROVALS = text(f"select spell, step, approved, by, at, reason, exhibits from scheduler.approvals where {_CASE} order by at, step")
_EXHIBITS = text(f"select spell, document, sha256, reference, by, at from scheduler.exhibits where {_CASE} order by at, document")
_TASKS = text(
    "select task_id, spell, key as about, occurrence, queue, kind, state, created_at, due_at, claimed_by, claimed_at, done_by,"
    " done_at, note"
    f" from scheduler.tasks where {_CASE} order by created_at, task_id"
)


@dataclass(frozen=True, slots=True)
class OfferRow:
    """A new offer; `terms` is JSON."""

    tenant: str
    borrower_id: str
    case_id: str
    offer_id: str
    spell: int
    step: str | None
    state: str
    terms: bytes
    made_by: str
    made_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of an offer; `approves` if a second person's decision approved it."""

    state: OfferState
    by: str
    at: datetime
    expires_at: datetime
    taken: bytes | None = None
    reason: str | None = None
    approves: bool = False


@dataclass(slots=True)
class Dealt:
    """What was read for a batch of cases."""

    approvals: dict[tuple[str, str], list[Approval]] = field(default_factory=dict)
    exhibits: dict[tuple[str, str], list[Exhibit]] = field(default_factory=dict)
    offers: dict[tuple[str, str], list[Offer]] = field(default_factory=dict)

    def of(self, case: Case) -> Mapping[str, Any]:
        """Return these parts of a case by name."""
        key = (case.tenant, case.case_id)
        return {name: tuple(getattr(self, name).get(key, ())) for name in ("approvals", "exhibits", "offers")}


async def of_cases(conn: AsyncConnection, cases: Sequence[Case]) -> Dealt:
    """Return what was settled in the spells of these cases, in one statement."""
    dealt = Dealt()
    for row in await conn.execute(_OF_CASES, transposed(_OF, cases)):
        key = (row.tenant, row.case_id)
        if row.what == "approval":
            dealt.approvals.setdefault(key, []).append(Approval(row.name, row.state == "true", row.by, row.at))
        elif row.what == "exhibit":
            dealt.exhibits.setdefault(key, []).append(Exhibit(row.name, row.by, row.at))
        else:
            dealt.offers.setdefault(key, []).append(Offer(row.name, OfferState(row.state), row.until, row.decided_at))
    return dealt


async def add_approval(conn: AsyncConnection, case: Case, approval: Approval, *, reason: str | None, exhibits: bytes) -> None:
    """Write a decision on a step of this spell."""
    values = {"step": approval.step, "approved": approval.approved, "by": approval.by, "at": approval.at}
    await conn.execute(_ADD_APPROVAL, {**_key(case), "spell": case.spell, **values, "reason": reason, "exhibits": exhibits})


async def add_exhibit(conn: AsyncConnection, case: Case, exhibit: Exhibit, *, sha256: str, reference: str) -> bool:
    """Attach a document to this spell; return False if the same one is already there."""
    values = {"document": exhibit.document, "by": exhibit.by, "at": exhibit.at, "sha256": sha256, "reference": reference}
    return bool((await conn.execute(_ADD_EXHIBIT, {**_key(case), "spell": case.spell, **values})).rowcount)


async def add_offers(conn: AsyncConnection, rows: Sequence[OfferRow]) -> None:
    """Write new offers."""
    if rows:
        await conn.execute(_ADD_OFFERS, transposed(_OFFER, rows))


async def put_offer(conn: AsyncConnection, case: Case, offer_id: str, decided: Decided) -> None:
    """Record what became of an offer in a locked case."""
    values = {"offer_id": offer_id, "state": decided.state.value, "by": decided.by, "at": decided.at, "taken": decided.taken}
    more = {"reason": decided.reason, "approves": decided.approves, "expires_at": decided.expires_at}
    await conn.execute(_PUT_OFFER, {**_key(case), **values, **more})


async def offers(conn: AsyncConnection, case: Case) -> Sequence[RowMapping]:
    """Return all offers of a case, oldest first."""
    return (await conn.execute(_OFFERS, _key(case))).mappings().all()


async def approvals(conn: AsyncConnection, case: Case) -> Sequence[RowMapping]:
    """Return all decisions on steps of a case, oldest first."""
    return (await conn.execute(_APPROVALS, _key(case))).mappings().all()


async def exhibits(conn: AsyncConnection, case: Case) -> Sequence[RowMapping]:
    """Return all documents of a case, oldest first."""
    return (await conn.execute(_EXHIBITS, _key(case))).mappings().all()


async def tasks(conn: AsyncConnection, case: Case) -> Sequence[RowMapping]:
    """Return all work for people of a case, oldest first."""
    return (await conn.execute(_TASKS, _key(case))).mappings().all()


def _key(case: Case) -> dict[str, Any]:
    return {"tenant": case.tenant, "borrower_id": case.borrower_id, "case_id": case.case_id}
