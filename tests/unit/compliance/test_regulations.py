"""Every pack against the notes it was written from, fact by fact: nothing dropped, nothing added without a reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from libs.compliance import CapScope, Channel, Nature, load_packs
from libs.compliance.hours import WEEKDAYS, parse_spans
from libs.compliance.rules import Cap, ChannelLock, CoolOff, Pack, Reach, Rule, Spacing, Window
from libs.compliance.vocabulary import ReachKind
from tests.support.second_reading import NOTES

PACKS = load_packs()
PACKS_OF_LAW = {name: PACKS[name] for name in sorted(PACKS) if not PACKS[name].sandbox_only}
UNEXPRESSED = {"ma-2in30-elsewhere", "wa-work", "id-not-continuous"}
"""Rules that need a location, or have no number."""
ADDED = {
    "ma-2in7-all-text": "2 calls+texts+pushes per debt per 7 dates",
    "nyc-2in7": "Before 1 Sep 2026 the cap in force was per consumer and lower",
    "dc-calls-emergency": "The emergency version said 3 calls",
    "cl-2days-apart": "min_spacing",
}
"""Counters that are not in the notes' list of counters, by the words in which the notes state them."""
NATURES = {
    "hard": Nature.LAW, "recommended": Nature.RECOMMENDATION, "guidance": Nature.RECOMMENDATION, "self-regulation": Nature.SELF_REGULATION,
    "rebuttable presumption of violation when exceeded; presumption of compliance when within": Nature.PRESUMPTION,
}  # fmt: skip
SCOPES = {
    "per_debtor": CapScope.PERSON, "per_debtor_per_collector": CapScope.PERSON, "per_creditor": CapScope.PERSON,
    "per_debt": CapScope.DEBT, "per_person_per_debt": CapScope.DEBT, "per_account": CapScope.DEBT, "per_debt_per_creditor": CapScope.DEBT,
    "per_claim_all_collectors": CapScope.CLAIM, "per_contact_point": CapScope.NUMBER, "per_line": CapScope.NUMBER,
}  # fmt: skip
"""The creditor and the collector are the tenant, who owns the ledger."""
CHANNELS = {"recorded_message": Channel.AI_VOICE, "prerecorded_voice": Channel.AI_VOICE, "ringless_voicemail": Channel.VOICEMAIL}
NO_LAW = {"CN", "AU", "ES"}
"""A recommended standard, a regulator's guideline, an analogy: their hours are recommendations."""


def channels(words: list[str]) -> set[Channel]:
    return {CHANNELS.get(word) or Channel(word) for word in words}


def reach(window: Mapping[str, Any]) -> Reach:
    """Return how far back a counter looks; a week not stated to be a calendar week is any seven dates."""
    match window["kind"]:
        case "calendar_day":
            return Reach(ReachKind.DATES, 1)
        case "calendar_week":
            return Reach(ReachKind.DATES, 7)
        case kind:
            return Reach(ReachKind(kind), window["n"])


def counters(pack: Pack) -> dict[str, Cap | Spacing | ChannelLock]:
    return {rule.terms.id: rule for rule in pack.rules if isinstance(rule, Cap | Spacing | ChannelLock)}


def of_region(pack: Pack, region: str | None) -> list[Window]:
    """Return the windows of a row of hours, which names its region in words, without those of single products."""
    found = [rule for rule in pack.rules if isinstance(rule, Window) and not (rule.terms.conditions and rule.terms.conditions.products)]
    if region is None:
        return found
    states = {"SP (also AL)": {"SP", "AL"}, "other states (practice)": pack.regions - {"SP", "AL", "RJ", "ES", "AM"}}.get(region, {region})
    return [rule for rule in found if rule.terms.regions and rule.terms.regions <= states]


def nature_of(name: str, row: Mapping[str, Any]) -> Nature:
    if row["ev"] == "product_default" or name == "US-FED-TCPA":
        return Nature.PRODUCT_DEFAULT
    practice = str(row.get("region", "")).endswith("(practice)")
    return Nature.RECOMMENDATION if name in NO_LAW or practice else Nature.LAW


def test_there_is_a_pack_for_every_jurisdiction_of_the_notes_and_no_other() -> None:
    assert set(PACKS_OF_LAW) == set(NOTES)
    assert len(NOTES) == 43


@pytest.mark.parametrize("name", PACKS_OF_LAW)
def test_a_pack_says_where_it_was_read_and_how_well(name: str) -> None:
    pack, note = PACKS[name], NOTES[name]
    assert pack.name == note["name"].removesuffix(" (bonus)")
    assert pack.verified == f"{note['verified']}: {note['verified_detail']}"
    assert list(pack.sources) == [f"{law['law']}, {law['section']} ({law['year']}) [{law['ev']}]" for law in note["source"]]


@pytest.mark.parametrize("name", PACKS_OF_LAW)
def test_the_hours_of_a_pack_are_those_of_the_notes(name: str) -> None:
    pack = PACKS[name]
    for row in NOTES[name]["allowed_hours"]:
        if row["channels"] == ["workplace"]:
            continue
        found = [rule for rule in of_region(pack, row.get("region")) if channels(row["channels"]) <= rule.terms.channels]
        assert found, row
        for window in found:
            assert window.hours.days == tuple(parse_spans(row[day]) for day in WEEKDAYS)
            assert window.hours.holiday == (parse_spans(row["holiday"]) if window.holidays else None)
            assert window.holidays or row["holiday"] in {row[day] for day in WEEKDAYS}
            assert window.zone is None
            assert nature_of(name, row) is window.terms.nature
            assert window.terms.evidence.value == ("S" if "br-al" in window.terms.id else row["ev"])
            assert window.terms.since is window.terms.until is None


@pytest.mark.parametrize("name", PACKS_OF_LAW)
def test_the_counters_of_a_pack_are_those_of_the_notes(name: str) -> None:
    found, caps = counters(PACKS[name]), {cap["id"]: cap for cap in NOTES[name]["frequency_caps"]}
    assert set(found) - set(ADDED) == set(caps) - UNEXPRESSED
    for cap_id in set(caps) - UNEXPRESSED:
        rule, cap = found[cap_id], caps[cap_id]
        assert rule.terms.nature is NATURES[cap["nature"]]
        assert rule.terms.evidence.value == cap["ev"]
        assert rule.scope is SCOPES[cap["scope"]]
        assert channels(cap["channels"]) <= rule.terms.channels
        assert channels(cap["channels"]) <= rule.counts
        if isinstance(rule, Cap | ChannelLock):
            assert rule.reach == reach(cap["window"])
        if isinstance(rule, Cap):
            assert rule.limit == cap["limit"]
        assert isinstance(rule, ChannelLock) is (cap["unit"] == "distinct_channel")


def test_what_was_added_to_the_counters_stands_in_the_notes_in_other_words() -> None:
    notes = {
        name: " ".join(map(str, [*note["notes"], *(f"{key}: {value}" for key, value in note.items())])) for name, note in NOTES.items()
    }
    for added, words in ADDED.items():
        (name,) = [pack.id for pack in PACKS_OF_LAW.values() if added in counters(pack)]
        assert words in notes[name]
    spacing = counters(PACKS["CL"])["cl-2days-apart"]
    assert isinstance(spacing, Spacing)
    assert [cap["min_spacing"]["days"] for cap in NOTES["CL"]["frequency_caps"] if "min_spacing" in cap] == [spacing.free_days]


def test_the_rests_of_the_packs_are_the_one_with_a_window_and_the_six_days_of_ontario() -> None:
    rests: dict[str, Rule] = {rule.terms.id: rule for pack in PACKS_OF_LAW.values() for rule in pack.rules if isinstance(rule, CoolOff)}
    assert set(rests) == {"regf-conversation-cooloff", "on-notice-rest"}
    written, rest = NOTES["US-FED-REGF"]["cool_off"], rests["regf-conversation-cooloff"]
    assert isinstance(rest, CoolOff)
    assert (rest.reach, rest.scope, rest.terms.evidence.value) == (reach(written["window"]), SCOPES[written["scope"]], written["ev"])
    assert NOTES["CA-ON"]["cool_off"].startswith("6 days between")


@pytest.mark.parametrize("name", PACKS_OF_LAW)
def test_the_words_that_a_rule_of_hours_cites_are_those_of_the_notes(name: str) -> None:
    rows = {row["cite"] for row in NOTES[name]["allowed_hours"]}
    rules = {rule.terms.cite for rule in of_region(PACKS[name], None) if rule.terms.nature is not Nature.PRODUCT_DEFAULT}
    assert {cite for cite in rules if "Alagoas" not in cite} <= rows
