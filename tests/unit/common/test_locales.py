"""Sums and days are written as in the reader's country, in the text's language."""

from __future__ import annotations

import pytest

from libs.common.locales import written_for
from libs.common.money import money


@pytest.mark.parametrize(
    ("text", "readers", "found"),
    [
        ("es", ["es-MX"], "1,020.00"), ("es", ["es_co"], "1.020,00"), ("es", ["es"], "1.020,00"), ("es", ["es-419"], "1,020.00"),
        ("es-ES", ["es-MX"], "1.020,00"), ("es", ["es", "es-PE"], "1,020.00"), ("es", [None, "es-XX"], "1.020,00"),
        ("es", ["es-MX-x-ab"], "1,020.00"), ("es", ["-", "123", "e"], "1.020,00"),
        ("en", ["fr-FR", "es-MX"], "1,020.00"), ("en", ["en-ZA"], "1\u00a0020,00"), ("zh", ["zh-Hant-TW"], "1,020.00"),
    ],
)  # fmt: skip
def test_a_text_without_a_country_takes_that_of_its_reader(text: str, readers: list[str | None], found: str) -> None:
    assert money(102_000, "EUR", written_for(text, *readers)) == f"EUR {found}"
