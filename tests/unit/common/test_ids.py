"""Identifiers: derived where a repeat must be the same thing, ordered by time elsewhere."""

from __future__ import annotations

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.common import ids
from libs.common.contracts.values import Id

parts = st.lists(st.text(st.characters(blacklist_characters="\x1f", codec="utf-8"), max_size=6), min_size=1, max_size=4)


def test_a_derived_id_is_the_same_for_ever() -> None:
    """Changing this value sends every task of every open case a second time."""
    assert ids.derived("t", "default", "c-1", 1, "gentle", 0) == "t-4hd224dzs65brq3fb8a6"


def test_where_a_part_ends_is_part_of_the_id() -> None:
    lists = [("a", "b"), ("ab",), ("a", "b", ""), ("", "a", "b"), ("b", "a"), ("a:b",), ("a.b",), ("a-b",)]
    assert len({ids.derived("t", *one) for one in lists}) == len(lists)


def test_the_prefix_is_part_of_the_id() -> None:
    assert ids.derived("a", "x").partition("-")[2] != ids.derived("b", "x").partition("-")[2]


@given(parts, parts)
def test_two_lists_of_parts_never_meet(one: list[str], other: list[str]) -> None:
    assert (ids.derived("t", *one) == ids.derived("t", *other)) == (one == other)


@given(st.lists(st.integers() | st.text(st.characters(codec="utf-8"))))
def test_a_derived_id_is_an_id_of_the_contract(some: list[object]) -> None:
    made = ids.derived("case", *some)
    assert re.fullmatch(r"case-[0-9a-z]{20}", made)
    assert msgspec.convert(made, Id) == made


def test_fresh_ids_differ_and_later_ones_sort_after_earlier_ones() -> None:
    made = [ids.fresh() for _ in range(2000)]
    assert len(set(made)) == len(made)
    stamps = [one[:13] for one in made]
    assert stamps == sorted(stamps)
    assert all(re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", one) for one in made)
