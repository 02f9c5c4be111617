"""How personal data is shown to those who may not read it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifier.domain.masking import address, name


@pytest.mark.parametrize(
    ("channel", "plain", "shown"),
    [
        ("sms", "+8613800001234", "+86 138 **** 1234"),
        ("call", "+86 138-0000-1234", "+86 138 **** 1234"),
        ("sms", "+12025550123", "+1 202 **** 0123"),
        ("sms", "+351912345678", "+351 **** 5678"),
        ("sms", "138", "****"),
        ("sms", "8613800001234", "+86 138 **** 1234"),
        ("email", "li.wei@example.org", "l****@example.org"),
        ("email", "nobody", "****"),
        ("push", "a-device-token", "****"),
        ("visit", "1 Long Road", "****"),
    ],
)
def test_an_address_is_known_again_and_cannot_be_used(channel: str, plain: str, shown: str) -> None:
    assert address(channel, plain) == shown


def test_a_name_is_its_first_letters() -> None:
    assert (name("Li Wei"), name("Ana"), name(" ")) == ("L. W.", "A.", "")


@given(st.from_regex(r"\+[1-9][0-9]{9,14}", fullmatch=True))
def test_of_no_number_all_digits_are_shown(number: str) -> None:
    assert len([sign for sign in address("sms", number) if sign.isdecimal()]) <= len(number) - 1 - 3
