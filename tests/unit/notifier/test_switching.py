"""Which contacts a position of the stop button applies to."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.contact_tasks import PolicyRef
from services.notifier.domain.switching import Position, Scope, Waiting, channels_at, concerned, nothing_to_lift, slip
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


WAITING = [
    Waiting(PolicyRef(name="standard", version=3), "firm", "final", 5), Waiting(PolicyRef(name="standard", version=2), "gentle", "soft", 2),
]  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "key", "number", "hint"),
    [
        ("step", "firm", 5, None), ("step", "standard/gentle", 2, None), ("policy", "standard", 7, None), ("policy", "standard@2", 2, None),
        ("template", "soft", 2, None),
        ("step", "frim", 0, "none of the 7 contacts due first is of the step 'frim': did you mean 'firm'?"),
        ("step", "standrad/firm", 0,
         "none of the 7 contacts due first is of the step 'standrad/firm': did you mean 'standard/firm'?"),
        ("policy", "standard@33", 0,
         "none of the 7 contacts due first is of the policy 'standard@33': did you mean 'standard@3' or 'standard@2'?"),
        ("template", "x", 0, "none of the 7 contacts due first is of the template 'x': there are 'final', 'soft'"),
    ],
)  # fmt: skip
def test_a_position_says_how_much_of_what_waits_it_concerns_and_a_slip_what_was_meant(
    scope: str, key: str, number: int, hint: str | None
) -> None:
    one = Position(scope, key, "off")
    assert (concerned(one, WAITING), slip(one, WAITING)) == (number, hint)


def test_where_nothing_waits_a_slip_cannot_be_seen_and_that_is_said() -> None:
    said = "no contact is waiting, so it cannot be seen whether there is a step 'firm'"
    assert slip(Position("step", "firm", "off"), []) == said


def test_who_lets_go_on_what_was_not_stopped_hears_what_is() -> None:
    before = [Position("step", "firm", "off"), Position("channel", "sms", "shadow"), Position("step", "gentle", "on")]
    told = {key: nothing_to_lift(Position("step", key, "on"), before) for key in ("firm", "frim")}
    assert told == {"firm": None, "frim": "the step 'frim' was not stopped: did you mean 'firm'?"}
    assert nothing_to_lift(Position("template", "soft", "on"), before) == "the template 'soft' was not stopped: no template was"
    assert nothing_to_lift(Position("all", "", "on"), before) is nothing_to_lift(Position("step", "frim", "off"), before) is None


@given(st.lists(st.builds(Position, st.sampled_from([scope.value for scope in Scope]), NAMES, st.sampled_from(["on", "off", "shadow"]))))
def test_positions_only_ever_add_up_and_on_never_outweighs_off(positions: list[Position]) -> None:
    for contacts in ("off", "shadow"):
        each = [channels_at([one], contacts, REQUEST, HERE) for one in positions]
        assert channels_at(positions, contacts, REQUEST, HERE) == frozenset().union(*each)
        assert all(not found or one.contacts == contacts for one, found in zip(positions, each, strict=True))
