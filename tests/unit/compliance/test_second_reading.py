"""The gate against a second reading of the notes: questions about every jurisdiction at the boundaries of its rules, decided twice."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from libs.compliance import load_packs
from services.notifier.checking import check
from tests.support.second_reading import DAYS, NOTES, verdict

PACKS = load_packs()
PLACES = sorted({*NOTES, "BR-SP", "BR-AL", "BR-RJ", "BR-ES", "BR-AM", "BR-BA"})
CHANNELS = {"call", "sms", "email", "push", "visit"}
WITHIN = timedelta(days=33)
QUESTIONS = 4
QUESTIONS_OF_COUNTERS = 16
"""The number of questions about each place, and about one that has counters."""
CLOCK_CHANGES = ("2026-11-01", "2027-03-14", "2027-03-28", "2027-04-04", "2027-10-03", "2027-10-31", "2027-09-05")
FEASTS = ("2026-12-25", "2026-12-28", "2027-01-01", "2027-03-26", "2027-03-29", "2027-04-13", "2027-05-01", "2027-07-01", "2027-09-06")
RESULTS = ("", "", "delivered", "conversation", "answered", "no_answer", "busy", "bounced")


def a_question(place: str, draw: Random) -> dict[str, Any]:
    """Ask at the minute of a boundary or next to it, with as many earlier contacts as fill a counter, or one fewer."""
    note, zones = NOTES.get(place) or NOTES["BR"], zones_of(place, draw)
    row = draw.choice([row for row in note["allowed_hours"] if row["channels"] != ["workplace"]])
    channel = draw.choice(sorted(CHANNELS & set(row["channels"])))
    at = moment(row, ZoneInfo(zones[0]), draw)
    near = [other for other in PLACES if other[:2] == place[:2]]
    caps = [cap for cap in note["frequency_caps"] if channel in cap["channels"] and cap["limit"]]
    prior = [*(filling(draw.choice(caps), at, channel, draw) if caps and draw.random() < 0.7 else ()), *strays(at, draw)]
    return {
        "jurisdictions": list(dict.fromkeys([place, *draw.sample(near, draw.choice([0, 0, 1]))])),
        "timezones": zones, "profile": draw.choice(["strict", "strict", "strict", "legal_floor"]), "role": "agency",
        "consents": draw.choice([None, None, None, ["sms", "call"]]), "prior": prior,
        "proposed": {
            "at": at.isoformat(), "channel": channel, "debt": "A", "to": draw.choice([None, "number1"]),
            "purpose": draw.choice(["dunning", "dunning", "dunning", "reminder", "notice"]),
        },
    }  # fmt: skip


def zones_of(place: str, draw: Random) -> list[str]:
    located = PACKS.locate(place)
    assert located is not None
    return draw.sample(located.pack.zones, min(draw.choice([1, 2]), len(located.pack.zones)))


def moment(row: dict[str, Any], zone: ZoneInfo, draw: Random) -> datetime:
    some = date(2026, 11, 1) + timedelta(days=draw.randrange(420))
    day = draw.choice([some, some, date.fromisoformat(draw.choice(CLOCK_CHANGES)), date.fromisoformat(draw.choice(FEASTS))])
    edges = [edge for name in (*DAYS, "holiday") if row[name] != "none" for edge in row[name].split("-")]
    wall = datetime.fromisoformat(f"{day}T{draw.choice([*edges, '12:00'])}").replace(tzinfo=zone)
    return wall.astimezone(UTC) + timedelta(minutes=draw.choice([-1, 0, 0, 1]))


def filling(cap: dict[str, Any], at: datetime, channel: str, draw: Random) -> list[dict[str, Any]]:
    """Return contacts that fill a counter or nearly so, the oldest of them about to leave it or just outside."""
    reach = {"calendar_week": 7, "calendar_month": 31}.get(cap["window"]["kind"], cap["window"]["n"])
    oldest = max(reach - draw.choice([0, 1, 1]), 0)
    others = sorted(CHANNELS & set(cap["channels"]) - {channel}) if cap["unit"] == "distinct_channel" else [channel]
    moved = at - timedelta(hours=draw.choice([0, 0, 5, 11]))
    agos = [oldest, *(draw.randrange(oldest + 1) for _ in range(cap["limit"] - draw.choice([0, 1, 1, 2])))]
    return [contact(moved, ago, draw.choice(others), draw.choice(["", "delivered", "answered"])) for ago in agos]


def strays(at: datetime, draw: Random) -> list[dict[str, Any]]:
    """Return contacts of any kind."""
    return [
        {
            **contact(at - timedelta(hours=draw.randrange(24)), draw.randrange(32), draw.choice(sorted(CHANNELS)), draw.choice(RESULTS)),
            "debt": draw.choice("AAB"),
            "to": draw.choice([None, "number1", "number2"]),
            "direction": draw.choice(["outbound", "outbound", "outbound", "inbound"]),
        }
        for _ in range(draw.choice([0, 0, 1, 3]))
    ]


def contact(at: datetime, ago: int, channel: str, result: str) -> dict[str, Any]:
    written = (at - timedelta(days=ago, minutes=7)).isoformat()
    return {"at": written, "channel": channel, "result": result, "debt": "A", "to": None, "direction": "outbound", "kind": None}


@pytest.mark.parametrize("place", PLACES)
def test_the_gate_and_a_second_reading_of_the_notes_decide_alike(place: str) -> None:
    counted = bool(NOTES.get(place, NOTES["BR"])["frequency_caps"])
    for number in range(QUESTIONS_OF_COUNTERS if counted else QUESTIONS):
        question = a_question(place, Random(f"{place} {number}"))
        answer = check(msgspec.json.encode(question), PACKS)
        earliest = answer["earliest"]
        if isinstance(earliest, datetime) and earliest - datetime.fromisoformat(question["proposed"]["at"]) >= WITHIN:
            earliest = None
        assert (answer["decision"], earliest) == verdict(question, within=WITHIN), (number, question, answer["rules"])
