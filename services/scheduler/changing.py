"""A changed policy on its way to the debts: when their reminders are due, and the spells that it asks to be looked at."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.domain.choosing import Choices
from services.scheduler.domain.planner import reminder_at
from services.scheduler.rulebook import Rulebook
from services.scheduler.store import cases, changes
from services.scheduler.store.held import CaseKey, case_key


async def tell_change(conn: AsyncConnection, rulebook: Rulebook, now: datetime, limit: int) -> int | None:
    """Tell the next debts of a change whose moment has come, and return how many; None when there is no such change.

    Debts are locked before cases, in key order, as the handler of facts does.
    """
    change = await changes.claim(conn, now)
    if change is None:
        return None
    told = await changes.next_debts(conn, change, limit)
    rules = await rulebook.of(conn, [change.tenant], now)
    choices = rules.choices_of(change.tenant)
    await changes.reckon(conn, [changes.Reckoned(change.tenant, d.borrower_id, d.loan_id, _wake_at(d, choices, now)) for d in told])
    late: dict[CaseKey, datetime] = {}
    for debt in told if change.wakes else ():
        if debt.owed:
            key = case_key(change.tenant, debt.borrower_id, debt.currency)
            late[key] = max(debt.fact_at, late.get(key, debt.fact_at))
    if late:
        await cases.wake(conn, late, now)
    if len(told) < limit:
        await changes.end(conn, change)
    else:
        await changes.move(conn, change, told[-1])
    return len(told)


def _wake_at(told: changes.Told, choices: Choices, now: datetime) -> datetime | None:
    if told.owed:
        return None
    debt = cases.debt_stored(told.fact)
    try:
        return reminder_at(debt, choices.of((debt,), told.borrower_id), now)
    except Exception:  # noqa: BLE001  # what the rules cannot digest is woken at once, so that its case is parked where people see it
        return now
