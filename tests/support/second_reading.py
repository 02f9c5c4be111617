"""A second reading of the notes on contact rules, to check the gate against: slow, minute by minute, with none of the gate's code.

It reads `tests/data/regulations.yaml` itself; the holidays are those of the packs, looked through elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

from libs.compliance import load_packs
from libs.compliance.rules import Window

Question = Mapping[str, Any]
"""A question as `POST /v1/compliance/check` takes it, with every part given."""
NOTES: dict[str, dict[str, Any]] = {
    note["id"]: note for note in yaml.safe_load((Path(__file__).parents[1] / "data" / "regulations.yaml").read_text(encoding="utf-8"))
}
STEP = timedelta(minutes=15)
"""Every boundary in the notes lies on a quarter of an hour."""
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LAW = ("hard", "rebuttable presumption")
NO_LAW_HOURS = frozenset({"CN", "AU", "ES", "US-FED-TCPA"})
"""A recommended standard, a guideline, an analogy, a rule about solicitations."""
NEEDS_PLACE_OR_NUMBER = frozenset({"ma-2in30-elsewhere", "wa-work", "id-not-continuous"})
OF_REQUESTS_FOR_CONSENT = "dc-consent-request"
ALSO = {"on-3in7": {"push"}}
ALSO_STRICTLY = {"ma-2in7": {"push"}}
"""What is counted beyond the wording: a push message is an electronic message and, read strictly, a text."""
VISITS_TOO = frozenset({"US-DC", "US-STATES-OTHER"})
"""Hours written for calls and messages, applied to visits too."""
NOT_PLACED = ("busy", "bounced")
TALKS = ("conversation", "promise", "answered", "connected", "")
MADE = frozenset({"contact_made", "direct_contact", "connected_call", "collection_contact", "contact", "call_or_visit"})
"""Units that do not count an unanswered call."""
BY_DEBT = frozenset({"per_debt", "per_person_per_debt", "per_account", "per_claim_all_collectors", "per_debt_per_creditor"})
BY_NUMBER = frozenset({"per_contact_point", "per_line"})
LOOKS_BACK = {"calendar_day": 0, "calendar_week": 6}
CONSENT = {
    "US-NYC": ("sms", "email", "push"), "US-DC": ("sms", "email", "push"), "US-FED-TCPA": ("sms",),
    "CO": ("sms", "email", "push", "call", "visit"), "VN": ("sms", "email", "push", "call", "visit"),
}  # fmt: skip
NO_VISITS = frozenset({"US-DC", "CO", "SA", "PK"})
"""Visits are forbidden, not on a closed list, or need a notice, which nobody here has had."""
EXEMPT = {
    "KR": {"notice", "statutory_notice", "answer", "confirmation"},
    "CO": {"answer", "confirmation"},
    "VN": {"answer", "confirmation"},
}


def forbids(question: Question, at: datetime) -> list[str]:
    """Return what forbids a contact at a moment, as `<jurisdiction> <rule>`, in the order of places and zones."""
    return [
        f"{place} {rule}"
        for place in question["jurisdictions"]
        for zone in question["timezones"]
        for rule in _speak(question, place, at.astimezone(ZoneInfo(zone)))
    ]


def verdict(question: Question, *, within: timedelta) -> tuple[str, datetime | None]:
    """Return the decision and the earliest allowed quarter of an hour, None if none is found within that time."""
    at = datetime.fromisoformat(question["proposed"]["at"]).astimezone(UTC)
    if not forbids(question, at):
        return "allow", None
    quarter = at.replace(minute=at.minute // 15 * 15, second=0, microsecond=0) + STEP
    while quarter < at + within:
        if not forbids(question, quarter):
            return "deny", quarter
        quarter += STEP
    return "deny", None


def _speak(question: Question, place: str, local: datetime) -> Iterator[str]:
    pack, floor = _pack(place), question["profile"] == "legal_floor"
    yield from _closed(place, question["proposed"]["channel"], local, floor=floor)
    if question["proposed"]["channel"] == "visit" and pack in NO_VISITS:
        yield "no visits"
    purpose = question["proposed"]["purpose"]
    consents = question["consents"]
    if consents is not None and question["proposed"]["channel"] in set(CONSENT.get(pack, ())) - set(consents) and purpose != "confirmation":
        yield "no consent"
    if purpose not in EXEMPT.get(pack, ()):
        yield from _full(question, pack, local, floor=floor)
    yield from _rests(question, pack, local)


def _closed(place: str, channel: str, local: datetime, *, floor: bool) -> Iterator[str]:
    for row in NOTES[_pack(place)]["allowed_hours"]:
        lawless = row["ev"] == "product_default" or _pack(place) in NO_LAW_HOURS or row.get("region", "").endswith("(practice)")
        about = {*row["channels"], *(["visit"] if _pack(place) in VISITS_TOO else [])}
        if channel not in about or not _covers(row.get("region"), place) or (floor and lawless):
            continue
        today = row[DAYS[local.weekday()]]
        hours = {today, row["holiday"]} if local.date() in _holidays(place) else {today}
        if not all(text != "none" and text[:5] <= f"{local:%H:%M}" < text[6:] for text in hours):
            yield "hours"


def _full(question: Question, pack: str, local: datetime, *, floor: bool) -> Iterator[str]:
    asked = question["proposed"]["channel"]
    for cap in NOTES[pack]["frequency_caps"]:
        channels = {*cap["channels"], *ALSO.get(cap["id"], ()), *(() if floor else ALSO_STRICTLY.get(cap["id"], ()))}
        unspoken = cap["id"] in NEEDS_PLACE_OR_NUMBER or cap["id"] == OF_REQUESTS_FOR_CONSENT
        if asked not in channels or unspoken or (floor and not cap["nature"].startswith(LAW)):
            continue
        counted = [prior for prior in question["prior"] if prior["kind"] not in EXEMPT.get(pack, ()) and _counts(cap, prior)]
        days = [
            (local.date() - _day(prior, local)).days
            for prior in counted
            if prior["channel"] in channels and _same(cap["scope"], prior, question["proposed"])
        ]
        if cap["unit"] == "distinct_channel":
            if any(prior["channel"] != asked and _recent(prior, local) for prior in counted):
                yield str(cap["id"])
        elif sum(0 <= ago <= _looks_back(cap["window"], local) for ago in days) >= cap["limit"]:
            yield str(cap["id"])
        if any(0 <= ago <= cap.get("min_spacing", {"days": -1})["days"] for ago in days):
            yield f"{cap['id']} spacing"


def _rests(question: Question, pack: str, local: datetime) -> Iterator[str]:
    """Yield the rest after a conversation under Regulation F, the only one that the notes give a period."""
    rest = NOTES[pack]["cool_off"]
    if isinstance(rest, str) or question["proposed"]["channel"] not in rest["blocks"]:
        return
    for prior in question["prior"]:
        talked = prior["channel"] == "call" and prior["result"] in TALKS
        if talked and _recent(prior, local) and _same(rest["scope"], prior, question["proposed"]):
            yield "rest after a talk"


def _counts(cap: Mapping[str, Any], prior: Mapping[str, Any]) -> bool:
    if prior["direction"] == "inbound":
        return False
    if prior["result"] == "no_answer":
        return cap["unit"] not in MADE | {"distinct_channel"}
    return prior["result"] not in NOT_PLACED or cap["id"] == "cn-dial-attempts"


def _same(scope: str, prior: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    if scope in BY_DEBT:
        return bool(prior["debt"] == asked["debt"])
    return scope not in BY_NUMBER or None in {prior["to"], asked["to"]} or prior["to"] == asked["to"]


def _recent(prior: Mapping[str, Any], local: datetime) -> bool:
    """Tell whether it was today or on one of the six days before."""
    return 0 <= (local.date() - _day(prior, local)).days <= LOOKS_BACK["calendar_week"]


def _looks_back(window: Mapping[str, Any], local: datetime) -> int:
    if window["kind"] == "calendar_month":
        return local.day - 1
    return LOOKS_BACK.get(window["kind"], int(window["n"]) - 1)


def _day(prior: Mapping[str, Any], local: datetime) -> date:
    return datetime.fromisoformat(prior["at"]).astimezone(local.tzinfo).date()


def _pack(place: str) -> str:
    return place if place in NOTES else place.rpartition("-")[0]


def _covers(region: str | None, place: str) -> bool:
    """Tell whether a region's row of hours applies in a place; the bare jurisdiction means every region."""
    state = place.removeprefix("BR-")
    if region is None or state == place:
        return True
    named = {"SP": "SP (also AL)", "AL": "SP (also AL)", "RJ": "RJ", "ES": "ES", "AM": "AM"}
    return region == named.get(state, "other states (practice)")


@cache
def _holidays(place: str) -> frozenset[date]:
    found = load_packs().locate(place)
    windows = [rule for rule in found.rules if isinstance(rule, Window)] if found else []
    return frozenset().union(*(window.holidays.days for window in windows if window.holidays))
