from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from libs.compliance import Allow, Deny, decide
from libs.compliance.holidays import HolidayRules, calendar, easter_sunday
from libs.compliance.hours import Span, instant, next_window, opened, parse_days, parse_spans, parse_week
from tests.unit.compliance.build import known, packs_with, proposed


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def test_a_minute_the_clock_skips_is_the_moment_of_the_skip() -> None:
    assert instant(date(2027, 3, 28), 150, ZoneInfo("Europe/Berlin")) == at("2027-03-28T01:00:00+00:00")
    assert instant(date(2027, 3, 14), 150, ZoneInfo("America/New_York")) == at("2027-03-14T07:00:00+00:00")
    assert instant(date(2027, 10, 3), 135, ZoneInfo("Australia/Lord_Howe")) == at("2027-10-02T15:30:00+00:00")


def test_a_window_of_a_doubled_hour_is_counted_once() -> None:
    zone = ZoneInfo("Europe/Berlin")
    opens, closes = opened(Span(130, 170), date(2027, 10, 31), zone)
    assert closes - opens == timedelta(minutes=40)


@pytest.mark.parametrize(
    ("zone", "day"), [("Europe/Berlin", "2027-10-31"), ("America/New_York", "2027-11-07"), ("Australia/Lord_Howe", "2027-04-04")]
)
def test_a_window_that_opens_in_a_doubled_hour_opens_at_its_second_coming(zone: str, day: str) -> None:
    place = ZoneInfo(zone)
    first = 105 if zone == "Australia/Lord_Howe" else 150 if zone == "Europe/Berlin" else 90
    opens, closes = opened(Span(first, 300), date.fromisoformat(day), place)
    local = [(opens + timedelta(minutes=step)).astimezone(place) for step in range(int((closes - opens).total_seconds() // 60))]
    assert all(first <= wall.hour * 60 + wall.minute < 300 for wall in local)


@pytest.mark.parametrize(
    ("zone", "opens", "closes"),
    [
        ("Europe/Berlin", "2027-03-28T00:00:00+00:00", "2027-03-28T02:00:00+00:00"),
        ("America/New_York", "2027-03-14T06:00:00+00:00", "2027-03-14T08:00:00+00:00"),
    ],
)
def test_a_night_window_over_the_skipped_hour_is_an_hour_shorter(zone: str, opens: str, closes: str) -> None:
    assert next_window(zone, "01:00-04:00", at(opens) - timedelta(hours=1)) == (at(opens), at(closes))


def test_the_next_window_is_the_one_that_is_open_now() -> None:
    window = (at("2027-01-12T10:00:00+01:00"), at("2027-01-12T11:30:00+01:00"))
    assert next_window("Europe/Berlin", "10:00-11:30", at("2027-01-12T11:29:59+01:00")) == window
    assert next_window("Europe/Berlin", "10:00-11:30", at("2027-01-12T01:00:00+01:00")) == window
    assert next_window("Europe/Berlin", "10:00-11:30", at("2027-01-12T11:30:00+01:00"))[0] == at("2027-01-13T10:00:00+01:00")


def test_the_next_window_keeps_to_its_weekdays() -> None:
    opens, _ = next_window("Europe/Berlin", "10:00-11:30", at("2027-01-15T12:00:00+01:00"), days=parse_days("mon-fri"))
    assert opens == at("2027-01-18T10:00:00+01:00")


@pytest.mark.parametrize("text", ["8-9", "08:00", "08:00-25:00", "09:00-08:00", "08:0-09:00", "aa:bb-cc:dd"])
def test_hours_that_cannot_be_read_are_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_spans(text)


def test_a_day_whose_midnight_comes_twice_is_open_from_the_first() -> None:
    opens, closes = opened(Span(0, 1440), date(2027, 11, 7), ZoneInfo("America/Havana"))
    assert opens == at("2027-11-07T04:00:00+00:00")
    assert closes - opens == timedelta(hours=25)


def test_spans_that_touch_are_one() -> None:
    assert parse_spans("12:00-20:00, 08:00-12:00") == (Span(480, 1200),)


def test_a_window_that_never_closes_ends_after_eight_days_at_the_latest() -> None:
    packs = packs_with('- id: hours\n  kind: window\n  hours: {every: "00:00-24:00"}')
    answer = decide(proposed("2027-03-27T12:00:00+01:00"), known(jurisdictions=("XX",)), packs)
    assert isinstance(answer, Allow)
    assert timedelta(days=7) < answer.window_ends - at("2027-03-27T12:00:00+01:00") <= timedelta(days=8)


def test_a_week_names_each_day_once() -> None:
    assert parse_week({"fri-mon": "08:00-09:00"}).days[3] == ()
    with pytest.raises(ValueError, match="twice"):
        parse_week({"mon-fri": "08:00-09:00", "wed": "none"})


@pytest.mark.parametrize(("year", "sunday"), [(2024, "2024-03-31"), (2027, "2027-03-28"), (2038, "2038-04-25")])
def test_easter_falls_where_the_almanac_says(year: int, sunday: str) -> None:
    assert easter_sunday(year) == date.fromisoformat(sunday)


def test_moved_holidays_are_the_monday_on_or_after_or_before_a_day() -> None:
    days = calendar("made", (2027, 2027), HolidayRules(weekday=("mon>=09-01", "mon<05-25"))).days
    assert days == {date(2027, 9, 6), date(2027, 5, 24)}


@pytest.mark.parametrize(
    ("asked", "earliest"),
    [
        ("2027-03-28T01:59:59+01:00", "2027-03-28T08:00:00+02:00"),
        ("2027-10-31T02:30:00+02:00", "2027-10-31T08:00:00+01:00"),
        ("2027-10-31T02:30:00+01:00", "2027-10-31T08:00:00+01:00"),
    ],
)
def test_in_the_nights_of_the_clock_change_the_morning_is_the_local_one(asked: str, earliest: str) -> None:
    packs = packs_with('- id: hours\n  kind: window\n  hours: {every: "08:00-22:00"}')
    answer = decide(proposed(asked), known(jurisdictions=("XX",)), packs)
    assert isinstance(answer, Deny)
    assert answer.earliest == at(earliest)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe"])
def test_no_minute_of_a_year_passes_outside_the_wall_clock_window(zone: str) -> None:
    packs, place = packs_with('- id: hours\n  kind: window\n  hours: {every: "01:45-02:15"}'), ZoneInfo(zone)
    circumstances = known(jurisdictions=("XX",), zones=(zone,))
    changes = [day for day in range(365) if _length(date(2027, 1, 1) + timedelta(days=day), place) != timedelta(days=1)]
    assert len(changes) == 2
    for day in changes:
        start = instant(date(2027, 1, 1) + timedelta(days=day), 0, place)
        for quarter in range(20):
            moment = start + timedelta(minutes=15 * quarter)
            if isinstance(decide(proposed(moment.isoformat()), circumstances, packs), Allow):
                wall = moment.astimezone(place)
                assert 105 <= wall.hour * 60 + wall.minute < 135


def _length(day: date, zone: ZoneInfo) -> timedelta:
    return instant(day + timedelta(days=1), 0, zone).astimezone(UTC) - instant(day, 0, zone)
