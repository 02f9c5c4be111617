"""Money: integers in minor units of an ISO 4217 currency, written for people only at the edge."""

from __future__ import annotations

from decimal import Decimal

from babel.numbers import format_decimal, get_currency_precision, list_currencies

CURRENCIES = frozenset(list_currencies())
"""ISO 4217 codes, those withdrawn included: old loans keep their currency."""

MAX_MINOR = 10**15
"""The largest amount of the public contract, in minor units."""

MAX_SUM_MINOR = 2**63 - 1
"""The largest sum that a column holds; what would pass it is parked, not wrapped."""


_ISO_EXPONENTS = {"IQD": 3} | dict.fromkeys(("AFN", "ALL", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SOS", "SYP", "YER"), 2)
"""Where CLDR has 0 because nobody writes the decimals: an amount in minor units read by it would be a hundred times too large."""


def exponent(currency: str) -> int:
    """Return how many decimals ISO 4217 gives the currency: its minor unit is ten to the power of minus that."""
    return _ISO_EXPONENTS.get(currency, get_currency_precision(currency))


def written(amount_minor: int, currency: str, locale: str) -> str:
    """Return the amount as a reader of that locale expects it, without the currency: `1,204.50`."""
    digits = exponent(currency)
    value = Decimal(amount_minor).scaleb(-digits)
    pattern = "#,##0" + ("." + "0" * digits if digits else "")
    return str(format_decimal(value, format=pattern, locale=locale))
