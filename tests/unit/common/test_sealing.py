"""Personal data is sealed for one holder in one context, and opened by nobody else and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common import sealing
from libs.common.sealing import HEAD_BYTES, Ring, SealError, digest, new_borrower_key, new_pair, seal, unseal

PRIVATE, PUBLIC = new_pair()
CONTEXT = "default/B1/address"


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=30))
@settings(max_examples=30)
def test_what_is_sealed_is_opened_in_its_context(plain: bytes, context: str) -> None:
    assert unseal(seal(plain, PUBLIC, context), PRIVATE, context) == plain


@pytest.mark.parametrize("context", ["default/B2/address", "other/B1/address", "default/B1/name", "", CONTEXT + " "])
def test_a_sealed_address_cannot_be_moved_to_another_borrower_tenant_or_field(context: str) -> None:
    with pytest.raises(SealError):
        unseal(seal(b"+447700900123", PUBLIC, CONTEXT), PRIVATE, context)


def test_another_holder_opens_nothing() -> None:
    with pytest.raises(SealError):
        unseal(seal(b"+447700900123", PUBLIC, CONTEXT), new_pair()[0], CONTEXT)


def test_a_ring_seals_for_its_newest_key_and_opens_what_any_of_its_keys_was_sealed_for() -> None:
    newer, newer_public = new_pair()
    before, after = Ring((PRIVATE,)), Ring((newer, PRIVATE))
    old, new = before.seal(b"x", CONTEXT), after.seal(b"x", CONTEXT)
    assert (after.unseal(old, CONTEXT), after.unseal(new, CONTEXT)) == (b"x", b"x")
    assert unseal(new, newer, CONTEXT) == b"x"
    assert (old[:HEAD_BYTES], new[:HEAD_BYTES]) == (sealing.head_of(PUBLIC), sealing.head_of(newer_public))
    for ring, sealed in ((before, new), (Ring((newer,)), old)):
        with pytest.raises(SealError, match="not in the ring"):
            ring.unseal(sealed, CONTEXT)


@given(st.binary(max_size=200), st.text(st.characters(codec="utf-8"), max_size=30))
@settings(max_examples=30)
def test_what_a_ring_keeps_for_itself_is_opened_by_its_keys_in_its_context_and_by_nobody_else(plain: bytes, context: str) -> None:
    newer = new_pair()[0]
    kept = Ring((PRIVATE,)).keep(plain, context)
    assert Ring((newer, PRIVATE)).unseal(kept, context) == plain
    with pytest.raises(SealError, match="another context"):
        Ring((PRIVATE,)).unseal(kept, f"{context} ")
    with pytest.raises(SealError, match="not in the ring"):
        Ring((newer,)).unseal(kept, context)


def test_every_changed_byte_of_what_a_ring_keeps_is_noticed() -> None:
    ring = Ring((PRIVATE,))
    kept = ring.keep(b"+447700900123", CONTEXT)
    assert b"7700900" not in kept
    assert kept != ring.keep(b"+447700900123", CONTEXT)
    for at in range(len(kept)):
        with pytest.raises(SealError):
            ring.unseal(kept[:at] + bytes([kept[at] ^ 1]) + kept[at + 1 :], CONTEXT)


def test_what_is_sealed_for_the_newest_key_begins_in_one_of_two_ways() -> None:
    newer, older = new_pair()[0], new_pair()[0]
    ring, before = Ring((newer, older)), Ring((older,))
    assert {ring.seal(b"x", CONTEXT)[:HEAD_BYTES], ring.keep(b"x", CONTEXT)[:HEAD_BYTES]} == set(ring.heads)
    assert not {before.seal(b"x", CONTEXT)[:HEAD_BYTES], before.keep(b"x", CONTEXT)[:HEAD_BYTES]} & set(ring.heads)


def test_a_ring_that_is_printed_shows_no_private_key() -> None:
    assert repr(PRIVATE)[2:12] not in repr(Ring((PRIVATE,)))


def test_every_changed_byte_is_noticed() -> None:
    sealed = seal(b"+447700900123", PUBLIC, CONTEXT)
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(SealError):
            unseal(changed, PRIVATE, CONTEXT)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" * 48, b"\x02" * 80])
def test_what_was_never_sealed_is_said_to_be_so(sealed: bytes) -> None:
    with pytest.raises(SealError):
        unseal(sealed, PRIVATE, CONTEXT)


def test_the_same_text_sealed_twice_looks_different_and_shows_nothing() -> None:
    one, other = seal(b"+447700900123", PUBLIC, CONTEXT), seal(b"+447700900123", PUBLIC, CONTEXT)
    assert one != other
    assert b"7700900" not in one + other


def test_a_borrowers_key_opens_only_through_the_notifiers_and_only_for_that_borrower() -> None:
    key = new_borrower_key(PUBLIC, "default/B1")
    ring, wrapped = Ring((PRIVATE,)), sealing.as_text(key.wrapped_private)
    holder = ring.holder(wrapped, "default/B1")
    assert holder.unseal(seal(b"Example Borrower", key.public, CONTEXT), CONTEXT) == b"Example Borrower"
    with pytest.raises(SealError):
        ring.holder(wrapped, "default/B2")


def test_a_digest_is_equal_for_equal_parts_under_one_key_only() -> None:
    assert digest(b"k", "default", "+447700900123") == digest(b"k", "default", "+447700900123")
    others = [
        digest(b"other", "default", "+447700900123"),
        digest(b"k", "default+447700900123"),
        digest(b"k", "", "default", "+447700900123"),
    ]
    assert digest(b"k", "default", "+447700900123") not in others
    assert len(set(others)) == 3


def test_sealed_bytes_survive_json() -> None:
    sealed = seal(b"x", PUBLIC, CONTEXT)
    assert sealing.from_text(sealing.as_text(sealed)) == sealed


def test_a_forged_message_with_a_low_order_point_is_refused_like_any_other() -> None:
    private, public = sealing.new_pair()
    with pytest.raises(sealing.SealError, match="another key or another context"):
        sealing.unseal(sealing.head_of(public) + b"\x00" * 52, private, "default/b/address")
