"""From the text of a cell to a value of the contract: exact, without floats, or one sentence why not."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import TypeVar
from zoneinfo import ZoneInfo

from libs.common.contracts.values import known_currency, known_zone, on_calendar
from libs.common.money import exponent

TRUE = frozenset(("true", "yes", "y", "1", "t"))
FALSE = frozenset(("false", "no", "n", "0", "f"))
_T = TypeVar("_T")
LENGTH = 40
"""Signs of a number; more is no amount of money."""


class Form(StrEnum):
    """What kind of value a field holds."""

    TEXT = "text"
    TEXTS = "texts"
    INTEGER = "integer"
    NUMBER = "number"
    AMOUNT = "amount"
    DATE = "date"
    MOMENT = "moment"
    BOOLEAN = "boolean"
    CURRENCY = "currency"
    ZONE = "zone"


FIRST = (Form.CURRENCY, Form.ZONE, Form.TEXT, Form.TEXTS)
"""The forms of cells that stand before the others and are read first, since how those are read may depend on them."""


@dataclass(frozen=True, slots=True)
class Spelling:
    """How the file writes values of this field."""

    decimal: str = "."
    thousands: str = ""
    minor: bool = False
    format: str | None = None
    zone: str | None = None
    separator: str | None = None


@dataclass(frozen=True, slots=True)
class Around:
    """What a cell's meaning depends on beside its own text; None where it is not known."""

    currency: str | None = None
    zone: str | None = None


def read(text: str, form: Form, spelling: Spelling, around: Around) -> object:
    """Return the value; raises ValueError with a sentence for whoever made the file."""
    match form:
        case Form.AMOUNT if not spelling.minor:
            return _amount(text, spelling, around.currency)
        case Form.NUMBER:
            return Decimal(".".join(_digits(text, spelling)).rstrip("."))
        case Form.DATE:
            return _date(text, spelling.format)
        case Form.MOMENT:
            return _moment(text, spelling.format, spelling.zone or around.zone)
        case Form.TEXTS:
            parts = text.split(spelling.separator) if spelling.separator else [text]
            return tuple(part.strip() for part in parts if part.strip())
        case _:
            return _PLAIN[form](text)


def minor_units(text: str, currency: str, spelling: Spelling) -> int:
    """Return an amount of money in minor units, refusing what cannot be said exactly."""
    whole, fraction = _digits(text, spelling)
    digits = exponent(currency)
    if fraction[digits:].strip("0"):
        raise ValueError(f"{text!r} has more decimals than {currency}, which has {digits}")
    return int(whole + fraction[:digits].ljust(digits, "0"))


def _digits(text: str, spelling: Spelling) -> tuple[str, str]:
    """Return the digits before and after the decimal sign."""
    if text.startswith("-") and text.strip("-0" + spelling.decimal):
        raise ValueError(f"{text[:LENGTH]!r} is negative, only 0 or more can stand here")
    found = _pattern(spelling).fullmatch(text) if len(text) <= LENGTH else None
    if found is None:
        thousands = f" and {spelling.thousands!r} between thousands" if spelling.thousands else ""
        raise ValueError(f"{text[:LENGTH]!r} is no number with {spelling.decimal!r} before the decimals{thousands}")
    whole = found["whole"]
    return whole.replace(spelling.thousands, "") if spelling.thousands else whole, found["fraction"] or ""


@cache
def _pattern(spelling: Spelling) -> re.Pattern[str]:
    """The last group has three digits, those before it two or three (Indian lakhs); the rest is a decimal sign in the wrong place."""
    whole, between = "[0-9]+", re.escape(spelling.thousands)
    if between:
        whole = f"[0-9]{{1,3}}(?:{between}[0-9]{{2,3}})*{between}[0-9]{{3}}|{whole}"
    return re.compile(f"[+-]?(?P<whole>{whole})(?:{re.escape(spelling.decimal)}(?P<fraction>[0-9]+))?")


def _amount(text: str, spelling: Spelling, currency: str | None) -> int:
    if currency is None:
        raise ValueError("the currency of this amount is not known: map a currency, here or at the top of the mapping")
    return minor_units(text, currency, spelling)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(f"{text[:LENGTH]!r} is no whole number")
    return int(text)


def _date(text: str, pattern: str | None) -> date:
    day = _parsed(text, pattern).date() if pattern else _iso(date.fromisoformat, text, "date like 2026-01-31")
    on_calendar(day)
    return day


def _moment(text: str, pattern: str | None, zone: str | None) -> datetime:
    moment = _parsed(text, pattern) if pattern else _iso(datetime.fromisoformat, text, "time like 2026-01-31T09:30:00")
    on_calendar(moment.date())
    if moment.tzinfo is not None:
        return moment
    if zone is None:
        raise ValueError(f"{text!r} has no time zone: name a `zone` here, or a timezone at the top of the mapping")
    return moment.replace(tzinfo=ZoneInfo(zone))


def _iso(parse: Callable[[str], _T], text: str, what: str) -> _T:
    try:
        return parse(text)
    except ValueError:
        raise ValueError(f"{text[:LENGTH]!r} is no {what}; another way of writing is named by `format`") from None


def _parsed(text: str, pattern: str) -> datetime:
    try:
        return datetime.strptime(text, pattern)  # noqa: DTZ007  # the zone is put on by whoever wants a moment
    except ValueError:
        raise ValueError(f"{text[:LENGTH]!r} is not written as {pattern!r} says") from None


def _boolean(text: str) -> bool:
    word = text.lower()
    if word not in TRUE | FALSE:
        raise ValueError(f"{text[:LENGTH]!r} is neither yes nor no; other words are translated by `values`")
    return word in TRUE


def _currency(text: str) -> str:
    known_currency(text)
    return text


def _zone(text: str) -> str:
    known_zone(text)
    return text


_PLAIN: dict[Form, Callable[[str], object]] = {
    Form.TEXT: str,
    Form.INTEGER: _integer,
    Form.AMOUNT: _integer,
    Form.BOOLEAN: _boolean,
    Form.CURRENCY: _currency,
    Form.ZONE: _zone,
}
