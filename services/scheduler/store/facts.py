"""What the rules need of a fact, whether just received or stored."""

from __future__ import annotations

from datetime import date

import msgspec

from libs.common.contracts.overdue_facts import Doubt, NextDue, OverdueFact, Pause
from libs.common.contracts.values import Moment
from libs.common.value import Value
from services.scheduler.domain.case import Debt

_NOWHERE: frozenset[str] = frozenset()


class Total(Value, frozen=True):
    """An amount without its components."""

    total: int = 0


class FactKept(Value, frozen=True, kw_only=True):
    """The part of a fact that makes up a debt. It was checked on arrival: decoding it this way costs half as much as decoding it all."""

    loan_id: str
    product: str
    timezone: str
    jurisdictions: tuple[str, ...]
    status: str
    epoch: int
    version: int
    as_of: date
    overdue: Total
    outstanding: Total
    grace_days: int = 0
    past_due_days_from: date | None = None
    pauses: tuple[Pause, ...] = ()
    next_due: NextDue | None = None
    doubt: Doubt | None = None
    resting_until: Moment | None = None
    received: int | None = None
    segment: str | None = None


_kept = msgspec.json.Decoder(FactKept).decode


def debt_of(fact: OverdueFact | FactKept, segment: str | None = None) -> Debt:
    """Return the debt described by a fact, with its borrower's current segment."""
    return Debt(
        loan_id=fact.loan_id, epoch=fact.epoch, version=fact.version, timezone=fact.timezone, jurisdictions=fact.jurisdictions,
        active=fact.status == "active", overdue=fact.overdue.total, past_due_from=fact.past_due_days_from, grace_days=fact.grace_days,
        pauses=tuple([(pause.from_, pause.until) for pause in fact.pauses]), doubted=fact.doubt is not None,
        resting_until=fact.resting_until,
        next_due_on=fact.next_due.due_on if fact.next_due else None, next_due=fact.next_due.total if fact.next_due else 0,
        product=fact.product,
        received=-fact.outstanding.total if fact.received is None else fact.received,
        segments=_NOWHERE if fact.segment is segment is None else frozenset([one for one in (fact.segment, segment) if one is not None]),
        as_of=fact.as_of,
    )  # fmt: skip


def debt_stored(fact: bytes, segment: str | None) -> Debt:
    """Return the debt described by a stored fact, with its borrower's current segment."""
    return debt_of(_kept(fact), segment)
