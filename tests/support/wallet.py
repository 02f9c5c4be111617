"""Events as a wallet publishes them."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from typing import Any

Event = dict[str, Any]
_numbers = itertools.count(1)
TODAY = date(2026, 11, 20)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def event(name: str, /, *, recorded: datetime = NOON, event_id: str | None = None, source: str = "wallet", **data: Any) -> Event:
    """Return a CloudEvent with a unique id."""
    return {
        "specversion": "1.0", "id": event_id or f"e{next(_numbers)}", "source": source, "type": f"wallet.{name}.v1",
        "time": recorded.isoformat(), "subject": data.get("loan_id") or data.get("borrower_id"), "data": data,
    }  # fmt: skip


def instalment(n: int, days: int, principal: int = 9000, **parts: int) -> Event:
    """Return an instalment due that many days from today."""
    return {"n": n, "due_on": (TODAY + timedelta(days=days)).isoformat(), "principal": principal, **parts}


def loan(loan_id: str, *schedule: Event, borrower_id: str | None = None, **changes: Any) -> Event:
    """Return a disbursement; by default three instalments of 100.00, due 40 and 10 days ago and in 20 days."""
    rows = schedule or tuple(instalment(n, days, interest=1000) for n, days in ((1, -40), (2, -10), (3, 20)))
    data = {
        "loan_id": loan_id, "borrower_id": borrower_id or f"b-{loan_id}", "product": "cash-loan", "currency": "CNY",
        "disbursed_on": (TODAY - timedelta(days=70)).isoformat(), "timezone": "Etc/GMT", "jurisdictions": ["ZZ"], "schedule": list(rows),
    }  # fmt: skip
    return event("loan.disbursed", recorded=NOON - timedelta(days=70), **{**data, **changes})


def repayment(loan_id: str, amount: int, days: int = 0, **more: Any) -> Event:
    """Return a payment made that many days from today."""
    paid_at = (NOON + timedelta(days=days)).isoformat()
    return event("repayment.received", loan_id=loan_id, repayment_id=f"r{next(_numbers)}", amount=amount, paid_at=paid_at, **more)
