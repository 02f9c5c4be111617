"""Money: integers in minor units of an ISO 4217 currency, formatted for people only at the edge."""

from __future__ import annotations

from functools import cache, lru_cache

from babel import Locale
from babel.numbers import get_currency_precision, get_decimal_symbol, get_group_symbol, list_currencies

CURRENCIES = frozenset(list_currencies())
"""ISO 4217 codes, including withdrawn ones: old loans keep their currency."""

MAX_MINOR = 10**15
"""The largest amount of the public contract, in minor units."""

_ISO_EXPONENTS = {"IQD": 3} | dict.fromkeys(("AFN", "ALL", "IRR", "KPW", "LAK", "LBP", "MGA", "MMK", "RSD", "SOS", "SYP", "YER"), 2)
"""Where CLDR has 0 because nobody writes the decimals: read that way, an amount in minor units would be a hundred times too large."""


_THOUSANDS = (3, 3)
_SMS_SIGNS = {"\u00a0": " ", "\u202f": " ", "\u2019": "'"}


@cache
def exponent(currency: str) -> int:
    """Return the number of decimals ISO 4217 gives the currency: its minor unit is ten to the power of minus that."""
    return _ISO_EXPONENTS.get(currency, get_currency_precision(currency))


def written(amount_minor: int, currency: str, locale: str, *, plain: bool = False) -> str:
    """Return the amount as a reader of that locale expects it, without the currency: `1,204.50`.

    `plain`: only with characters of the SMS alphabet; any other would leave less than half the room in every SMS.
    """
    group, point, sizes = _signs(locale)
    digits = exponent(currency)
    whole, part = divmod(abs(amount_minor), 10**digits)
    decimals = f"{point}{part:0{digits}d}" if digits else ""
    return f"{'-' if amount_minor < 0 else ''}{_grouped(whole, sizes, _SMS_SIGNS.get(group, group) if plain else group)}{decimals}"


@lru_cache(maxsize=1024)
def money(amount_minor: int, currency: str, locale: str, *, plain: bool = False) -> str:
    """Return an amount with its currency: `CNY 120.50`; cached, as a message repeats most of its amounts."""
    return f"{currency} {written(amount_minor, currency, locale.replace('-', '_'), plain=plain)}"


def _grouped(whole: int, sizes: tuple[int, int], sign: str) -> str:
    if sizes == _THOUSANDS:
        return f"{whole:,}".replace(",", sign)
    last, others = sizes
    digits = str(whole)
    groups, rest = [digits[-last:]], digits[:-last]
    while rest:
        groups.append(rest[-others:])
        rest = rest[:-others]
    return sign.join(reversed(groups))


@cache
def _signs(locale: str) -> tuple[str, str, tuple[int, int]]:
    """Return a locale's group separator, its decimal separator, and the number of digits in the last and the other groups.

    An unknown one raises UnknownLocaleError.
    """
    return get_group_symbol(locale), get_decimal_symbol(locale), Locale.parse(locale).decimal_formats[None].grouping
