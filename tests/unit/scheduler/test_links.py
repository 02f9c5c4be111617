"""Links to the borrower's page: when they are open, what the second factor may be, and which forms are ours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.domain.links import LASTS, TRIES, VISIT, Link, Standing, digits_of, form_key, hashed, is_form_key

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
OPEN = Link(hashed("token"), "default", "B1", "l-1", NOW + LASTS, None, 0, in_spell=True)
TEXTS = st.text(max_size=40)


@given(
    age=st.timedeltas(min_value=timedelta(0), max_value=2 * LASTS), revoked=st.booleans(), in_spell=st.booleans(), tries=st.integers(0, 9)
)
def test_a_link_is_open_only_in_its_time_and_spell_and_while_tries_are_left(
    age: timedelta, revoked: bool, in_spell: bool, tries: int
) -> None:
    link = replace(OPEN, revoked_at=NOW if revoked else None, in_spell=in_spell, tries=tries)
    standing = link.standing(NOW + age)
    assert (standing is Standing.OPEN) == (age < LASTS and not revoked and in_spell and tries < TRIES)
    assert (standing is Standing.LOCKED) == (age < LASTS and not revoked and in_spell and tries >= TRIES)


@given(TEXTS)
def test_only_its_own_token_opens_a_link(other: str) -> None:
    assert OPEN.is_of("token")
    assert OPEN.is_of(other) == (other == "token")


@given(token=TEXTS, visit=TEXTS, other_token=TEXTS, other_visit=TEXTS)
def test_a_form_is_good_for_the_link_and_visit_it_was_made_for_and_no_other(
    token: str, visit: str, other_token: str, other_visit: str
) -> None:
    key = form_key(token, visit)
    assert is_form_key(key, token, visit)
    assert is_form_key(key, other_token, other_visit) == ((token, visit) == (other_token, other_visit))
    assert not is_form_key("", token, visit)


@given(st.text(max_size=200))
def test_whatever_is_sent_as_a_form_key_is_judged(shown: str) -> None:
    assert not is_form_key(shown, "token", "visit") or shown == form_key("token", "visit")


def test_a_visit_ends_by_itself() -> None:
    visited = replace(OPEN, visit_hash=hashed("visit"), visit_until=NOW + VISIT)
    assert visited.visited_with("visit", NOW)
    assert not visited.visited_with("another", NOW)
    assert not visited.visited_with("visit", NOW + VISIT)
    assert not OPEN.visited_with("visit", NOW)


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("1234", "1234"), (" 12 34 ", "1234"), ("\u0661\u0662\u0663\u0664", "1234"), ("\uff11\uff12\uff13\uff14", "1234"),
        ("123", None), ("12345", None), ("", None), ("12a4", None), ("\u00b92\u00b34", None), ("-123", None),
    ],
)  # fmt: skip
def test_four_digits_are_read_in_whichever_script_they_are_typed(typed: str, digits: str | None) -> None:
    assert digits_of(typed) == digits


@given(TEXTS)
def test_what_is_read_as_digits_is_four_of_them(typed: str) -> None:
    found = digits_of(typed)
    assert found is None or (len(found) == 4 and found.isascii() and found.isdigit())
