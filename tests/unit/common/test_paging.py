"""Cursors are ours, or refused."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.errors import DomainError
from libs.common.paging import after_moment, cursor_at, cut, moment_place, number_place, place_of


@given(at=st.datetimes(timezones=st.just(UTC)), last=st.text())
def test_a_page_goes_on_where_the_one_before_ended(at: datetime, last: str) -> None:
    assert moment_place(after_moment(at, last)) == (at, last)


@given(cursor=st.text())
def test_whatever_is_sent_as_a_cursor_is_a_place_or_a_refusal(cursor: str) -> None:
    for read in (moment_place, number_place, lambda one: place_of(one, "/v1/cases")):
        with suppress(DomainError):
            read(cursor)


@given(place=st.text(st.characters(exclude_categories=["Cs"])), path=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_list_takes_back_its_own_cursors_and_no_others(place: str, path: str) -> None:
    cursor = cursor_at(place, path)
    assert place_of(cursor, path) == place
    for other in (place, "", f"{cursor}A", cursor[:-1], cursor.swapcase(), f"{cursor}=", cursor_at(f"{place}0", path)[: len(cursor)]):
        with pytest.raises(DomainError):
            place_of(other, path)
    with pytest.raises(DomainError):
        place_of(cursor, f"{path}/holds")


@pytest.mark.parametrize("cursor", ["x", "2026-11-24T10:00:00+00:00", "2026-11-24T10:00:00~x", "~", ""])
def test_a_moment_without_offset_or_id_is_no_place(cursor: str) -> None:
    with pytest.raises(DomainError):
        moment_place(cursor)


@pytest.mark.parametrize("cursor", ["-1", "1.0", "1e3", "9" * 19, "\u0663", ""])
def test_only_a_plain_number_is_one(cursor: str) -> None:
    with pytest.raises(DomainError):
        number_place(cursor)


@given(items=st.lists(st.integers(), max_size=30, unique=True).map(sorted), limit=st.integers(1, 12))
def test_pages_give_every_item_once_in_order_and_the_last_one_says_that_nothing_follows(items: list[int], limit: int) -> None:
    seen: list[int] = []
    cursor: str | None = None
    for _ in range(max(1, -(-len(items) // limit))):
        behind = [item for item in items if cursor is None or item > int(cursor)]
        page, cursor = cut(behind[: limit + 1], limit, str)
        seen += page
    assert (seen, cursor) == (items, None)
