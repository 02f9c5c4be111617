"""Money is whole minor units, written for people only at the edge."""

from __future__ import annotations

from decimal import Decimal

import pytest
from babel import Locale
from babel.localedata import locale_identifiers
from babel.numbers import format_decimal
from hypothesis import given
from hypothesis import strategies as st

from libs.common.money import CURRENCIES, MAX_MINOR, exponent, written


@pytest.mark.parametrize(
    ("amount", "currency", "locale", "text"),
    [
        (120450, "CNY", "en", "1,204.50"),
        (120450, "CNY", "zh_CN", "1,204.50"),
        (120450, "JPY", "ja", "120,450"),
        (120450, "KWD", "en", "120.450"),
        (120450, "IQD", "en", "120.450"),
        (120450, "RSD", "en", "1,204.50"),
        (120450, "EUR", "de", "1.204,50"),
        (120450, "INR", "en_IN", "1,204.50"),
        (1_234_567_890, "INR", "en_IN", "1,23,45,678.90"),
        (0, "CNY", "en", "0.00"),
        (0, "JPY", "en", "0"),
        (5, "CNY", "en", "0.05"),
        (5, "KWD", "en", "0.005"),
        (99, "CNY", "en", "0.99"),
        (MAX_MINOR, "CNY", "en", "10,000,000,000,000.00"),
        (MAX_MINOR - 1, "KWD", "en", "999,999,999,999.999"),
    ],
)
def test_an_amount_is_written_as_its_reader_expects(amount: int, currency: str, locale: str, text: str) -> None:
    assert written(amount, currency, locale) == text


@given(st.integers(0, MAX_MINOR), st.sampled_from(["CNY", "JPY", "KWD", "USD", "CLP", "BHD"]), st.sampled_from(["en", "zh", "ja", "en_IN"]))
def test_no_unit_is_lost_between_the_number_and_its_text(amount: int, currency: str, locale: str) -> None:
    digits = "".join(sign for sign in written(amount, currency, locale) if sign.isdigit())
    assert int(digits) == amount


@given(st.integers(-MAX_MINOR, MAX_MINOR), st.sampled_from(["CNY", "JPY", "KWD"]), st.sampled_from(locale_identifiers()))
def test_an_amount_is_written_as_the_locale_data_say(amount: int, currency: str, locale: str) -> None:
    digits = exponent(currency)
    pattern = Locale.parse(locale).decimal_formats[None].pattern.partition(".")[0] + ("." + "0" * digits if digits else "")
    assert written(amount, currency, locale) == format_decimal(Decimal(amount).scaleb(-digits), format=pattern, locale=locale)


@given(st.integers(0, MAX_MINOR), st.sampled_from(["en_ZA", "fr_FR", "de_CH", "es_MX", "en_IN", "sv_SE"]))
def test_an_amount_in_an_sms_costs_no_more_of_it_than_its_digits(amount: int, locale: str) -> None:
    assert (text := written(amount, "EUR", locale, plain=True)).isascii()
    assert "".join(filter(str.isdigit, text)) == "".join(filter(str.isdigit, written(amount, "EUR", locale)))


def test_every_currency_can_be_written() -> None:
    assert all(written(123456, currency, "en") for currency in CURRENCIES)
    assert {"CNY", "JPY", "KWD", "USD", "VND"} <= CURRENCIES
    assert not {"XXQ", "cny", ""} & CURRENCIES
