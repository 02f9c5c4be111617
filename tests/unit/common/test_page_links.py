"""Links that messages carry: who has the key reads tenant and task out of one; nobody else makes one."""

from __future__ import annotations

import base64

from hypothesis import given
from hypothesis import strategies as st

from libs.common import ids
from libs.common.page_links import TOKEN_CHARS, PageLinks, Verifier, task_of, token_of

KEY, OTHER = b"k" * 32, b"o" * 32
TENANTS = ("default", "east", "west")
NUMBERS = st.integers(0, 2**100 - 1)


@given(number=NUMBERS, tenant=st.sampled_from(TENANTS), key=st.sampled_from([KEY, OTHER]))
def test_a_token_names_its_tenant_and_task_under_the_newest_key_and_those_before(number: int, tenant: str, key: bytes) -> None:
    task_id = ids.numbered("t", number)
    token = token_of(key, tenant, task_id)
    assert token is not None
    assert (len(token), task_of((KEY, OTHER), TENANTS, token)) == (TOKEN_CHARS, (tenant, task_id))
    assert task_of((KEY,) if key == OTHER else (OTHER,), TENANTS, token) is None
    assert task_of((KEY, OTHER), [one for one in TENANTS if one != tenant], token) is None


@given(number=NUMBERS, bit=st.integers(0, 8 * 24 - 1))
def test_no_bit_of_a_token_can_be_changed(number: int, bit: int) -> None:
    token = token_of(KEY, "default", ids.numbered("t", number))
    raw = int.from_bytes(base64.urlsafe_b64decode(token or "")) ^ 1 << bit
    assert task_of((KEY,), TENANTS, base64.urlsafe_b64encode(raw.to_bytes(24)).decode()) is None


@given(st.text(max_size=80) | st.text(min_size=TOKEN_CHARS, max_size=TOKEN_CHARS))
def test_whatever_is_asked_for_is_read_or_is_none_of_ours(token: str) -> None:
    assert Verifier((KEY,), TENANTS).read(token) is None


@given(NUMBERS)
def test_a_derived_id_and_its_number_are_one(number: int) -> None:
    assert ids.number_of("t", ids.numbered("t", number)) == number
    assert ids.number_of("h", ids.numbered("t", number)) is None


def test_only_what_a_policy_has_planned_has_a_link() -> None:
    links, task_id = PageLinks("https://pay.example", KEY), ids.derived("t", "default", "c-1", 1, "gentle", 1)
    assert links.of("default", task_id) == f"https://pay.example/b/{token_of(KEY, 'default', task_id)}"
    for other in ("h-" + task_id[2:], task_id[:-1], task_id.upper(), "t-" + "u" * 20, "task-7", ""):
        assert links.of("default", other) is None
