"""What a borrower sees of their own debts: read in one go, and turned into values before a page is rendered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from urllib.parse import quote

import msgspec
from sqlalchemy.ext.asyncio import AsyncConnection

from libs.common.contracts.overdue_facts import Amounts, OverdueFact
from services.scheduler.borrower.bargain import NOTHING, Bargain, bargain_of
from services.scheduler.borrower.settings import LOAN, PageSettings
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Case, Debt
from services.scheduler.domain.links import Link
from services.scheduler.domain.promises import PROMISE_TERMS, Promise, PromiseTerms, promisable
from services.scheduler.pausing import day_of
from services.scheduler.rulebook import Rulebook
from services.scheduler.store import cases, debts, links
from services.scheduler.store.held import Held

_fact = msgspec.json.Decoder(OverdueFact).decode
REFERENCE_CHARS = 4


@dataclass(frozen=True, slots=True)
class DebtSeen:
    """One overdue debt."""

    loan_id: str
    product: str
    due_on: date | None
    overdue: Amounts
    pay_url: str | None
    reference: str
    """The end of the loan's id: enough to tell debts apart, too little to misuse."""


@dataclass(frozen=True, slots=True)
class PromiseSeen:
    """An open promise."""

    amount: int
    due_on: date


@dataclass(frozen=True, slots=True)
class CaseSeen:
    """The overdue debts of one currency, and what can be done about them."""

    case_id: str
    currency: str
    debts: tuple[DebtSeen, ...]
    promises: tuple[PromiseSeen, ...]
    first_day: date
    last_day: date
    in_doubt: bool
    bargain: Bargain = NOTHING
    promised: int = 0
    """How much of the total open promises already cover."""

    @property
    def promisable(self) -> int:
        """Return how much can still be promised."""
        return max(0, self.total - self.promised)

    @property
    def total(self) -> int:
        """Return the total overdue."""
        return sum(debt.overdue.total for debt in self.debts)

    @property
    def pay_url(self) -> str | None:
        """Return where all of it can be paid; None if each debt has its own URL."""
        places = {debt.pay_url for debt in self.debts}
        return places.pop() if len(places) == 1 else None


async def seen_by(conn: AsyncConnection, rulebook: Rulebook, link: Link, settings: PageSettings, now: datetime) -> tuple[CaseSeen, ...]:
    """Return what the holder of a link sees: that borrower's cases with a current spell, and nothing of anybody else's."""
    keys = await links.cases_of(conn, link.tenant, link.borrower_id)
    if not keys:
        return ()
    held = await cases.look(conn, keys, policy=(BUILT_IN.name, BUILT_IN.version))
    rules = await rulebook.of(conn, [link.tenant], now, held=held)
    facts = await debts.live_facts(conn, [(key.tenant, key.borrower_id, key.currency, key.loan_id) for key in keys])
    known = {fact.loan_id: fact for fact in (_fact(told) for _, (_, told, _) in facts if told is not None)}
    found = []
    for one in held:
        pinned = rules.pinned(one)
        seen = _case(one, known, settings, PROMISE_TERMS if pinned is None else pinned.promises, now)
        found.append(replace(seen, bargain=await bargain_of(conn, one.case, pinned, now)))
    return tuple(found)


def _case(held: Held, known: dict[str, OverdueFact], settings: PageSettings, terms: PromiseTerms, now: datetime) -> CaseSeen:
    case, late = held.case, held.case.owed
    today = day_of(now, min(late, key=lambda debt: debt.loan_id)) if late else now.date()
    ordered = sorted(late, key=lambda debt: (debt.past_due_from or date.max, debt.loan_id))
    facts = [known[debt.loan_id] for debt in ordered if debt.loan_id in known]
    return CaseSeen(
        case.case_id, case.currency, tuple(_debt(fact, settings) for fact in facts), _promises(case), today,
        today + timedelta(days=terms.most_days), any(debt.doubted for debt in case.debts), promised=_promised(late, case.promises),
    )  # fmt: skip


def _debt(fact: OverdueFact, settings: PageSettings) -> DebtSeen:
    url = None if settings.pay_url is None else settings.pay_url.replace(LOAN, quote(fact.loan_id, safe=""))
    due_on = fact.anchor.due_on if fact.anchor else None
    return DebtSeen(fact.loan_id, fact.product, due_on, fact.overdue, url, "".join(filter(str.isalnum, fact.loan_id))[-REFERENCE_CHARS:])


def _promised(late: Sequence[Debt], promises: Sequence[Promise]) -> int:
    overdue = {debt.loan_id: debt.overdue for debt in late}
    return sum(overdue.values()) - promisable(overdue, overdue, promises)


def _promises(case: Case) -> tuple[PromiseSeen, ...]:
    return tuple(PromiseSeen(one.amount, one.due_on) for one in case.promises if one.open)
