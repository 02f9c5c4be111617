import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from libs.compliance import Allow, CapScope, Deny, decide, load_packs, longest_reach
from libs.compliance.packs import PackError
from tests.unit.compliance.build import packs_with, question

PACKS = load_packs()
CASES: list[dict[str, Any]] = json.loads(Path(__file__).with_name("conformance.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_worked_case_is_decided_as_written(case: dict[str, Any]) -> None:
    proposed, circumstances = question(case["request"])
    answer = decide(proposed, circumstances, PACKS)
    assert isinstance(answer, Deny), case["facts"]
    assert answer.earliest is not None
    assert answer.earliest.isoformat() == _utc(case["expect"]["earliest"]), answer.reasons
    again = {**case["request"], "proposed": {**case["request"]["proposed"], "at": answer.earliest.isoformat()}}
    assert isinstance(decide(*question(again), PACKS), Allow)


def test_the_shipped_packs_are_read_once_and_nobody_changes_them_for_another() -> None:
    assert load_packs().by_id is PACKS.by_id
    with pytest.raises(TypeError):
        PACKS.by_id["XX"] = PACKS["ZZ"]  # type: ignore[index]  # what must not work


def _utc(text: str) -> str:
    return datetime.fromisoformat(text).astimezone(UTC).isoformat()


@pytest.mark.parametrize(
    ("rules", "fault"),
    [
        ("- id: a\n  kind: window\n  hours: {every: '08:00-20:00'}\n  colour: red", "rule a: unknown keys: colour"),
        ("- id: a\n  kind: widow", "'kind': 'widow' is not a valid RuleKind"),
        ("- id: a\n  kind: stop", "no rules of the kind stop"),
        ("- id: a\n  kind: window\n  hours: {every: '20:00-08:00'}", "not a span"),
        ("- id: a\n  kind: window\n  hours: {every: '08:00-20:00', holiday: none}", "go together"),
        ("- id: a\n  kind: window\n  calendar: x\n  hours: {every: '08:00-20:00', holiday: none}", "no calendar 'x'"),
        ("- id: a\n  kind: cap\n  limit: '3'", "'limit' must be int"),
        ("- id: a\n  kind: cap\n  limit: 3\n  unit: contact\n  scope: debt\n  reach: {days: 7}", "not a valid ReachKind"),
        ("- id: a\n  kind: consent\n  channels: [telex]", "'telex' is not a valid Channel"),
        ("- id: a\n  kind: consent\n- id: a\n  kind: consent", "named twice: a"),
        ("- id: a\n  kind: consent\n  regions: [N]", "regions the pack does not have: N"),
        ("- id: a\n  kind: window\n  zone: Mars/Base\n  hours: {every: '08:00-20:00'}", "no time zone 'Mars/Base'"),
    ],
)
def test_a_pack_that_cannot_be_read_says_where_and_why(rules: str, fault: str) -> None:
    with pytest.raises(PackError, match=fault):
        packs_with(rules)


@pytest.mark.parametrize("name", sorted(PACKS))
def test_every_rule_of_a_shipped_pack_cites_its_source(name: str) -> None:
    pack = PACKS[name]
    assert pack.verified
    assert pack.rules
    assert all(rule.terms.cite for rule in pack.rules)
    assert pack.sandbox_only is (name == "ZZ")


def test_a_rule_has_one_name_over_all_packs_so_that_cap_keys_do_not_meet() -> None:
    ids = [rule.terms.id for pack in PACKS.values() for rule in pack.rules]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("rule", "days"),
    [
        ("limit: 2\n  unit: dial\n  reach: {calendar_month: 2}\n  scope: number\n  kind: cap", 63),
        ("free_days: 9\n  scope: number\n  kind: spacing", 11),
        ("limit: 2\n  unit: dial\n  reach: {calendar_month: 2}\n  scope: person\n  kind: cap", 1),
    ],
)
def test_a_contact_with_a_number_is_remembered_as_long_as_a_rule_over_numbers_may_count_it(rule: str, days: int) -> None:
    packs = packs_with(f"- id: a\n  channels: [any]\n  {rule}")
    assert longest_reach(packs, CapScope.NUMBER) == timedelta(days=days)
