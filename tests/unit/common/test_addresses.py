"""Addresses as they are compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.addresses import compared, lookup_of

KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("channel", "one", "other"),
    [
        ("sms", "+8613800001234", "+86 138-0000-1234"),
        ("call", "+8613800001234", "0086 (138) 0000.1234"),
        ("sms", "+12025550123", "12025550123"),
        ("email", "Li.Wei@Example.org ", "li.wei@example.org"),
        ("visit", "1  Long Road, Kunming", "1 long road, kunming"),
    ],
)
def test_two_spellings_of_one_address_are_the_same(channel: str, one: str, other: str) -> None:
    assert lookup_of(KEY, "t", channel, one) == lookup_of(KEY, "t", channel, other)


def test_a_telephone_is_the_same_on_every_channel_that_reaches_it_and_a_name_is_not() -> None:
    assert lookup_of(KEY, "t", "sms", "+8613800001234") == lookup_of(KEY, "t", "call", "+8613800001234")
    assert lookup_of(KEY, "t", "inbox", "li") != lookup_of(KEY, "t", "chat", "li")


def test_without_the_key_or_for_another_tenant_it_is_another_hash() -> None:
    mine = lookup_of(KEY, "t", "sms", "+8613800001234")
    assert mine not in {lookup_of(bytes(32), "t", "sms", "+8613800001234"), lookup_of(KEY, "u", "sms", "+8613800001234")}


@given(st.sampled_from(["sms", "email", "visit", "push"]), st.text(max_size=40))
def test_the_compared_form_of_a_compared_form_is_itself(channel: str, address: str) -> None:
    assert compared(channel, compared(channel, address)) == compared(channel, address)
