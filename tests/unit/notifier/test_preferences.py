"""What a borrower asked for: read from JSON, and always at least as strict as the rules."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.contracts.wallet_borrowers import ChannelName
from libs.compliance import Allow, Deny, Packs, load_packs
from libs.compliance.hours import WEEKDAYS
from services.notifier.domain.gatekeeping import Asked, Earlier, ask
from services.notifier.domain.known import Known
from services.notifier.domain.preferences import ChannelWishes, Quiet, Wishes
from tests.unit.notifier.values import MORNING, a_fact, a_profile, a_request, an_address

CHANNELS = get_args(ChannelName)
PACKS: Packs = load_packs()
_read = msgspec.json.Decoder(Wishes).decode

times = st.integers(0, 23 * 4).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")
some_channels = st.lists(st.sampled_from(CHANNELS), max_size=4, unique=True).map(tuple)
quiets = st.builds(
    Quiet, days=st.lists(st.sampled_from([*WEEKDAYS, "every", "fri-mon"]), min_size=1, max_size=3).map(tuple), from_=times, to=times
)
wishes = st.builds(
    Wishes,
    no_contact=st.lists(quiets, max_size=3).map(tuple),
    channels=st.builds(ChannelWishes, never=some_channels, only=st.none() | some_channels),
    language=st.none() | st.just("es"),
)


def answer(wished: Wishes | None, channel: str, minutes: int, places: tuple[str, ...] = ("ZZ",)) -> Allow | Deny:
    profile, request = a_profile(jurisdictions=places), a_request()
    known = Known(profile=profile, facts={"loan": a_fact(jurisdictions=places)}, wishes=wished)
    asked = Asked(request, known, channel, an_address(channel), (a_fact(jurisdictions=places),), places)
    return ask(asked, Earlier(), PACKS, now=MORNING + timedelta(minutes=minutes))


@settings(max_examples=300)
@given(wishes, st.sampled_from(CHANNELS), st.integers(0, 14 * 24 * 60), st.sampled_from([("ZZ",), ("CN",), ("CO",), ()]))
def test_with_any_wishes_nothing_is_allowed_that_was_not_allowed_without(
    wished: Wishes, channel: str, minutes: int, places: tuple[str, ...]
) -> None:
    with_them, without = answer(wished, channel, minutes, places), answer(None, channel, minutes, places)
    if isinstance(with_them, Allow):
        assert isinstance(without, Allow)
        assert with_them.window_ends <= without.window_ends
    elif with_them.earliest is not None and isinstance(without, Deny):
        assert without.earliest is not None
        assert without.earliest <= with_them.earliest


@given(wishes)
def test_wishes_are_the_same_after_they_were_stored(wished: Wishes) -> None:
    assert _read(msgspec.json.encode(wished)) == wished


@pytest.mark.parametrize(
    ("wished", "channel"),
    [
        (Wishes(no_contact=(Quiet(days=("tue",), from_="09:00", to="11:00"),)), "sms"),
        (Wishes(no_contact=(Quiet(days=("mon",), from_="22:00", to="11:00"),)), "sms"),
        (Wishes(channels=ChannelWishes(never=("sms",))), "sms"),
        (Wishes(channels=ChannelWishes(only=("email",))), "sms"),
        (Wishes(channels=ChannelWishes(never=("email",), only=("email",))), "email"),
    ],
)
def test_a_contact_against_a_wish_is_denied_and_the_borrower_is_cited(wished: Wishes, channel: str) -> None:
    found = answer(wished, channel, 0)
    assert isinstance(found, Deny)
    assert [reason.cite for reason in found.reasons] == ["borrower's wish"]
    assert isinstance(answer(None, channel, 0), Allow)


@pytest.mark.parametrize(
    "text",
    [
        '{"no_contact": [{"days": ["someday"]}]}',
        '{"no_contact": [{"days": []}]}',
        '{"no_contact": [{"from": "25:00"}]}',
        '{"no_contact": [{"from": "24:00"}]}',
        '{"no_contact": [{"until": "10:00"}]}',
        '{"channels": {"never": ["pigeon"]}}',
        '{"language": "12"}',
        '{"hours": []}',
    ],
)
def test_what_no_wish_can_mean_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        _read(text)


def test_hours_may_run_over_midnight_and_days_may_be_ranges() -> None:
    wished: Any = _read('{"no_contact": [{"days": ["mon-fri"], "from": "18:00", "to": "09:00"}]}')
    assert isinstance(answer(wished, "sms", 9 * 60), Deny)
    assert isinstance(answer(wished, "sms", 0), Allow)
