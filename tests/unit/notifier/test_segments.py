"""How a text is split into SMS."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.segments import BASIC, EXTENDED, LIMITS, Encoding, count_parts, segments

GSM = st.sampled_from(sorted(BASIC | EXTENDED))
ANY = st.text(st.characters(exclude_categories=["Cs"]) | GSM, max_size=500)


@pytest.mark.parametrize(
    ("text", "encoding", "units", "parts"),
    [
        ("a" * 160, "gsm7", 160, 1),
        ("a" * 161, "gsm7", 161, 2),
        ("a" * 306, "gsm7", 306, 2),
        ("a" * 307, "gsm7", 307, 3),
        ("€" * 80, "gsm7", 160, 1),
        ("€" * 81, "gsm7", 162, 2),
        ("a" * 159 + "€", "gsm7", 161, 2),
        ("a" * 152 + "€" + "a" * 152, "gsm7", 306, 3),
        ("é" * 160, "gsm7", 160, 1),
        ("á" + "a" * 69, "ucs2", 70, 1),
        ("字" * 70, "ucs2", 70, 1),
        ("字" * 71, "ucs2", 71, 2),
        ("字" * 134, "ucs2", 134, 2),
        ("字" * 135, "ucs2", 135, 3),
        ("😀" * 35, "ucs2", 70, 1),
        ("😀" * 36, "ucs2", 72, 2),
        ("字" * 66 + "😀" + "字" * 66, "ucs2", 134, 3),
        ("\u2019", "ucs2", 1, 1),
        ("", "gsm7", 0, 1),
    ],
)  # fmt: skip
def test_known_texts_are_counted_as_networks_do(text: str, encoding: str, units: int, parts: int) -> None:
    cut = segments(text)
    assert (cut.encoding.value, cut.units, len(cut.parts)) == (encoding, units, parts)


def test_the_alphabet_is_that_of_the_standard() -> None:
    assert len(BASIC) == 127  # 128 codes, one of which is the escape
    assert not BASIC & EXTENDED


def test_the_characters_that_make_a_text_dear_are_named_once_each() -> None:
    assert segments("it\u2019s \u201cso\u201d \u2013 it\u2019s").forcing == ("\u2019", "\u201c", "\u201d", "\u2013")


def width(text: str, encoding: Encoding) -> int:
    return len(text.encode("utf-16-be")) // 2 if encoding is Encoding.UCS2 else sum(2 if char in EXTENDED else 1 for char in text)


@given(ANY)
def test_parts_are_the_text_and_none_is_too_long_or_could_take_the_next_character(text: str) -> None:
    cut = segments(text)
    alone, shared = LIMITS[cut.encoding]
    assert "".join(cut.parts) == text
    assert cut.units == width(text, cut.encoding)
    assert (len(cut.parts) == 1) == (cut.units <= alone)
    if len(cut.parts) > 1:
        assert all(width(part, cut.encoding) <= shared for part in cut.parts)
        assert all(width(part + later[0], cut.encoding) > shared for part, later in zip(cut.parts, cut.parts[1:], strict=False))


@given(st.text(GSM, max_size=400))
def test_a_text_of_the_alphabet_is_never_wide(text: str) -> None:
    assert (segments(text).encoding, segments(text).forcing) == (Encoding.GSM7, ())


@given(ANY, ANY)
def test_more_text_never_costs_less(one: str, more: str) -> None:
    assert len(segments(one + more).parts) >= len(segments(one).parts)


@given(ANY | st.text(GSM, max_size=500))
def test_parts_are_counted_as_they_are_cut(text: str) -> None:
    assert count_parts(text) == len(segments(text).parts)
