"""Promises to pay: made within the limits, cancelled by people, judged by the facts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date

from sqlalchemy import RowMapping

from libs.common.errors import DomainError
from libs.common.value import replace
from libs.compliance import StopKind
from services.scheduler.casework import Work
from services.scheduler.domain.case import Debt
from services.scheduler.domain.promises import Promise, PromiseState, PromiseTerms, deadline, promisable, tolerated
from services.scheduler.holding import HoldWanted, default_contacts, end_all, of_source, set_hold
from services.scheduler.pausing import day_of
from services.scheduler.store import promises
from services.scheduler.store.promises import JudgedRow, PromiseRow


@dataclass(frozen=True, slots=True)
class PromiseWanted:
    """An amount by a day, for these debts or for all overdue ones."""

    amount: int
    due_on: date
    loans: tuple[str, ...] = ()
    channel: str | None = None
    note: str | None = None


async def make(work: Work, wanted: PromiseWanted, *about: object) -> str:
    """Make a promise and return its id; contacts about its debts pause until it is kept or broken."""
    promise_id = work.new_id("pr", *about)
    if await promises.find(work.conn, work.of, promise_id) is not None:
        return promise_id
    debts, terms = _debts(work, wanted), work.terms
    _within(work, wanted, debts, terms)
    case, zone = work.case, work.zone(debt.loan_id for debt in debts)
    since, until = {debt.loan_id: debt.received for debt in debts}, deadline(wanted.due_on, zone, terms)
    row = PromiseRow(
        case.tenant, case.borrower_id, promise_id, case.case_id, case.spell, wanted.amount, tolerated(wanted.amount, terms), wanted.due_on,
        until, work.at, work.by, since, wanted.channel, wanted.note,
    )  # fmt: skip
    await promises.make(work.conn, row)
    contacts = default_contacts(StopKind.PROMISE, of_debt=True)
    for debt in debts:
        hold = HoldWanted(StopKind.PROMISE, contacts, work.at, until=until, loan_id=debt.loan_id, source=promise_id)
        await set_hold(work, hold, promise_id, debt.loan_id)
    promise = Promise(promise_id, wanted.amount, wanted.due_on, until, work.at, since, row.tolerated, spell=case.spell)
    work.case = replace(work.case, promises=(*work.case.promises, promise))
    work.desk.event(
        work.case, "case.promise_made", work.at, work.out, promise_id=promise_id, amount=wanted.amount, currency=case.currency,
        due_on=wanted.due_on, loans=sorted(since), channel=wanted.channel, by=work.by,
    )  # fmt: skip
    return promise_id


async def cancel(work: Work, promise_id: str, why: str | None) -> RowMapping:
    """Cancel an open promise; contacts resume."""
    row = await find(work, promise_id)
    if row.state == PromiseState.CANCELLED:
        return row
    promise = next((one for one in work.case.promises if one.promise_id == promise_id), None)
    if promise is None or not promise.open:
        raise DomainError(409, "conflict", f"this promise is {row.state}", state=row.state)
    state, case = PromiseState.CANCELLED.value, work.case
    await promises.judge(
        work.conn, [JudgedRow(case.tenant, case.borrower_id, promise_id, state, promise.paid, work.at, promise.since)]
    )  # fmt: skip
    await end_all(work, of_source(work, promise_id), "promise_cancelled")
    work.desk.event(case, "case.promise_cancelled", work.at, work.out, reason=why, promise_id=promise_id, by=work.by)
    return await find(work, promise_id)


async def find(work: Work, promise_id: str) -> RowMapping:
    """Return a promise of the case; raise if it is unknown."""
    row = await promises.find(work.conn, work.of, promise_id)
    if row is None:
        raise DomainError(404, "not_found", f"this case has no promise {promise_id[:128]}")
    return row


def _debts(work: Work, wanted: PromiseWanted) -> tuple[Debt, ...]:
    debts = tuple(work.debt(loan_id) for loan_id in sorted(set(wanted.loans))) if wanted.loans else work.case.owed
    if not debts or not all(debt.owed for debt in debts):
        raise DomainError(409, "nothing_owed", "payments can only be promised for overdue debts")
    return debts


def _within(work: Work, wanted: PromiseWanted, debts: tuple[Debt, ...], terms: PromiseTerms) -> None:
    """Refuse what the limits do not allow."""
    days = (wanted.due_on - day_of(work.at, debts[0])).days
    if not 0 <= days <= terms.most_days:
        raise _refused(f"the day must be within {terms.most_days} days from today", limit="max_days", allowed=terms.most_days)
    late = {debt.loan_id: debt.overdue for debt in work.case.owed}
    if wanted.amount > (most := promisable([debt.loan_id for debt in debts], late, work.case.promises)):
        raise _refused("together with other open promises this is more than is overdue", limit="overdue", allowed=most)
    states = Counter(promise.state for promise in work.case.promises)
    if states[PromiseState.OPEN] >= terms.most_open:
        raise _refused(f"{terms.most_open} promises are already open", limit="max_open", allowed=terms.most_open)
    if states[PromiseState.BROKEN] >= terms.most_broken:
        raise _refused(f"{terms.most_broken} promises of this spell were broken", limit="max_broken", allowed=terms.most_broken)


def _refused(detail: str, *, limit: str, allowed: int) -> DomainError:
    return DomainError(409, "promise_refused", detail, limit=limit, allowed=allowed)
