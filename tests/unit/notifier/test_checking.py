from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest

from libs.common.errors import DomainError
from libs.compliance import load_packs
from services.notifier.checking import check, describe_whole

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


@pytest.mark.parametrize(
    ("wishes", "passes"),
    [
        ({"no_channels": ["sms"]}, False),
        ({"channels": {"never": ["sms"]}}, False),
        ({"channels": {"only": ["email"]}}, False),
        ({"channels": {"only": ["sms"]}, "language": "ja"}, True),
        ({"no_contact": [{"days": ["wed"], "from": "11:00", "to": "18:00"}]}, False),
        ({"no_contact": [{"days": ["mon"], "from": "11:00", "to": "18:00"}]}, True),
    ],
)
def test_a_wish_is_asked_about_in_the_words_in_which_it_is_set(wishes: dict[str, Any], passes: bool) -> None:
    assert (earliest(NOON, ["JP"], timezones=["Asia/Tokyo"], preferences=wishes) == "allow") is passes


@pytest.mark.parametrize(
    ("more", "place", "meant"),
    [
        ({"consent": ["sms"]}, "", "consents"),
        ({"preferences": {"no_chanels": ["sms"]}}, "preferences.", "no_channels"),
        ({"stops": [{"kind": "promise", "promised": "2027-02-10"}]}, r"stops\[0\].", "promised_on"),
        ({"prior": [{"at": NOON, "channel": "sms", "results": "busy"}]}, r"prior\[0\].", "result"),
        ({"debt_facts": {"A": {"past_due": 3}}}, r"debt_facts\[...\].", "past_due_days"),
        ({"proposed": {"at": NOON, "channel": "sms", "content": {"body": "b", "langauge": "en"}}}, "proposed.content.", "language"),
    ],
)
def test_what_is_not_understood_is_no_question(more: dict[str, Any], place: str, meant: str) -> None:
    with pytest.raises(DomainError, match=rf"question: \$\.{place}.* did you mean .*'{meant}'"):
        earliest(NOON, ["JP"], timezones=["Asia/Tokyo"], **more)


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_no_zone_can_be_applied_to_is_no_question(at: str) -> None:
    with pytest.raises(DomainError, match="end of the calendar"):
        earliest(at, ["US-FED-REGF"])


def test_a_rule_that_ends_where_the_calendar_does_cannot_be_written_in_every_zone() -> None:
    stop = {"kind": "moratorium", "until": "9999-12-31T23:59:59-14:00"}
    with pytest.raises(DomainError, match="end of the calendar"):
        earliest(NOON, [], timezones=["America/New_York"], stops=[stop])


def test_a_pack_shows_what_its_rules_say() -> None:
    def rules(name: str) -> dict[str, Any]:
        shown: Any = describe_whole(PACKS[name])["rules"]
        return {rule["rule"]: rule for rule in shown}

    thailand, chile = rules("TH"), rules("CL")
    assert thailand["th-hours"]["hours"]["sat"] == thailand["th-hours"]["hours"]["holiday"] == "08:00-18:00"
    assert (chile["cl-hours"]["hours"]["sun"], chile["cl-2days-apart"]["free_days"]) == ("none", 2)
    kept = ("kind", "limit", "unit", "reach", "scope")
    assert [thailand["th-1day"][key] for key in kept] == ["cap", 1, "contact", {"rolling_calendar_days": 1}, "debt"]
    assert rules("US-FED-REGF")["regf-conversation-cooloff"]["when"]["roles"] == ["agency", "buyer"]
    assert rules("PH")["ph-hours"]["when"]["past_due"] == {"least": None, "most": 15}
    assert rules("PK")["pk-visit-notice"]["kinds"] == ["notice", "statutory_notice"]
    assert rules("VN")["vn-addressees"]["allowed"] == ["co_debtor", "debtor", "guarantor"]
    assert "amount_split" in rules("FR")["fr-amounts"]["asks"]
