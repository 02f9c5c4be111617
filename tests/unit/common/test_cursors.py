"""Places in a feed: what a reader's cursor leads to, whatever has happened to the database since."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.feed.cursors import Cursor, Standing, place

numbers = st.integers(0, 10**15 - 1)
epochs = st.integers(0, 9999)


@given(st.builds(Cursor, epochs, numbers), st.builds(Cursor, epochs, numbers))
def test_cursors_are_read_as_they_are_written_and_sort_as_their_texts_do(one: Cursor, other: Cursor) -> None:
    assert Cursor.read(one.text) == one
    assert (one < other) == (one.text < other.text)


@pytest.mark.parametrize("text", ["", "7", "0001-7", "0001-0000000000000070", "0001-00000000000000७", "0001-000000000000007\n", "x"])
def test_what_is_no_cursor_is_none(text: str) -> None:
    assert Cursor.read(text) is None


@given(begins=st.integers(0, 50), length=st.integers(0, 50), number=st.integers(0, 200))
def test_a_reader_goes_on_behind_what_it_has_or_is_told_that_the_next_is_gone(begins: int, length: int, number: int) -> None:
    found = place(Cursor(3, number), Standing(3, begins, begins + length))
    if number < begins:
        assert found is None
    else:
        assert found == min(number, begins + length)


@given(kept=st.integers(0, 40), lost=st.integers(0, 40), new=st.integers(0, 80), seen=st.integers(0, 80))
def test_after_a_restore_nothing_that_was_said_anew_is_skipped(kept: int, lost: int, new: int, seen: int) -> None:
    """The database knows `kept` messages of epoch 1 and has said `new` ones since; a reader had seen some of those that it lost."""
    seen = min(seen, kept + lost)
    found = place(Cursor(1, seen), Standing(2, 0, kept + new, known=kept))
    assert found == min(seen, kept)


def test_of_an_epoch_of_which_nothing_is_kept_all_is_read_that_is() -> None:
    assert place(Cursor(1, 90), Standing(2, 70, 120, known=None)) == 70
