"""Policy documents: what is read, rejected and warned about, and that whatever is accepted can be run."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from libs.common.value import replace
from libs.compliance import Packs, TenantHours, load_packs
from libs.compliance.house import House
from libs.compliance.packs import parse_pack
from services.scheduler.domain.builtin import BUILT_IN
from services.scheduler.domain.case import Case, ContactState, Stage, State, follow
from services.scheduler.domain.choosing import Active, Assignment, Choices, InFlight, ruled
from services.scheduler.domain.planner import ErrandDue, plan
from services.scheduler.domain.policy import AppliesTo, Policy
from services.scheduler.domain.standing import is_clear, ready
from services.scheduler.domain.stops import Ending
from services.scheduler.policies.conditions import condition, seen
from services.scheduler.policies.forms import schema
from services.scheduler.policies.lint import Law, warnings
from services.scheduler.policies.places import MOST_BYTES, MOST_DEPTH, read
from services.scheduler.policies.reading import Document, decode, policy_of, understand
from services.scheduler.policies.writing import encode
from tests.unit.scheduler.build import asked, case, coming, debt, doing, local
from tests.unit.scheduler.test_properties import CASES, ENDINGS, MOMENTS, calmly

TAKEN_BY_EDITORS = Draft202012Validator(schema())
EXAMPLE = """\
policy: wallet-standard
applies_to: {products: [cash-loan]}
consolidate: borrower
entry: latest                # a case that enters late starts at: latest due step | first step
cure: {when: clear, cool_down: 7d}
steps:
  - {id: due-soon, at: {day: -3, between: "10:00-12:00"}, send: {template: due_soon, channels: [push, sms], purpose: reminder}}
  - {id: gentle,   at: {day: 1,  between: "09:30-11:30"}, send: {template: gentle, channels: [push, sms, email], fallback_after: 4h}}
  - {id: firm,     at: {day: 7}, when: "debt.total >= 5000 && !promise.open", send: {template: firm, channels: [sms, email]}}
  - {id: offer,    at: {day: 12}, offer: {kind: instalment_plan, max_months: 6, waive_interest_percent: 20}, send: {template: offer, channels: [sms, email]}}
  - {id: call,     at: {day: 20}, flag: high_risk, task: {queue: phone, kind: call, sla: 2d}}
  - {id: bureau-notice, at: {day: 24}, send: {template: bureau_notice, channels: [sms, email], purpose: notice}}
  - {id: bureau,   at: {day: 31}, after: {step: bureau-notice, days: 7}, emit: bureau_report}
  - {id: legal,    at: {day: 90}, requires: [evidence, approval], task: {queue: legal, kind: letter}}
  - {id: agency,   at: {day: 120}, requires: [approval], hand_over: {to: agency}}
experiment: {challenger: "wallet-gentle@3", share: 10, salt: "2026q4", stop_when: {complaint_rate: 0.5}}
"""  # noqa: E501  # the design's example, as it stands there
SMALL = """\
policy: small
steps:
  - {id: hello, at: {day: 1}, send: {template: gentle, channels: [sms]}}
  - {id: call, at: {day: 9}, task: {queue: phone, kind: call}}
"""
NO_SMS = """\
id: QQ
name: A country without text messages
version: "1"
verified: not law; an invented country
zones: []
sources: []
rules:
- {id: qq-no-sms, kind: channels, nature: law, cite: "an invented country", evidence: product_default, channels: [sms]}
"""
PACKS = load_packs()
NOW = datetime(2026, 11, 24, tzinfo=UTC)

DURATIONS = st.one_of(
    st.integers(1, 9999).map(lambda n: f"{n}m"), st.integers(1, 999).map(lambda n: f"{n}h"), st.integers(1, 90).map(lambda n: f"{n}d")
)
WINDOWS = (
    st.tuples(st.integers(0, 94), st.integers(0, 95))
    .filter(lambda pair: pair[0] < pair[1])
    .map(lambda pair: "-".join(f"{n // 4:02}:{n % 4 * 15:02}" for n in pair))
)
CONDITIONS = (
    "debt.total >= 5000",
    "contacts.said == 0 || 'firm' in contacts.steps",
    '!(debt.currency.startsWith("C") && size(debts) > 1)',
    "debt.count - 1 > 0",
    "false",
)
WORDS = st.sampled_from(("gentle", "firm", "due_soon", "review", "high_risk"))


KINDS = ("reminder", "message", "message", "notice", "task", "flag", "emit", "hand_over", "offer")


@st.composite
def _steps(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(KINDS))
    step: dict[str, Any] = {"id": draw(st.sampled_from("abcdefgh")), "at": _at(draw, kind), **_doing(draw, kind)}
    if draw(st.booleans()):
        step["when"] = draw(st.sampled_from(CONDITIONS))
    if kind == "reminder":
        return step
    if kind == "flag" or draw(st.booleans()):
        step["flag"] = draw(WORDS)
    if kind == "offer" or (kind in {"message", "task"} and draw(st.sampled_from((False, False, True)))):
        step["offer"] = draw(OFFERS)
    return {**step, **draw(_needs())}


def _at(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    days = (
        {"day": draw(st.integers(-30, -1))}
        if kind == "reminder"
        else {draw(st.sampled_from(("day", "day_past_due"))): draw(st.integers(0, 40))}
    )
    return {**days, "between": draw(WINDOWS)} if draw(st.booleans()) else days


def _doing(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    match kind:
        case "reminder" | "message" | "notice":
            channels = draw(st.lists(st.sampled_from(("push", "inbox", "sms", "email")), min_size=1, unique=True))
            purpose = {"purpose": "notice"} if kind == "notice" else {}
            return {"send": {"template": draw(WORDS), "channels": channels, **purpose}}
        case "task":
            return {"task": {"queue": draw(WORDS), "kind": draw(WORDS), "sla": draw(DURATIONS), "again_after": draw(DURATIONS)}}
        case "emit":
            return {"emit": "legal_requested"}
        case "hand_over":
            return {"hand_over": {"to": "agency"}}
        case _:
            return {}


OFFERS = st.sampled_from(
    (
        {"kind": "instalment_plan", "max_months": 6, "waive_interest_percent": 20, "valid_for": "5d"},
        {"kind": "partial_waiver", "waive_fees_percent": 50},
    )
).map(dict)


@st.composite
def _needs(draw: st.DrawFn) -> dict[str, Any]:
    """What people must supply for a step, for one step in three."""
    wanted = draw(st.sampled_from(([], [], [], [], ["approval"], ["evidence"], ["approval", "evidence"])))
    needs: dict[str, Any] = {"requires": wanted} if wanted else {}
    if "evidence" in wanted and draw(st.booleans()):
        needs["evidence"] = ["contract", "dossier"]
    if "approval" in wanted and draw(st.booleans()):
        needs["approval"] = {"queue": "legal", "sla": "1d", "by": draw(st.sampled_from(("another_person", "any_person")))}
    return needs


def _chained(draw: st.DrawFn, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Let some steps follow messages before them, and report to a bureau after a notice."""
    for n, step in enumerate(steps):
        before = [one for one in steps[:n] if "send" in one and one["at"].get("day", 0) >= 0]
        if step["at"].get("day", 0) < 0 or not before or not draw(st.booleans()):
            continue
        followed = draw(st.sampled_from(before))
        step["after"] = {"step": followed["id"], "days": draw(st.integers(0, 9))}
        if "emit" in step and followed["send"].get("purpose") == "notice":
            step["emit"] = "bureau_report"
    return steps


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents with everything that is supported, with days in any order."""
    document: dict[str, Any] = {
        "policy": draw(st.sampled_from(("ours", "others"))),
        "cure": {"cool_down": draw(DURATIONS)},
        "entry": draw(st.sampled_from(("latest", "first"))),
        "consolidate": draw(st.sampled_from(("borrower", "loan"))),
        "steps": _chained(draw, draw(st.lists(_steps(), min_size=1, max_size=6, unique_by=lambda step: step["id"]))),
    }
    if draw(st.booleans()):
        document["applies_to"] = {
            "products": ["cash-loan"],
            "segments": ["VIP 1", "returning"],
            "jurisdictions": draw(st.lists(st.sampled_from(("ZZ", "CN", "BR-SP")), min_size=1)),
        }
    return document


POLICIES = documents().map(lambda document: decode({**document, "policy": "ours"}, 1))


def found(text: str) -> list[tuple[int, str, str]]:
    """Line, path and code of every error."""
    return [(fault.place.line, fault.path, fault.error) for fault in understand(text).faults]


def warned(text: str, *places: str) -> list[tuple[str, str]]:
    """Path and code of every warning."""
    return [(fault.path, fault.error) for fault in warnings(understand(text), Law(PACKS, places, NOW))]


def test_the_example_of_the_design_loads() -> None:
    document = understand(EXAMPLE)
    assert document.form is not None
    assert document.faults == ()


def test_all_errors_come_at_once_each_with_line_and_path() -> None:
    text = """\
policy: X Y
steps:
  - id: gentle
    at: {day: 1, between: "9-10"}
    send: {template: a, channels: [sms, fax], colour: red}
  - at: {day: -3}
    task: {queue: q, kind: k, sla: 2 days}
"""
    assert found(text) == [
        (1, "policy", "invalid"), (4, "steps[0].at.between", "invalid"), (5, "steps[0].send.channels[1]", "invalid"),
        (5, "steps[0].send.colour", "unknown_key"), (6, "steps[1].id", "missing"), (7, "steps[1].task.sla", "invalid"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "error"),
    [("a: 1\nb:\n  c: 2\n  c: 3", (4, "b.c", "duplicate_key")), ("a: &x 1\nb: *x", (1, "", "not_supported")),
     ("a: !!python/object:os.system x", (1, "", "not_supported")), ("a: [", (2, "", "not_yaml")), ("a: 1\n---\na: 2", (2, "", "not_yaml")),
     ("? [a]\n: 1", (1, "", "not_supported")), ("[" * (MOST_DEPTH + 2), (1, "[0]" * MOST_DEPTH, "too_deep")),
     ("[" * 60_000, (1, "[0]" * MOST_DEPTH, "too_deep")),
     ("#" * (MOST_BYTES + 1), (1, "", "too_large")), ("a: \x07", (1, "", "not_yaml")), ("a: 'b\nc: d\n", (1, "", "not_yaml")),
     ("a: '\\ud800'\nb: \"\\ud800\"", (2, "", "not_yaml")),
     ('"\\0": 1', (1, "", "not_supported"))],
)  # fmt: skip
def test_what_cannot_be_read_safely_is_refused_where_it_stands(text: str, error: tuple[int, str, str]) -> None:
    faults = read(text).faults
    assert [(fault.place.line, fault.path, fault.error) for fault in faults] == [error]


def test_words_of_old_yaml_are_texts() -> None:
    assert read("a: yes\nb: 2026-01-01\nc: 07\nd: 1:30\ne: -3\nf: true\ng: ~\nh: '5'\ni: 0.5").value == {
        "a": "yes", "b": "2026-01-01", "c": "07", "d": "1:30", "e": -3, "f": True, "g": None, "h": "5", "i": 0.5,
    }  # fmt: skip


@calmly
@given(document=documents())
def test_yaml_and_json_are_read_alike(document: dict[str, Any]) -> None:
    texts = (yaml.safe_dump(document), json.dumps(document), json.dumps(document, indent="\t"))
    assert [read(text).value for text in texts] == [document] * 3


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("", "it is empty"), ("# only this", "it is empty"), ("- a", "expected keys with values here"),
        ("policy: ours\nsteps: [{id: a, at: 3, flag: x}]", "expected keys with values here"),
        ("policy: ours\nsteps: 3", "a list belongs here"), ("policy: ours", "this key is missing"),
    ],
)  # fmt: skip
def test_what_has_the_wrong_shape_is_told_without_words_of_our_own_code(text: str, detail: str) -> None:
    said = [fault.detail for fault in understand(text).faults]
    assert [words.partition(" (it all arrived as one line")[0] for words in said] == [detail]


SLIPS = """policy: ours
cure: {cool_down: 7d}
steps:
  - {id: a, at: {day: 1, between: "09:30-11:30"}, when: "debt.total > 5", send: {template: firm, channels: [sms, email]}}
"""


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("channels:", "chanels:", "there is no such key here: did you mean 'channels'?"),
        ("at: {day:", "at: {dya:", "there is no such key here: did you mean 'day'?"),
        ("cure:", "zzz:", "there is no such key here: there are 'policy', 'applies_to'"),
        ("email]", "emial]", "'emial' is not known here: did you mean 'email'?"),
        ("day: 1", "day: one", "a whole number belongs here, not 'one'"),
        ("7d", "7", "a text belongs here, not 7: a number and m, h or d: 30m, 4h, 7d"),
        ("ours", "Our Policy", "'Our Policy' has the wrong form: lowercase letters, digits and dashes, starting with a letter"),
        ('"09:30-11:30"', '"11:30-09:30"', "which ends after it begins"),
        ("> 5", "= 5", "; to compare write =="),
        ("> 5", "> 5.5", "; numbers are whole"),
        ("> 5", "> 5 and debt.count > 1", "; and is &&"),
        ("  - {id", "\t- {id", "a tab"),
        ("\n", "", "curl keeps line breaks with --data-binary"),
    ],
)  # fmt: skip
def test_a_slip_is_answered_by_what_was_probably_meant(right: str, wrong: str, said: str) -> None:
    assert not understand(SLIPS).faults
    assert any(said in fault.detail for fault in understand(SLIPS.replace(right, wrong)).faults)


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ("{id: a, at: {day: 1}}", "steps[0]"),
        ("{id: a, at: {}, flag: x}", "steps[0].at"),
        ("{id: a, at: {day: 1, day_past_due: 1}, flag: x}", "steps[0].at"),
        ("{id: a, at: {day: -1}, flag: x}", "steps[0]"),
        ("{id: a, at: {day: -1}, task: {queue: q, kind: k}}", "steps[0]"),
        ("{id: a, at: {day: 1}, task: {queue: q, kind: k, again_after: 0d}}", "steps[0].task"),
        ("{id: a, at: {day: 1}, task: {queue: q, kind: k}, send: {template: t, channels: [sms]}}", "steps[0]"),
        ("{id: a, at: {day: 1}, send: {template: t, channels: [sms], purpose: reminder}}", "steps[0]"),
        ("{id: a, at: {day: -1}, send: {template: t, channels: [sms], purpose: dunning}}", "steps[0]"),
        ("{id: a, at: {day: 1}, send: {template: t, channels: [sms, sms]}}", "steps[0].send"),
        ("{id: a, at: {day: 1}, send: {template: t, channels: [letter]}}", "steps[0].send.channels[0]"),
        ("{id: a, at: {day: 1, between: none}, flag: x}", "steps[0].at.between"),
        ('{id: a, at: {day: 1, between: "10:00-10:05"}, flag: x}', "steps[0].at.between"),
        ("{id: in_doubt, at: {day: 1}, flag: x}", "steps[0].id"),
        ('{id: "stop:s1", at: {day: 1}, flag: x}', "steps[0].id"),
        ("{id: a, at: {day: 1.0}, flag: x}", "steps[0].at.day"),
        ("{id: a, at: {day: 4000}, flag: x}", "steps[0].at.day"),
        ("{id: b, at: {day: 1}, after: {step: b, days: 1}, flag: x}", "steps[0].after.step"),
    ],
)  # fmt: skip
def test_a_step_that_means_nothing_is_an_error(step: str, path: str) -> None:
    assert path in [where for _, where, _ in found(f"policy: ours\nsteps:\n  - {step}\n")]


@pytest.mark.parametrize(
    ("when", "error"),
    [
        ("debt.total >= 5000 && !('vip' in debt.products)", None),
        ("debt.total + 5 * 2 > 1", "condition"),
        ("debt.total / debt.count > 1", "condition"),
        ("debt.total > 'a'", "condition"),
        ("debt.total == 'a'", "condition"),
        ("debt.total >= 0 || debt.total > 'a'", "condition"),
        ("debt.total", "condition"),
        ("debt.total > 1 || debt.nope", "unknown_path"),
        ("debt.total > 1 || debt.count", "condition"),
        ("!promise.open && promise.count_broken < 2", None),
        ("case.nonpayment_reason in ['illness', 'job_lost'] && !promise.broken", None),
        ("promise.paid > 1", "unknown_path"),
        ("borrower.attributes.vip", "not_supported_yet"),
        ("now > 1", "unknown_path"),
        ("debts[0].total > 1", "condition"),
        ("debts.exists(d, d.total > 1)", "condition"),
        ("has(debt.total)", "condition"),
        ("debt.currency.matches('(a+)+')", "condition"),
        ("size(debt.currency) == 3 && debt.currency.contains('N')", None),
        ("-debt.total < 0", None),
        ("debt.total > 99999999999999999999", "condition"),
        ("debt.total > 5000u", "condition"),
        ("debt.total > 1e9", "condition"),
        ("debt.total >", "condition"),
        ("(debt.total > 1", "condition"),
        ("debt.total > 1)", "condition"),
        ("debt.total # 1", "condition"),
        ("[] == []", "condition"),
        ("!" * 60 + "true", "condition"),
        ("(" * 400 + "true" + ")" * 400, "condition"),
        (" && ".join(["true"] * 25), None),
        (" && ".join(["true"] * 27), "condition"),
        ("true" + " " * 997, "invalid"),
    ],
)
def test_a_condition_is_checked_whole_before_it_is_run(when: str, error: str | None) -> None:
    text = json.dumps({"policy": "ours", "steps": [{**_said("a", 1), "when": when}]})
    assert [code for _, path, code in found(text) if path == "steps[0].when"] == ([] if error is None else [error])


@calmly
@given(ones=st.lists(CASES, min_size=1, max_size=4), source=st.sampled_from(CONDITIONS))
def test_a_condition_that_was_accepted_is_true_or_false_on_every_case(ones: list[Case], source: str) -> None:
    accepted = condition(source)
    assert all(isinstance(accepted.program.execute(seen(one, accepted.reads)), bool) for one in ones)
    assert all(accepted.holds(one) is accepted.program.execute(seen(one)) for one in ones)


def test_a_message_whose_condition_is_not_met_is_as_if_it_were_not_there() -> None:
    policy = decode({"policy": "ours", "steps": [_said("a", 1), {**_said("b", 3), "when": "debt.total >= 20000"}, _said("c", 9)]}, 1)
    one, _ = follow(case(debt()), policy, local(4, 10))
    assert asked(plan(one, policy, local(4, 10))) == ["a"]
    richer = replace(one, debts=(debt(overdue=30_000),))
    planned = plan(richer, policy, local(4, 10))
    assert asked(planned) == ["b"]
    said = _ended(doing(richer, planned, local(4, 10)), ContactState.DONE)
    poorer = replace(said, debts=(debt(),))
    planned = plan(poorer, policy, local(5, 10))
    assert planned.upcoming is not None
    assert (asked(planned), planned.upcoming.step) == ([], "c"), "what stands before a message that was said is not made up for"


def test_work_under_a_condition_leaves_the_ladder_an_ending() -> None:
    steps = [_said("a", 1), {"id": "call", "at": {"day": 3}, "when": "debt.total >= 20000", "task": {"queue": "phone", "kind": "call"}}]
    policy = decode({"policy": "ours", "steps": steps}, 1)
    for overdue, keys in ((12_050, ["~ended"]), (30_000, ["call", "~ended"])):
        one, _ = follow(case(debt(overdue=overdue)), policy, local(9, 10))
        assert [due.key for due in plan(one, policy, local(9, 10)).due if isinstance(due, ErrandDue)] == keys


def test_two_steps_of_one_name_are_an_error() -> None:
    assert found(SMALL.replace("id: call", "id: hello")) == [(4, "steps[1].id", "duplicate_step")]


@pytest.mark.parametrize(
    ("change", "places", "expected"),
    [
        (("", ""), ("ZZ", "CN"), []),
        (("day: 9", "day: 99"), (), [("steps[1].at", "gap")]),
        (("day: 1}", "day: 8}"), (), [("steps[0].at", "gap")]),
        (("day: 1}", "day: -9}"), (), [("steps", "gap"), ("steps[0].at.day", "beyond_due_soon_days")]),
        (("task: {queue: phone, kind: call}", "flag: late"), (), [("steps", "no_ending")]),
        (("{day: 1},", "{day: 1}, when: 1 > 2,"), (), [("steps[0].when", "unreachable")]),
        (("{id: call, at: {day: 9},", "{id: call, at: {day: 9}, when: size(debts) > 1,"), (), [("steps", "no_ending")]),
        (("queue: phone", "queue: legal"), (), [("steps[1]", "no_notice")]),
        (("{day: 1}", '{day: 1, between: "22:00-24:00"}'), ("ZZ",), [("steps[0].at.between", "never_let_out")]),
        (("{day: 1}", '{day: 1, between: "21:00-24:00"}'), ("ZZ",), []),
        (("{day: 1}", '{day: 1, between: "22:00-24:00"}'), ("XX",), [("", "unknown_jurisdiction")]),
        (("task: {queue: phone, kind: call}", "send: {template: firm, channels: [sms]}"), (), [("steps", "no_ending")]),
        (("day: 9}, task: {queue: phone, kind: call}", "day: 1}, send: {template: firm, channels: [sms]}"), (),
         [("steps", "no_ending"), ("steps[0]", "unreachable")]),
    ],
)  # fmt: skip
def test_what_may_be_written_and_is_hardly_meant_is_warned_of(
    change: tuple[str, str], places: tuple[str, ...], expected: list[tuple[str, str]]
) -> None:
    text = SMALL.replace(*change)
    assert found(text) == []
    assert sorted(warned(text, *places)) == sorted(expected)


def test_what_lies_outside_the_tenants_own_hours_is_never_let_out() -> None:
    text = SMALL.replace("{day: 1}", '{day: 1, between: "10:00-11:30"}')
    law = Law(PACKS, ("ZZ",), NOW, House(hours=TenantHours.parse({"mon-sun": "14:00-18:00"})))
    assert [(fault.error, "tenant's own hours" in fault.detail) for fault in warnings(understand(text), law)] == [("never_let_out", True)]


def test_a_channel_that_is_forbidden_is_never_let_out_but_another_of_the_step_is() -> None:
    forbids = parse_pack(NO_SMS, "QQ.yaml")
    law = Law(Packs({"QQ": forbids}), ("QQ",), NOW)
    assert [fault.error for fault in warnings(understand(SMALL), law)] == ["never_let_out"]
    assert warnings(understand(SMALL.replace("[sms]", "[sms, email]")), law) == ()


@pytest.mark.parametrize("name", sorted(PACKS))
def test_hours_in_the_morning_are_let_out_everywhere_for_some_channel(name: str) -> None:
    text = SMALL.replace("{day: 1}", '{day: 1, between: "10:00-11:30"}').replace("[sms]", "[push, sms, email]")
    assert warned(text, name) == []


@calmly
@given(document=documents())
def test_the_schema_for_editors_takes_what_we_take(document: dict[str, Any]) -> None:
    TAKEN_BY_EDITORS.validate(document)


def test_the_schema_for_editors_takes_the_example() -> None:
    TAKEN_BY_EDITORS.validate(read(EXAMPLE).value)


@calmly
@given(document=documents())
def test_a_policy_written_and_read_again_is_the_same(document: dict[str, Any]) -> None:
    understood = understand(json.dumps(document))
    assert understood.faults == ()
    policy = _policy(understood)
    assert decode(json.loads(json.dumps(encode(policy))), policy.version) == policy


def test_the_built_in_policy_can_be_written_but_for_its_name() -> None:
    assert decode({**encode(BUILT_IN), "policy": "ours"}, 1) == dataclasses.replace(BUILT_IN, name="ours")


@calmly
@given(one=CASES, policy=POLICIES, moments=st.lists(MOMENTS, max_size=8), endings=st.lists(ENDINGS, min_size=8, max_size=8))
def test_what_has_no_errors_can_be_planned_on_any_case_and_forgets_nobody(
    one: Case, policy: Policy, moments: list[datetime], endings: list[ContactState]
) -> None:
    for now, ending in zip(sorted(moments), endings, strict=False):
        one, _ = follow(one, policy, now)
        planned = plan(one, policy, now)
        one = doing(one, planned, now)
        assert planned.next_at is None or planned.next_at > now
        assert planned.reason.ends
        if one.owed and planned.reason.event is not None and planned.reason.event not in set(Ending) and one.handed_to is None:
            frozen = all(ready(one, step, one.owed) is None for step in policy.errands if is_clear(one, step))
            assert frozen or any(debt.doubted for debt in one.owed)
        assert plan(one, policy, now).due == (), "nothing is due twice"
        one = _ended(one, ending, now)


@calmly
@given(
    one=CASES,
    versions=st.lists(documents(), min_size=1, max_size=4),
    moments=st.lists(st.tuples(MOMENTS, st.integers(0, 3), st.sampled_from(list(InFlight)), ENDINGS), max_size=12),
)
def test_no_switch_of_versions_says_a_step_twice_in_a_spell(
    one: Case, versions: list[dict[str, Any]], moments: list[tuple[datetime, int, InFlight, ContactState]]
) -> None:
    policies = [decode({**document, "policy": "ours"}, n + 1) for n, document in enumerate(versions)]
    pinned: Policy | None = BUILT_IN
    for now, which, in_flight, ending in sorted(moments, key=lambda moment: moment[0]):
        latest = policies[min(which, len(policies) - 1)]
        before, was = one, pinned
        one, pinned = ruled(one, pinned, _choices(latest, in_flight), now)
        assert pinned is not None
        if in_flight is InFlight.PIN and before.state is not State.CLOSED and not (before.stage is Stage.PRE_DUE and before.owed):
            assert pinned == was
        one, _ = follow(one, pinned, now)
        one = _ended(doing(one, plan(one, pinned, now), now), ending, now)
    held = Counter((c.spell, c.step, c.about) for c in one.contacts if c.state is not ContactState.EXPIRED)
    assert all(number == 1 for number in held.values())


@calmly
@given(one=CASES, document=documents(), now=MOMENTS, in_flight=st.sampled_from(list(InFlight)))
def test_activating_a_version_sends_nothing_that_was_already_said(
    one: Case, document: dict[str, Any], now: datetime, in_flight: InFlight
) -> None:
    first, second = (dataclasses.replace(decode({**document, "policy": "ours"}, n), applies_to=AppliesTo()) for n in (1, 2))
    assume(one.owed)
    one, pinned = ruled(one, None, _choices(first, InFlight.PIN), now)
    assert pinned == first
    one, _ = follow(one, first, now)
    one = _ended(doing(one, plan(one, first, now), now), ContactState.DONE, now)
    one = doing(one, plan(one, first, now), now)
    moved, ruling = ruled(one, first, _choices(second, in_flight), now)
    assert ruling is not None
    followed, _ = follow(moved, ruling, now)
    assert plan(followed, ruling, now).due == (), "the same steps stand in the same places"


def test_at_the_next_step_no_message_goes_out_whose_day_is_not_after_that_of_the_last_one_said() -> None:
    first = decode({"policy": "ours", "steps": [_said("a", 1), _said("b", 7)]}, 1)
    second = decode({"policy": "ours", "steps": [_said("a2", 1), _said("mid", 6), _said("b2", 7), _said("c", 9)]}, 2)
    one, _ = follow(case(debt()), first, local(7, 10))
    one = _ended(doing(one, plan(one, first, local(7, 10)), local(7, 10)), ContactState.DONE)
    assert [contact.step for contact in one.contacts] == ["b"]
    moved, ruling = ruled(one, first, _choices(second, InFlight.NEXT_STEP), local(7, 11))
    assert ruling == second
    assert moved.passed == {"a2", "mid", "b2"}
    planned = plan(moved, second, local(8, 11))
    upcoming = planned.upcoming
    assert upcoming is not None
    assert asked(planned) == []
    assert (upcoming.step, upcoming.at) == ("c", local(9, 0))
    restarted, _ = ruled(one, first, _choices(second, InFlight.RESTART), local(7, 11))
    assert asked(plan(restarted, second, local(8, 0))) == ["b2"]


def test_a_reminders_case_is_ruled_anew_once_money_is_late() -> None:
    first, second = (decode({"policy": "ours", "steps": [_said("r", -3), _said("a", 1)]}, n) for n in (1, 2))
    one, _ = follow(case(coming()), first, local(-2, 10))
    assert ruled(one, first, _choices(second, InFlight.PIN), local(-2, 11))[1] == first
    assert ruled(replace(one, debts=(debt(),)), first, _choices(second, InFlight.PIN), local(1, 9))[1] == second


def test_a_case_that_is_over_keeps_the_policy_it_had() -> None:
    first, second = (decode({"policy": "ours", "steps": [_said("a", 1)]}, n) for n in (1, 2))
    assert ruled(case(), first, _choices(second, InFlight.RESTART), local(1, 9))[1] == first


def test_a_second_reminder_about_the_same_due_date_is_planned_and_said() -> None:
    policy = decode({"policy": "ours", "steps": [_said("first", -5), _said("second", -2)]}, 1)
    one, _ = follow(case(coming()), policy, local(-5, 10))
    planned = plan(one, policy, local(-5, 10))
    assert (asked(planned), planned.next_at) == (["first"], local(-2, 0))
    one = _ended(doing(one, planned, local(-5, 10)), ContactState.DONE)
    upcoming = plan(one, policy, local(-4, 10)).upcoming
    assert upcoming is not None
    assert (upcoming.step, upcoming.at) == ("second", local(-2, 0))
    assert asked(plan(one, policy, local(-2, 0))) == ["second"]


def test_plain_days_count_neither_grace_nor_pauses() -> None:
    policy = decode({"policy": "ours", "steps": [{**_said("plain", 5), "at": {"day_past_due": 5}}, _said("soft", 5)]}, 1)
    one, _ = follow(case(debt(grace_days=3)), policy, local(5, 10))
    planned = plan(one, policy, local(5, 10))
    assert asked(planned) == ["plain"]
    one = _ended(doing(one, planned, local(5, 10)), ContactState.DONE)
    upcoming = plan(one, policy, local(6, 10)).upcoming
    assert upcoming is not None
    assert (upcoming.step, upcoming.at) == ("soft", local(8, 0))


def _policy(document: Document) -> Policy:
    assert document.form is not None
    return policy_of(document.form, 3)


def _said(name: str, day: int) -> dict[str, Any]:
    return {"id": name, "at": {"day": day}, "send": {"template": "gentle", "channels": ["sms"]}}


def _choices(policy: Policy, in_flight: InFlight) -> Choices:
    anything = dataclasses.replace(policy, applies_to=AppliesTo())
    return Choices((Assignment("ours", AppliesTo()),), {"ours": Active(anything, in_flight)})


def _ended(one: Case, ending: ContactState, now: datetime = NOW) -> Case:
    done_at = now if ending is ContactState.DONE else None
    contacts = (replace(c, state=ending, done_at=done_at) if c.state is ContactState.REQUESTED else c for c in one.contacts)
    return replace(one, contacts=tuple(contacts))
