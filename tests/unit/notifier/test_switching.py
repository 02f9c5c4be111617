"""Which contacts a position of the stop button concerns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.contact_tasks import PolicyRef
from services.notifier.domain.switching import Position, Scope, channels_at
from tests.unit.notifier.values import a_request

REQUEST = a_request(policy=PolicyRef(name="standard", version=3), step="firm", template="final")
HERE = ("BR-SP", "CN")
NAMES = st.sampled_from(["standard", "standard@3", "standard@2", "firm", "standard/firm", "other/firm", "final", "sms", "BR", "US"])


def off(scope: str, key: str = "", *, places: tuple[str, ...] = HERE) -> frozenset[str]:
    return channels_at([Position(scope, key, "off")], "off", REQUEST, places)


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("all", ""), ("tenant", ""), ("policy", "standard"), ("policy", "standard@3"), ("step", "firm"), ("step", "standard/firm"),
        ("template", "final"), ("region", "CN"), ("region", "BR"), ("region", "BR-SP"), ("a later release's", "x"),
    ],
)  # fmt: skip
def test_what_is_in_the_scope_is_off_on_every_channel(scope: str, key: str) -> None:
    assert off(scope, key) == {"*"}


@pytest.mark.parametrize(
    ("scope", "key"),
    [
        ("policy", "standard@2"), ("policy", "stand"), ("step", "gentle"), ("step", "other/firm"), ("template", "gentle"),
        ("region", "BR-RJ"), ("region", "B"), ("region", "US"), ("region", "C"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_scope_goes(scope: str, key: str) -> None:
    assert off(scope, key) == frozenset()


def test_who_may_be_in_a_region_is() -> None:
    assert off("region", "BR-SP", places=("BR",)) == {"*"}
    assert off("region", "CN", places=()) == {"*"}


def test_a_channel_is_off_by_itself() -> None:
    assert off("channel", "sms") == {"sms"}


@given(st.lists(st.builds(Position, st.sampled_from([scope.value for scope in Scope]), NAMES, st.sampled_from(["on", "off", "shadow"]))))
def test_positions_only_ever_add_up_and_on_never_outweighs_off(positions: list[Position]) -> None:
    for contacts in ("off", "shadow"):
        each = [channels_at([one], contacts, REQUEST, HERE) for one in positions]
        assert channels_at(positions, contacts, REQUEST, HERE) == frozenset().union(*each)
        assert all(not found or one.contacts == contacts for one, found in zip(positions, each, strict=True))
