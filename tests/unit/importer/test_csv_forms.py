"""Cells become values exactly, or one sentence says why not."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import CURRENCIES, MAX_MINOR, exponent, written
from services.importer.csv_forms import Around, Form, Spelling, minor_units, read

AMOUNTS = st.integers(0, MAX_MINOR)
ANYWHERE = st.sampled_from(sorted(CURRENCIES))


@given(AMOUNTS, ANYWHERE)
def test_an_amount_written_with_its_decimals_is_read_back_to_the_unit(amount: int, currency: str) -> None:
    plain = f"{Decimal(amount).scaleb(-exponent(currency)):f}"
    assert minor_units(plain, currency, Spelling()) == amount
    assert minor_units(plain.replace(".", ","), currency, Spelling(decimal=",")) == amount


@given(AMOUNTS, ANYWHERE, st.sampled_from([("en", ".", ","), ("de", ",", "."), ("en_IN", ".", ",")]))
def test_an_amount_written_for_people_is_read_back_to_the_unit(amount: int, currency: str, style: tuple[str, str, str]) -> None:
    locale, decimal, thousands = style
    assert minor_units(written(amount, currency, locale), currency, Spelling(decimal, thousands)) == amount


@given(AMOUNTS, ANYWHERE, st.integers(1, 9))
def test_an_amount_finer_than_the_minor_unit_is_refused_and_never_rounded(amount: int, currency: str, last: int) -> None:
    text = f"{Decimal(amount * 10 + last).scaleb(-exponent(currency) - 1):f}"
    with pytest.raises(ValueError, match="more decimals than"):
        minor_units(text, currency, Spelling())
    if exponent(currency):
        assert minor_units(f"{Decimal(amount).scaleb(-exponent(currency)):f}000", currency, Spelling()) == amount


@pytest.mark.parametrize(
    ("currency", "amount"), [("EUR", 123400), ("JPY", 1234), ("KWD", 1234000), ("IQD", 1234000), ("CLF", 12340000), ("RSD", 123400)]
)
def test_the_minor_unit_is_that_of_iso_4217(currency: str, amount: int) -> None:
    assert minor_units("1234", currency, Spelling()) == amount


@pytest.mark.parametrize(
    ("text", "spelling", "says"),
    [
        ("12.50", Spelling(","), "no number with ',' before the decimals"),
        ("1,234.5", Spelling(), "no number"),
        ("1.50", Spelling(",", "."), "'.' between thousands"),
        ("1.2345,00", Spelling(",", "."), "no number"),
        ("-5.00", Spelling(), "is negative"),
        ("1e3", Spelling(), "no number"),
        ("€5", Spelling(), "no number"),
        ("٣", Spelling(), "no number"),
        ("NaN", Spelling(), "no number"),
        ("9" * 5000, Spelling(), "no number"),
        ("5.", Spelling(), "no number"),
    ],
)
def test_what_is_no_amount_is_refused_with_a_sentence(text: str, spelling: Spelling, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        minor_units(text, "CNY", spelling)


@pytest.mark.parametrize(
    ("text", "form", "spelling", "value"),
    [
        ("31.01.2026", Form.DATE, Spelling(format="%d.%m.%Y"), "2026-01-31"),
        ("2026-01-31", Form.DATE, Spelling(), "2026-01-31"),
        ("2026-01-31T09:30:00+02:00", Form.MOMENT, Spelling(zone="Asia/Tokyo"), "2026-01-31T09:30:00+02:00"),
        ("31.01.2026 09:30", Form.MOMENT, Spelling(format="%d.%m.%Y %H:%M", zone="Asia/Tokyo"), "2026-01-31T09:30:00+09:00"),
        ("2026-07-01", Form.MOMENT, Spelling(), "2026-07-01T00:00:00+02:00"),
        ("2026-01-01", Form.MOMENT, Spelling(), "2026-01-01T00:00:00+01:00"),
    ],
)
def test_days_and_moments_are_read_in_their_format_and_zone(text: str, form: Form, spelling: Spelling, value: str) -> None:
    found: Any = read(text, form, spelling, Around(zone="Europe/Berlin"))
    assert found.isoformat() == value


def test_other_forms_are_read_as_people_write_them() -> None:
    here = Around("CNY", "Asia/Shanghai")
    assert [read(text, Form.BOOLEAN, Spelling(), here) for text in ("Yes", "TRUE", "1", "n", "False")] == [True, True, True, False, False]
    assert read("ZZ| CN-SH |", Form.TEXTS, Spelling(separator="|"), here) == ("ZZ", "CN-SH")
    assert read("12050", Form.AMOUNT, Spelling(minor=True), Around()) == 12050
    assert read("2.50", Form.NUMBER, Spelling(), here) == Decimal("2.50")
    assert read("2026-01-31 09:30", Form.MOMENT, Spelling(), here) == datetime(2026, 1, 31, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "form", "says"),
    [
        ("31.01.2026", Form.DATE, "no date like 2026-01-31"),
        ("1850-01-01", Form.DATE, "not between 1970"),
        ("2026-01-31 09:30", Form.MOMENT, "no time zone"),
        ("maybe", Form.BOOLEAN, "neither yes nor no"),
        ("1.5", Form.INTEGER, "no whole number"),
        ("5.00", Form.AMOUNT, "currency of this amount is not known"),
        ("EURO", Form.CURRENCY, "not an ISO 4217 currency"),
        ("Berlin", Form.ZONE, "not an IANA time zone"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(text: str, form: Form, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read(text, form, Spelling(), Around())
