"""Columns that travel as one string hold what they were, or do not travel."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from libs.common.db.arrays import column, joined

WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\x1e\x1f"), min_size=1, max_size=20)


@given(st.lists(st.none() | WORDS, max_size=20))
def test_what_is_joined_can_be_told_apart_again(values: list[str | None]) -> None:
    apart = joined(values).split("\x1f") if values else []
    assert [None if value == "\x1e" else value for value in apart] == values


@pytest.mark.parametrize("value", ["", "a\x1fb", "\x1e"])
def test_a_text_that_would_be_read_as_another_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot be part of a joined column"):
        joined(["a", value])


def test_the_sql_names_the_parameter() -> None:
    assert str(text(column("loans")).compile().params) == "{'loans': None}"
