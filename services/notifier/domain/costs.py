"""What messages cost: the parts of an SMS times the price of one, exact, and rounded up to what can be paid."""

from __future__ import annotations

from collections.abc import Sequence

from libs.common.money import exponent
from libs.common.value import Value
from services.notifier.domain.tenant import Price


class Cost(Value, frozen=True):
    """Exact in millionths of the currency's unit, and rounded up to the minor unit."""

    millionths: int
    amount: int
    currency: str


def cost_of(parts: int, price: Price) -> Cost:
    """Return what so many parts cost."""
    return _cost(parts * price.millionths, price.currency)


def total(costs: Sequence[Cost]) -> Cost | None:
    """Return the sum; None where there is nothing to add, or no one currency to add it in."""
    currencies = {cost.currency for cost in costs}
    return _cost(sum(cost.millionths for cost in costs), currencies.pop()) if len(currencies) == 1 else None


def _cost(millionths: int, currency: str) -> Cost:
    return Cost(millionths, -(-millionths * 10 ** exponent(currency) // 10**6), currency)
