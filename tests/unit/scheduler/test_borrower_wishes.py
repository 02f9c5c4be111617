"""Hours and channels as chosen on the page: it shows what is set, and sets what was chosen."""

from __future__ import annotations

from typing import get_args

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from libs.common.contracts.contact_tasks import PreferencesSet
from libs.common.contracts.wallet_borrowers import ChannelName
from services.notifier.domain.preferences import ChannelWishes, Wishes
from services.notifier.page_preferences import OURS, merged
from services.scheduler.borrower.wishes import GROUPS, OTHER_DAYS, Hours, hours_of
from tests.unit.scheduler.test_links import NOW

CHANNELS = st.frozensets(st.sampled_from(get_args(ChannelName)))
HOURS = st.builds(Hours, st.sampled_from(sorted(OTHER_DAYS)), st.integers(0, 22), st.integers(2, 24)).filter(
    lambda one: one.begins < one.ends
)


@given(HOURS)
def test_hours_that_are_chosen_are_shown_again(hours: Hours) -> None:
    closed = frozenset((quiet.days, quiet.from_, quiet.to) for quiet in hours.quiet())
    assert hours_of(closed) == hours


def test_hours_that_the_page_does_not_know_are_not_shown_as_others() -> None:
    assert hours_of(frozenset({("mon", "11:00", "18:00")})) is None
    assert hours_of(frozenset()) == Hours()


@given(
    hours=HOURS,
    closed=st.sets(st.sampled_from(sorted(GROUPS))),
    never=CHANNELS,
    only=st.none() | CHANNELS,
    language=st.sampled_from([None, "es"]),
)
def test_what_is_chosen_takes_the_place_of_our_channels_and_leaves_calls_and_language_as_they_were(
    hours: Hours, closed: set[str], never: frozenset[ChannelName], only: frozenset[ChannelName] | None, language: str | None
) -> None:
    before = Wishes(channels=ChannelWishes(never=tuple(never), only=None if only is None else tuple(only)), language=language)
    ours = tuple(channel for group in closed for channel in GROUPS[group])
    wished = PreferencesSet(
        preference_id="w-1",
        borrower_id="B1",
        case_id="c-1",
        at=NOW,
        no_contact=hours.quiet(),
        never=msgspec.convert(ours, tuple[ChannelName, ...]),
    )
    after = merged(before, wished)
    shut, was = ({one.value for one in wishes.preferences().no_channels} for wishes in (after, before))
    assert (shut & OURS, shut - OURS, after.language) == (set(ours), was - OURS, language)
    quiet = [(days, one.from_, one.to) for one in after.no_contact for days in one.days]
    assert hours_of(frozenset(quiet)) == hours
