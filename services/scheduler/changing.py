"""Applies a changed policy or segment to the debts: which case each belongs to, when its reminder is due, which cases to plan again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.choosing import Choices
from services.scheduler.domain.planner import reminder_at
from services.scheduler.rulebook import Rulebook, Rules
from services.scheduler.store import cases, changes, homes
from services.scheduler.store.changes import Told
from services.scheduler.store.facts import debt_stored
from services.scheduler.store.held import CaseKey, case_key
from services.scheduler.store.homes import Reckoned

LET_FACTS_BY = timedelta(seconds=2)
"""How long a change waits: a fact processed at the same time may not have seen it."""


async def tell_change(conn: AsyncConnection, rulebook: Rulebook, now: datetime, limit: int) -> int | None:
    """Apply a change that has taken effect to the next debts; return how many, or None when there is no such change.

    Debts are locked before cases, in key order, as the handler of facts does.
    """
    change = await changes.claim(conn, now - LET_FACTS_BY)
    if change is None:
        return None
    told = await changes.next_debts(conn, change, limit)
    await _tell(conn, told, await rulebook.of(conn, [change.tenant], now), now, wakes=change.wakes)
    if len(told) < limit:
        await changes.end(conn, change)
    else:
        await changes.move(conn, change, told[-1])
    return len(told)


async def tell_segments(conn: AsyncConnection, rulebook: Rulebook, now: datetime, limit: int) -> int:
    """Apply changed segments to their borrowers' debts; return the number of borrowers."""
    borrowers = await changes.claim_segments(conn, now - LET_FACTS_BY, limit)
    if not borrowers:
        return 0
    rules = await rulebook.of(conn, {tenant for tenant, _ in borrowers}, now)
    concerned = [one for one in borrowers if rules.choices_of(one[0]).by_segment]
    if concerned:
        await _tell(conn, await changes.debts_of(conn, concerned), rules, now, wakes=True)
    return len(borrowers)


async def _tell(conn: AsyncConnection, told: Sequence[Told], rules: Rules, now: datetime, *, wakes: bool) -> None:
    """Recompute locked debts, and plan the overdue ones' cases again if that is asked for or if a debt has moved."""
    wished = {(debt.tenant, debt.borrower_id, debt.loan_id): _reckoned(debt, rules.choices_of(debt.tenant), now) for debt in told}
    at_home = await homes.reckon(conn, list(wished.values()))
    late: dict[CaseKey, datetime] = {}
    for debt in told:
        where = at_home[debt.tenant, debt.borrower_id, debt.loan_id]
        for loan in {where, debt.case_loan} if debt.owed and (wakes or where != debt.case_loan) else ():
            key = case_key(debt.tenant, debt.borrower_id, debt.currency, loan)
            late[key] = max(debt.fact_at, late.get(key, debt.fact_at))
    if late:
        await cases.wake(conn, late, now, policy=(BUILT_IN.name, BUILT_IN.version))


def _reckoned(told: Told, choices: Choices, now: datetime) -> Reckoned:
    case_loan = told.case_loan
    try:
        debt = debt_stored(told.fact, told.segment)
        policy, case_loan = choices.of((debt,), told.borrower_id), choices.loan_of_case(debt, told.borrower_id)
        reminded = None if told.owed else reminder_at(debt, policy, now)
    except Exception:  # noqa: BLE001  # a debt the rules fail on is woken at once, so that its case is parked where people see it
        reminded = None if told.owed else now
    return Reckoned(told.tenant, told.borrower_id, told.loan_id, reminded, case_loan)
