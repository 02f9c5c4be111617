"""A resealed profile says the same to the notifier as before, and is opened without an exchange of keys."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common import sealing
from libs.common.contracts.borrower_profiles import BorrowerProfile, SealedAddress
from libs.common.sealing import OWN, Ring, SealError, new_borrower_key, new_pair, seal
from services.notifier.resealing import resealed

PRIVATE, PUBLIC = new_pair()
CONTEXT = "default/b1"


def a_profile(name: str | None, addresses: list[str]) -> BorrowerProfile:
    key = new_borrower_key(PUBLIC, CONTEXT)

    def sealed(value: str, what: str) -> str:
        return sealing.as_text(seal(value.encode(), key.public, f"{CONTEXT}/{what}"))

    return BorrowerProfile(
        borrower_id="b1", time=datetime(2026, 11, 24, tzinfo=UTC), id="p", key=sealing.as_text(key.wrapped_private), locale="en",
        sealed_name=sealed(name, "name") if name is not None else None,
        addresses=tuple(SealedAddress(channel="sms", sealed=sealed(one, "address"), lookup=f"hash-{n}") for n, one in enumerate(addresses)),
    )  # fmt: skip


def opened(profile: BorrowerProfile, ring: Ring) -> tuple[str | None, list[str]]:
    holder = ring.holder(profile.key, CONTEXT)
    name = holder.unseal(sealing.from_text(profile.sealed_name), f"{CONTEXT}/name").decode() if profile.sealed_name else None
    return name, [holder.unseal(sealing.from_text(one.sealed), f"{CONTEXT}/address").decode() for one in profile.addresses]


def personal(profile: BorrowerProfile) -> list[bytes]:
    sealed = [profile.key, *([profile.sealed_name] if profile.sealed_name else []), *(one.sealed for one in profile.addresses)]
    return [sealing.from_text(one) for one in sealed]


@given(st.none() | st.text(st.characters(codec="utf-8")), st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=3))
@settings(max_examples=30)
def test_name_and_addresses_are_what_they_were_and_nothing_else_changes(name: str | None, addresses: list[str]) -> None:
    ring, came = Ring((PRIVATE,)), a_profile(name, addresses)
    kept = resealed(ring, "default", came)
    assert opened(kept, ring) == (name, addresses)
    assert all(one.startswith(OWN) for one in personal(kept))
    bare = [
        msgspec.structs.replace(
            one, key="", sealed_name=None, addresses=tuple(msgspec.structs.replace(address, sealed="") for address in one.addresses)
        )
        for one in (came, kept)
    ]
    assert bare[0] == bare[1]


def test_without_the_key_of_the_ring_nothing_of_it_is_opened() -> None:
    kept = resealed(Ring((PRIVATE,)), "default", a_profile("Li Wei", ["+8613800000001"]))
    stranger = Ring((new_pair()[0],))
    with pytest.raises(SealError):
        opened(kept, stranger)
    for sealed in personal(kept):
        with pytest.raises(SealError):
            stranger.unseal(sealed, f"{CONTEXT}/name")


@pytest.mark.parametrize("damage", ["key", "sealed_name", "address"])
def test_what_cannot_be_opened_stays_as_it_came(damage: str) -> None:
    ring, came = Ring((PRIVATE,)), a_profile("Li Wei", ["+8613800000001", "+8613800000002"])
    first, second = came.addresses
    broken = msgspec.structs.replace(first, sealed="AAAA")
    damaged = msgspec.structs.replace(came, **({"addresses": (broken, second)} if damage == "address" else {damage: "AAAA"}))
    kept = resealed(ring, "default", damaged)
    if damage == "key":
        assert kept == damaged
    else:
        assert "AAAA" in {kept.sealed_name, kept.addresses[0].sealed}
        assert sealing.from_text(kept.addresses[1].sealed).startswith(OWN)
