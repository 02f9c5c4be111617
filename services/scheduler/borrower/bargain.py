"""What borrower and lender can agree on through the page: open offers, and a plan the borrower may ask for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import msgspec
from sqlalchemy import RowMapping
from sqlalchemy.ext.asyncio import AsyncConnection

from services.scheduler.complaints import BORROWER
from services.scheduler.domain.case import Case
from services.scheduler.domain.dealing import OfferState
from services.scheduler.domain.policy import Policy
from services.scheduler.store import dealings

PLAN = "instalment_plan"
MOST_MONTHS = 24
"""The longest plan a borrower can ask for when the policy itself offers none: a person decides on it."""


@dataclass(frozen=True, slots=True)
class OfferSeen:
    """An offer the borrower can accept or decline up to the end of `until`."""

    offer_id: str
    max_months: int | None
    waive_interest_percent: int | None
    waive_fees_percent: int | None
    until: date


@dataclass(frozen=True, slots=True)
class Bargain:
    """Open offers, and the longest plan that may be asked for in months (0: none)."""

    offers: tuple[OfferSeen, ...] = ()
    plan_months: int = 0


NOTHING = Bargain()


async def bargain_of(conn: AsyncConnection, case: Case, policy: Policy | None, now: datetime) -> Bargain:
    """Return what can be agreed on; one plan request per spell, because while one is open nothing beyond messages happens."""
    rows = [row for row in await dealings.offers(conn, case) if row.spell == case.spell]
    standing = [row for row in rows if row.state == OfferState.OPEN and row.expires_at > now]
    asked = any(row.made_by == BORROWER for row in rows) or any(offer.stands(now) for offer in case.offers)
    return Bargain(tuple(_offer(row) for row in standing), 0 if asked or not case.owed else _months(policy))


def _months(policy: Policy | None) -> int:
    limits: Sequence[int] = [limit.max_months or 0 for limit in policy.limits if limit.kind == PLAN] if policy is not None else []
    return max(limits, default=0) or MOST_MONTHS


def _offer(row: RowMapping) -> OfferSeen:
    terms: dict[str, Any] = msgspec.json.decode(row.terms)
    return OfferSeen(
        row.offer_id, terms.get("max_months"), terms.get("waive_interest_percent"), terms.get("waive_fees_percent"), row.expires_at.date()
    )  # fmt: skip
