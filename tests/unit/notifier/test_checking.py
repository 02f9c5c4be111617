from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from libs.compliance import load_packs
from services.notifier.checking import check

PACKS = load_packs()
NOON = "2027-02-10T12:00:00+09:00"


def earliest(at: str, places: list[str], **more: Any) -> datetime | str | None:
    asked: dict[str, Any] = {"at": at, "channel": "sms", "debt": "A"}
    answer = check(msgspec.json.encode({"jurisdictions": places, "proposed": asked, **more}), PACKS)
    return "allow" if answer["decision"] == "allow" else answer["earliest"]  # type: ignore[return-value]  # a written answer is of objects


@pytest.mark.parametrize(
    ("at", "places", "zones", "expected"),
    [
        (NOON, ["JP"], ["Asia/Tokyo"], "2027-02-11T08:00:00+09:00"),
        (NOON, ["JP"], "unknown", "2027-02-11T08:00:00+09:00"),
        ("2027-02-10T12:00:00-05:00", ["US-FED-REGF"], "unknown", "2027-02-11T18:00:00+00:00"),
        ("2027-02-10T23:30:00-05:00", ["ZZ"], ["Asia/Shanghai", "America/Los_Angeles"], "2027-02-12T08:00:00+08:00"),
        ("2027-02-10T23:30:00-05:00", ["ZZ"], ["America/New_York", "America/Los_Angeles"], "2027-02-11T11:00:00-05:00"),
    ],
)
def test_a_promised_day_rests_to_its_end_wherever_the_borrower_may_be(at: str, places: list[str], zones: Any, expected: str) -> None:
    promise = {"kind": "promise", "from": "2027-02-01T00:00:00+00:00", "promised_on": "2027-02-10"}
    assert earliest(at, places, timezones=zones, stops=[promise]) == datetime.fromisoformat(expected)


def test_the_promised_day_has_not_ended_where_it_ends_last() -> None:
    promise = {"kind": "promise", "from": "2027-02-01T00:00:00+00:00", "promised_on": "2027-02-10"}
    after_utc_midnight = "2027-02-10T19:30:00-05:00"
    assert earliest(after_utc_midnight, ["US-FED-REGF"], timezones=["America/Chicago"]) == "allow"
    assert earliest(after_utc_midnight, ["US-FED-REGF"], timezones="unknown", stops=[promise]) == datetime.fromisoformat(
        "2027-02-11T18:00:00+00:00"
    )


@pytest.mark.parametrize(
    ("stop", "passes"),
    [
        ({"kind": "moratorium", "debt": "B"}, True),
        ({"kind": "moratorium", "debt": "A"}, False),
        ({"kind": "moratorium", "debt": "B", "scope": "person"}, False),
        ({"kind": "objection", "channel": "email"}, True),
        ({"kind": "objection", "channel": "sms"}, False),
        ({"kind": "deceased", "debt": "B"}, False),
    ],
)
def test_a_stop_that_names_a_debt_or_a_channel_reaches_no_further(stop: dict[str, str], passes: bool) -> None:
    assert (earliest(NOON, ["JP"], timezones=["Asia/Tokyo"], stops=[stop]) == "allow") is passes


def test_a_result_that_is_null_is_unknown() -> None:
    prior = [{"at": "2027-02-10T09:00:00+07:00", "channel": "sms", "debt": "A", "result": None}]
    asked = "2027-02-10T12:00:00+07:00"
    assert earliest(asked, ["TH"], timezones=["Asia/Bangkok"], prior=prior) == datetime.fromisoformat("2027-02-11T08:00:00+07:00")
