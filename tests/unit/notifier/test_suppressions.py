"""What is suppressed: the stops it makes, and the addresses it rules out."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.compliance import Stop, StopKind, StopScope
from services.notifier.domain.replies import Ending, endings
from services.notifier.domain.suppressions import ANYBODY, EVERY, STOP_OF, Beside, Ground, Suppression, is_out, stops
from services.notifier.domain.verdicts import Send, Suppress
from services.notifier.domain.wishes import Wish
from tests.unit.notifier.test_judging import a_scene, judged, known
from tests.unit.notifier.values import MORNING, a_delivery, a_profile, an_address

BEFORE, AFTER = MORNING - timedelta(hours=1), MORNING - timedelta(minutes=1)
SINCE = MORNING - timedelta(minutes=30)


@pytest.mark.parametrize(
    ("ground", "channel", "stop"),
    [
        (Ground.OPT_OUT, "sms", Stop(StopKind.OPT_OUT, StopScope.CHANNEL, SINCE, None, channel="sms")),
        (Ground.OPT_OUT, EVERY, Stop(StopKind.OPT_OUT, StopScope.PERSON, SINCE, None)),
        (Ground.COMPLAINT, EVERY, Stop(StopKind.COMPLAINT, StopScope.PERSON, SINCE, None)),
        (Ground.UNCLEAR, EVERY, Stop(StopKind.IN_DOUBT, StopScope.PERSON, SINCE, None)),
        (Ground.INVALID_ADDRESS, "sms", None),
    ],
)
def test_each_ground_is_a_stop_of_the_closed_list_without_an_end(ground: Ground, channel: str, stop: Stop | None) -> None:
    assert list(stops([Suppression(ground, channel, "x", SINCE)], "sms", {}, ("dunning",))) == ([stop] if stop else [])


@pytest.mark.parametrize(
    ("consent", "at", "stands"),
    [
        (("sms", "dunning"), BEFORE, True),
        (("sms", "dunning"), SINCE, True),
        (("sms", "dunning"), AFTER, False),
        (("email", "dunning"), AFTER, True),
        (("sms", "survey"), AFTER, True),
        (("sms", "dunning"), None, True),
    ],
)
def test_only_a_later_consent_to_this_channel_and_purpose_permits_again(
    consent: tuple[str, str], at: datetime | None, *, stands: bool
) -> None:
    said = [Suppression(Ground.OPT_OUT, "sms", "x", SINCE)]
    assert bool(list(stops(said, "sms", {consent: at}, ("dunning",)))) is stands


@pytest.mark.parametrize("ground", [Ground.COMPLAINT, Ground.UNCLEAR])
def test_no_consent_ends_what_a_person_must_decide(ground: Ground) -> None:
    assert list(stops([Suppression(ground, EVERY, "x", SINCE)], "sms", {("sms", "dunning"): AFTER}, ("dunning",)))


@pytest.mark.parametrize(("verified", "out"), [(None, True), (BEFORE, True), (SINCE, True), (AFTER, False)])
def test_an_address_that_is_none_is_out_until_it_is_verified_later(verified: datetime | None, *, out: bool) -> None:
    said = [Suppression(Ground.INVALID_ADDRESS, "sms", an_address().lookup, SINCE)]
    assert is_out(an_address(verified_at=verified), said) is out
    assert not is_out(an_address(lookup="other"), said)


def test_another_address_of_the_channel_takes_the_place_of_one_that_is_none() -> None:
    profile = a_profile(addresses=(an_address(lookup="gone"), an_address(lookup="second", priority=200)))
    gone = known(profile=profile, suppressions=(Suppression(Ground.INVALID_ADDRESS, "sms", "gone", SINCE),))
    found = judged(a_delivery(), a_scene(gone))
    assert isinstance(found, Send)
    assert found.address.lookup == "second"


@given(
    said=st.lists(
        st.builds(Suppression, st.sampled_from(Ground), st.sampled_from(["sms", "email", EVERY]), st.just("x"), st.just(SINCE)), max_size=4
    ),
    more=st.builds(Suppression, st.sampled_from(Ground), st.sampled_from(["sms", "email", EVERY]), st.just("x"), st.just(SINCE)),
)
def test_one_suppression_more_never_permits_a_channel(said: list[Suppression], more: Suppression) -> None:
    def channel(suppressions: list[Suppression]) -> str | None:
        found = judged(a_delivery(channels=("sms",)), a_scene(known(suppressions=tuple(suppressions))))
        return found.channel if isinstance(found, Send) else None

    assert channel([*said, more]) in (channel(said), None)


def test_a_confirmation_passes_an_opt_out_and_dunning_does_not() -> None:
    scene = a_scene(known(suppressions=(Suppression(Ground.OPT_OUT, "sms", "x", SINCE),)))
    assert isinstance(judged(a_delivery(channels=("sms",)), scene), Suppress)
    assert isinstance(judged(a_delivery(channels=("sms",), purpose="confirmation"), scene), Send)


def test_what_is_said_at_an_address_nobody_was_contacted_at_closes_the_address() -> None:
    for wish in (Wish.STOP, Wish.UNCLEAR, Wish.COMPLAINT):
        assert endings({wish}, "sms", "x", []) == [Ending(ANYBODY, "sms", "x", Ground.OPT_OUT)]
    assert endings({Wish.START, Wish.HELP}, "sms", "x", ["b"]) == []


@given(
    channel=st.sampled_from(["sms", "email", "push"]), lookup=st.sampled_from(["x", "y"]), asked=st.sampled_from(["", "x", "y"]),
    ground=st.sampled_from(sorted(STOP_OF)), together=st.booleans(),
)  # fmt: skip
def test_an_opt_out_reaches_another_channel_only_at_its_address_and_where_one_consent_is_for_both(
    channel: str, lookup: str, asked: str, ground: Ground, together: bool
) -> None:
    beside = Beside(frozenset({"sms", "voicemail"}) if together else frozenset(), asked)
    [stop] = stops([Suppression(ground, channel, lookup, SINCE)], "ai_voice", {}, ("dunning",), beside=beside)
    reached = ground is Ground.OPT_OUT and together and channel == "sms" and asked in {"", lookup}
    assert stop.channel == ("ai_voice" if reached else channel)
