from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.value import replace
from libs.compliance import (
    Allow,
    Channel,
    Circumstances,
    Deny,
    Packs,
    Preferences,
    Prior,
    Proposed,
    Purpose,
    TenantHours,
    decide,
    load_packs,
)
from libs.compliance.hours import WEEKDAYS
from tests.unit.compliance.build import known, packs_with, stop

RULES = """
- id: hours
  kind: window
  calendar: made
  hours: {mon-fri: "07:30-12:00, 13:00-21:00", sat: "09:00-15:00", holiday: none}
- id: three-a-week
  kind: cap
  limit: 3
  unit: contact
  reach: {rolling_calendar_days: 7}
  scope: debt
- id: spaced
  kind: spacing
  free_days: 1
  scope: person
  channels: [sms, email]
- id: one-channel
  kind: channel_lock
  unit: contact
  reach: {rolling_elapsed: 48}
  scope: person
- id: after-talk
  kind: cool_off
  results: [conversation]
  reach: {calendar_week: 1}
  scope: debt
"""
PACKS = Packs(
    dict(packs_with(RULES, more="calendars: {made: {years: [2020, 2040], fixed: ['01-01'], easter: [-2, 1]}}")) | dict(load_packs())
)
ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Santiago")
START = datetime(2027, 1, 1, tzinfo=UTC)

moments = st.integers(0, 400 * 24 * 4).map(lambda quarters: START + timedelta(minutes=15 * quarters))
channels = st.sampled_from([Channel.SMS, Channel.EMAIL, Channel.CALL])
debts = st.sampled_from([("A",), ("B",), ("A", "B"), ()])
minutes = st.integers(0, 23 * 60).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
wishes = st.lists(
    st.fixed_dictionaries({"days": st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=3), "from": minutes, "to": minutes}), max_size=2
).map(lambda quiet: Preferences.parse({"no_contact": quiet}))


@st.composite
def questions(draw: st.DrawFn) -> tuple[Proposed, Circumstances]:
    at = draw(moments)
    ago = st.integers(0, 12 * 24 * 60).map(lambda back: at - timedelta(minutes=back))
    prior = draw(
        st.lists(
            st.builds(Prior, ago, channels, st.sampled_from(["", "conversation", "no_answer", "busy"]), debts, st.just("x")), max_size=6
        )
    )
    held = draw(st.sampled_from([(), (stop("manual", "person", until=(at + timedelta(hours=draw(st.integers(1, 500)))).isoformat()),)]))
    circumstances = known(
        jurisdictions=draw(st.sampled_from([("XX",), ("ZZ",), ("XX", "ZZ")])),
        zones=tuple(draw(st.lists(st.sampled_from(ZONES), min_size=1, max_size=2, unique=True))),
        preferences=draw(wishes),
        tenant_hours=draw(st.sampled_from([None, TenantHours.parse({"mon-sat": "08:00-20:00"})])),
        stops=held,
        prior=tuple(prior),
    )
    return Proposed(at, draw(channels), Purpose.DUNNING, draw(debts)), circumstances


def passes(asked: Proposed, circumstances: Circumstances, at: datetime) -> bool:
    return isinstance(decide(replace(asked, at=at), circumstances, PACKS), Allow)


@settings(max_examples=150, deadline=None)
@given(questions())
def test_what_is_allowed_lies_in_the_window_of_every_zone(asked: tuple[Proposed, Circumstances]) -> None:
    proposed, circumstances = asked
    answer = decide(proposed, circumstances, PACKS)
    if isinstance(answer, Deny):
        return
    assert answer.window_ends > proposed.at
    for name in circumstances.zones or ():
        wall = proposed.at.astimezone(ZoneInfo(name))
        minute = wall.hour * 60 + wall.minute
        assert "ZZ" not in circumstances.jurisdictions or 480 <= minute < 1320
        assert circumstances.tenant_hours is None or (480 <= minute < 1200 and wall.weekday() < 6)
        assert "XX" not in circumstances.jurisdictions or (450 <= minute < 1260 and wall.weekday() < 6)
    for part in range(1, 8):
        assert passes(proposed, circumstances, proposed.at + (answer.window_ends - proposed.at) * part / 8)


@settings(max_examples=150, deadline=None)
@given(questions(), st.lists(st.integers(0, 999), min_size=10, max_size=10))
def test_the_earliest_moment_is_allowed_and_no_moment_before_it_is(asked: tuple[Proposed, Circumstances], parts: list[int]) -> None:
    proposed, circumstances = asked
    answer = decide(proposed, circumstances, PACKS)
    if isinstance(answer, Allow):
        return
    end = answer.earliest or proposed.at + timedelta(days=30)
    assert answer.earliest is None or passes(proposed, circumstances, answer.earliest)
    assert not any(passes(proposed, circumstances, proposed.at + (end - proposed.at) * part / 1000) for part in parts)
    assert not passes(proposed, circumstances, end - timedelta(microseconds=1))


@settings(max_examples=150, deadline=None)
@given(questions(), wishes)
def test_wishes_and_further_jurisdictions_only_narrow(asked: tuple[Proposed, Circumstances], wish: Preferences) -> None:
    proposed, circumstances = asked
    plain = replace(circumstances, preferences=Preferences(), jurisdictions=("ZZ",))
    for narrower in (replace(plain, preferences=wish), replace(plain, jurisdictions=("ZZ", "XX"))):
        answer = decide(proposed, narrower, PACKS)
        if isinstance(answer, Allow):
            wider = decide(proposed, plain, PACKS)
            assert isinstance(wider, Allow)
            assert wider.window_ends >= answer.window_ends


@settings(max_examples=100, deadline=None)
@given(questions())
def test_a_further_contact_in_the_ledger_only_narrows(asked: tuple[Proposed, Circumstances]) -> None:
    proposed, circumstances = asked
    fewer = replace(circumstances, prior=circumstances.prior[1:])
    if passes(proposed, circumstances, proposed.at):
        assert passes(proposed, fewer, proposed.at)


@settings(max_examples=100, deadline=None)
@given(questions())
def test_the_same_question_has_the_same_answer(asked: tuple[Proposed, Circumstances]) -> None:
    proposed, circumstances = asked
    shuffled = replace(circumstances, prior=circumstances.prior[::-1], zones=(circumstances.zones or ())[::-1])
    assert decide(proposed, circumstances, PACKS) == decide(proposed, shuffled, PACKS)
