"""A schedule of equal instalments, for a book that keeps only their number."""

from __future__ import annotations

from calendar import monthrange
from datetime import date, timedelta
from typing import Any

from libs.common.contracts.values import MAX_INSTALMENTS


def equal_instalments(*, principal: int, n: int, first_due_on: date, every: str, interest: int = 0) -> list[dict[str, Any]]:
    """Return n instalments of whole minor units; what does not divide is due with the last."""
    if not 1 <= n <= MAX_INSTALMENTS:
        raise ValueError(f"a schedule has 1 to {MAX_INSTALMENTS} instalments, not {n}")
    return [
        {
            "n": place + 1,
            "due_on": _due_on(first_due_on, place, every),
            "principal": _part(principal, n, place),
            "interest": _part(interest, n, place),
        }
        for place in range(n)
    ]


def _part(total: int, n: int, place: int) -> int:
    return total // n + (total % n if place == n - 1 else 0)


def _due_on(first: date, place: int, every: str) -> date:
    """Return the same day of a later month, or that month's last day."""
    if every == "month":
        year, month = divmod(first.year * 12 + first.month - 1 + place, 12)
        return date(year, month + 1, min(first.day, monthrange(year, month + 1)[1]))
    return first + timedelta(days=(7 if every == "week" else int(every)) * place)
