"""Steps that wait for another step, for people or for the borrower's answer: properties of every policy, and some examples."""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.common.value import replace
from services.scheduler.domain.case import PROFILE_UNKNOWN, Case, Contact, ContactState, Errand, Stage, State, follow
from services.scheduler.domain.dealing import Approval, Exhibit, Offer, OfferState
from services.scheduler.domain.errands import NO_PROFILE
from services.scheduler.domain.escalating import EmitDue, HandOverDue, OfferDue, asking_key
from services.scheduler.domain.planner import ContactDue, Due, ErrandDue, FlagDue, Plan, plan
from services.scheduler.domain.policy import Policy, Send, Step
from services.scheduler.domain.standing import Want, ready, told_at, wanting
from services.scheduler.domain.stops import Hold, Stop
from services.scheduler.policies.reading import decode, understand
from services.scheduler.policies.texts import NoTexts, Texts, text_warnings
from tests.unit.scheduler.build import asked, case, coming, debt, doing, local
from tests.unit.scheduler.test_policy_documents import POLICIES
from tests.unit.scheduler.test_properties import CASES, ENDINGS, MOMENTS, calmly

HAPPENINGS = st.lists(
    st.tuples(MOMENTS, ENDINGS, st.sampled_from(("nothing", "attach", "approve", "reject", "accept", "decline", "take_back"))), max_size=10
).map(lambda events: sorted(events, key=lambda event: event[0]))


def _with_people(one: Case, what: str, now: datetime) -> Case:
    """The case after people have done something, if it was asked of them."""
    open_keys = [errand.key for errand in one.errands if errand.done_at is None]
    match what:
        case "attach":
            return replace(one, exhibits=tuple(Exhibit(name, "mei", now) for name in ("dossier", "contract")))
        case "approve" | "reject":
            steps = [key.partition(":")[2] for key in open_keys if key.startswith("approval:")]
            return replace(one, approvals=(*one.approvals, *(Approval(step, what == "approve", "ola", now) for step in steps)))
        case "accept" | "decline":
            state = OfferState.ACCEPTED if what == "accept" else OfferState.DECLINED
            answered = (
                dataclasses.replace(o, state=state, decided_at=now) if o.stands(now) and o.decided_at is None else o for o in one.offers
            )
            return replace(one, offers=tuple(answered))
        case "take_back":
            return replace(one, handed_to=None, handed_at=None)
    return one


def _ended(one: Case, ending: ContactState, now: datetime) -> Case:
    done_at = now if ending is ContactState.DONE else None
    contacts = (replace(c, state=ending, done_at=done_at) if c.state is ContactState.REQUESTED else c for c in one.contacts)
    errands = (replace(e, done_at=now) if e.key in _settled(one) and e.done_at is None else e for e in one.errands)
    return replace(one, contacts=tuple(contacts), errands=tuple(errands))


def _settled(one: Case) -> set[str]:
    """The tasks that ended by themselves because what they ask for is there."""
    decided = {asking_key(want, approval.step) for want in Want for approval in one.approvals}
    return decided | ({e.key for e in one.errands if e.key.startswith("evidence:")} if one.exhibits else set())


def _lives(one: Case, policy: Policy, happenings: list[tuple[datetime, ContactState, str]]) -> list[tuple[Case, Plan, datetime]]:
    """The case and its plan at each of these moments, with events in between."""
    seen = []
    for now, ending, what in happenings:
        one, _ = follow(one, policy, now)
        planned = plan(one, policy, now)
        seen.append((one, planned, now))
        one = _ended(_with_people(doing(one, planned, now), what, now), ending, now)
    return seen


def _step_of(policy: Policy, due: Due) -> Step | None:
    match due:
        case ContactDue(step) | EmitDue(step) | HandOverDue(step) | OfferDue(step):
            return step
        case ErrandDue(key):
            return next((step for step in policy.steps if step.id == key), None)
        case FlagDue(name):
            return next(step for step in policy.steps if step.id == name)


@calmly
@given(one=CASES, policy=POLICIES, happenings=HAPPENINGS)
def test_no_step_is_done_whose_requirement_is_not_met_or_that_follows_what_was_not_said(
    one: Case, policy: Policy, happenings: list[tuple[datetime, ContactState, str]]
) -> None:
    for before, planned, now in _lives(one, policy, happenings):
        for due in planned.due:
            if (step := _step_of(policy, due)) is None:
                continue
            assert wanting(before, step) is None
            assert not any(approval.step == step.id and not approval.approved for approval in before.approvals)
            if step.after is not None:
                said = told_at(before, step.after.step)
                assert said is not None
                assert said + timedelta(days=step.after.days) <= now
            if isinstance(due, EmitDue) and due.event == "bureau_report":
                assert step.after is not None
                notice = next(one for one in policy.steps if one.id == step.after.step)
                assert isinstance(notice.action, Send)
                assert notice.action.purpose == "notice"


@calmly
@given(one=CASES, policy=POLICIES, happenings=HAPPENINGS)
def test_nothing_else_is_said_while_a_message_that_is_never_skipped_is_open(
    one: Case, policy: Policy, happenings: list[tuple[datetime, ContactState, str]]
) -> None:
    for before, planned, now in _lives(one, dataclasses.replace(policy, entry=type(policy.entry).LATEST), happenings):
        said = [due for due in planned.due if isinstance(due, ContactDue) and due.about is None]
        for due in said:
            days = [d.begins(due.step) for d in due.debts]
            for step in policy.messages:
                begun = [moment for d in due.debts if (moment := d.begins(step)) is not None and moment <= now]
                if step.id not in policy.never_skipped or step.id == due.step.id or step.after is not None or not begun:
                    continue
                if wanting(before, step) is not None or not step.holds(before) or _is_rejected(before, step):
                    continue
                if (lead := ready(before, step, due.debts)) is None or lead[0] > now:
                    continue  # put off by an open offer
                earlier = min(begun) < min(day for day in days if day is not None)
                assert before.said(step.id, None) or not earlier, f"{due.step.id} was said before {step.id}"


def _is_rejected(one: Case, step: Step) -> bool:
    return any(approval.step == step.id and not approval.approved for approval in one.approvals)


@calmly
@given(one=CASES, policy=POLICIES, happenings=HAPPENINGS)
def test_planning_again_without_news_changes_nothing_and_nobody_is_forgotten(
    one: Case, policy: Policy, happenings: list[tuple[datetime, ContactState, str]]
) -> None:
    for before, planned, now in _lives(one, policy, happenings):
        after, changes = follow(doing(before, planned, now), policy, now)
        assert all(type(change).__name__ == "Cancelled" for change in changes)
        again = plan(after, policy, now)
        assert again.due == ()
        assert changes or (again.next_at, again.upcoming) == (planned.next_at, planned.upcoming)
        assert planned.reason.ends
        if before.state is State.OPEN:
            assert planned.next_at or planned.reason.event or planned.reason.errand


@calmly
@given(one=CASES, policy=POLICIES, happenings=HAPPENINGS)
def test_while_somebody_else_has_a_case_we_only_hear_of_its_stops_and_of_its_return_and_each_act_is_done_once(
    one: Case, policy: Policy, happenings: list[tuple[datetime, ContactState, str]]
) -> None:
    done: list[tuple[int, str]] = []
    for before, planned, _ in _lives(one, policy, happenings):
        if before.handed_to is not None:
            assert [due for due in planned.due if not isinstance(due, ErrandDue) or not due.key.startswith(("handed_over", "stop:"))] == []
        done += [(before.spell, due.step.id) for due in planned.due if isinstance(due, EmitDue | HandOverDue | OfferDue)]
    assert len(done) == len(set(done))


@calmly
@given(one=CASES, policy=POLICIES, start=MOMENTS, share=st.floats(0.001, 0.999), what=st.sampled_from(("attach", "approve", "accept")))
def test_whoever_looks_only_when_the_plan_says_so_misses_no_step_of_any_policy(
    one: Case, policy: Policy, start: datetime, share: float, what: str
) -> None:
    now, one = start, replace(one, debts=tuple(d for d in one.debts if d.owed))
    for _ in range(8):
        one, _ = follow(one, policy, now)
        planned = plan(one, policy, now)
        one = _ended(_with_people(doing(one, planned, now), what, now), ContactState.DONE, now)
        one = doing(one, plan(one, policy, now), now)
        planned = plan(one, policy, now)
        between = now + ((planned.next_at or now + timedelta(days=60)) - now) * share
        followed, _ = follow(one, policy, between)
        assert plan(followed, policy, between).due == ()
        if planned.next_at is None:
            return
        now = planned.next_at


def _said(name: str, day: int, **other: Any) -> dict[str, Any]:
    return {"id": name, "at": {"day": day}, "send": {"template": "gentle", "channels": ["sms"], **other.pop("send", {})}, **other}


def _policy(*steps: dict[str, Any], **other: Any) -> Policy:
    return decode({"policy": "ours", "steps": list(steps), **other}, 1)


def _day(one: Case, policy: Policy, now: datetime) -> tuple[Case, list[str]]:
    one, _ = follow(one, policy, now)
    planned = plan(one, policy, now)
    return _ended(doing(one, planned, now), ContactState.DONE, now), asked(planned)


def test_notices_are_made_up_for_in_order_and_of_the_other_messages_only_the_latest_is_said() -> None:
    notice = {"send": {"purpose": "notice"}}
    policy = _policy(_said("a", 1), _said("n1", 3, **notice), _said("b", 5), _said("n2", 7, **notice), _said("c", 9), _said("d", 11))
    one, steps = case(debt()), []
    for day in range(12, 18):
        one, said = _day(one, policy, local(day, 10))
        steps += said
    assert steps == ["n1", "n2", "d"]


def test_a_message_that_another_step_waits_for_is_never_skipped() -> None:
    policy = _policy(_said("a", 1), _said("b", 3), {"id": "mark", "at": {"day": 4}, "after": {"step": "a", "days": 2}, "flag": "told"})
    one, steps = case(debt()), []
    for day in range(9, 12):
        one, said = _day(one, policy, local(day, 10))
        steps += said
    assert (steps, one.flagged) == (["a", "b"], frozenset({"mark"}))


def test_with_entry_first_a_case_that_comes_in_late_begins_with_the_first_message_and_keeps_the_distances() -> None:
    policy = _policy(_said("a", 1), _said("b", 3), _said("c", 7), entry="first")
    said_on: dict[str, int] = {}
    one = case(debt())
    for day in range(20, 40):
        one, said = _day(one, policy, local(day, 10))
        said_on |= dict.fromkeys(said, day)
    assert said_on == {"a": 20, "b": 22, "c": 26}


def test_with_entry_first_a_case_that_comes_in_in_time_goes_as_any_other_and_after_downtime_says_only_the_latest() -> None:
    policy = _policy(_said("a", 1), _said("b", 3), _said("c", 7), entry="first")
    one, said = _day(case(debt()), policy, local(1, 10))
    assert said == ["a"]
    _, said = _day(one, policy, local(8, 10))
    assert said == ["c"]


def test_a_condition_at_a_reminder_reads_what_comes_due() -> None:
    policy = _policy({**_said("early", -5), "when": "debt.total >= 1000"}, _said("soon", -2))
    for due, steps in ((500, []), (2000, ["early"])):
        one, _ = follow(case(replace(coming(), next_due=due)), policy, local(-5, 10))
        planned = plan(one, policy, local(-5, 10))
        assert asked(planned) == steps
        assert planned.next_at == local(-2, 0), "the next one comes whether this one was said or not"


_UNREACHED = {
    "contacts": (Contact("t", 1, "hello", None, 1, ContactState.EXPIRED, local(2, 10), local(2, 11), None, PROFILE_UNKNOWN),),
    "errands": (Errand("h", NO_PROFILE, 1, local(3, 9)),), "spell": 1, "state": State.OPEN, "stage": Stage.OVERDUE,
}  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "was"),
    [
        (
            [
                _said("hello", 3),
                {"id": "call", "at": {"day": 5}, "when": "contacts.asked == 0", "task": {"queue": "phone", "kind": "call"}},
            ],
            {},
        ),
        ([_said("hello", 2), {"id": "agency", "at": {"day": 3}, "hand_over": {"to": "agency"}}], {"passed": frozenset({"hello"})}),
        ([_said("hello", 2), _said("firm", 20)], _UNREACHED),
    ],
)
def test_when_to_look_again_is_told_by_the_case_as_it_is_after_what_is_due(steps: list[dict[str, Any]], was: dict[str, Any]) -> None:
    policy, now = _policy(*steps), local(3, 10)
    before, _ = follow(case(debt(), **was), policy, now)
    planned = plan(before, policy, now)
    assert planned.due
    assert plan(doing(before, planned, now), policy, now).next_at == planned.next_at


def test_a_case_that_somebody_else_has_is_not_marked_by_us() -> None:
    policy = _policy({"id": "agency", "at": {"day": 3}, "hand_over": {"to": "agency"}}, {"id": "late", "at": {"day": 5}, "flag": "late"})
    one, _ = _day(case(debt()), policy, local(3, 10))
    assert one.handed_to == "agency"
    assert plan(one, policy, local(6, 10)).due == ()
    taken_back = replace(one, handed_to=None, handed_at=None)
    assert [type(due) for due in plan(taken_back, policy, local(6, 10)).due] == [FlagDue]


@pytest.mark.parametrize(("ending", "marked"), [(ContactState.DONE, True), (ContactState.REQUESTED, False), (ContactState.FAILED, False)])
def test_a_step_counts_from_when_the_message_before_it_was_taken_over_not_from_when_it_was_asked_for(
    ending: ContactState, *, marked: bool
) -> None:
    policy = _policy(_said("a", 1), {"id": "mark", "at": {"day": 1}, "after": {"step": "a", "days": 2}, "flag": "told"})
    one, _ = follow(case(debt()), policy, local(1, 10))
    one = _ended(doing(one, plan(one, policy, local(1, 10)), local(1, 10)), ending, local(2, 10))
    assert [due for due in plan(one, policy, local(3, 11)).due if isinstance(due, FlagDue)] == []
    assert [isinstance(due, FlagDue) for due in plan(one, policy, local(4, 10)).due].count(True) == marked


@pytest.mark.parametrize("step", [{"hand_over": {"to": "agency"}}, {"task": {"queue": "legal", "kind": "letter"}}])
@pytest.mark.parametrize("change", [{"doubted": True}, {"resting_until": local(40, 0)}, {}])
def test_nothing_grave_is_done_while_a_debt_is_in_doubt_or_a_payment_under_way_or_a_hold_lies_on_it(
    step: dict[str, Any], change: dict[str, Any]
) -> None:
    policy = _policy({"id": "grave", "at": {"day": 3}, **step})
    calm, held = case(debt()), () if change else (Stop("h1", "dispute", local(0, 0), None, "L2", hold=Hold("c1")),)
    for one, number in ((calm, 1), (replace(calm, debts=(debt(), debt("L2", **change)), stops=held), 0), (_stopped(calm), 0)):
        followed, _ = follow(one, policy, local(5, 10))
        done = [due for due in plan(followed, policy, local(5, 10)).due if (found := _step_of(policy, due)) and found.id == "grave"]
        assert len(done) == number


def test_a_policys_notice_rests_under_a_hold_that_lets_notices_pass_the_gate_and_is_made_up_for_before_what_comes_later() -> None:
    said = _said("notice", 2)
    policy = _policy({**said, "send": {**said["send"], "purpose": "notice"}}, _said("later", 4))
    one = replace(case(debt()), stops=(Stop("h1", "hardship", local(0, 0), local(5, 0), hold=Hold("c1")),))
    found = []
    for day in (2, 4, 5):
        one, _ = follow(one, policy, local(day, 10))
        found.append(asked(plan(one, policy, local(day, 10))))
    assert found == [[], [], ["notice"]]


def _stopped(one: Case) -> Case:
    return replace(one, stops=(Stop("s1", "hardship", local(0, 0), None),))


def test_an_open_offer_puts_off_the_grave_steps_and_an_answer_lets_them_go_on() -> None:
    policy = _policy({"id": "agency", "at": {"day": 3}, "hand_over": {"to": "agency"}})
    offered = case(debt(), offers=(Offer("o1", OfferState.OPEN, local(9, 0)),))
    declined = replace(offered, offers=(Offer("o1", OfferState.DECLINED, local(9, 0), local(4, 0)),))
    for one, now, number in ((offered, local(8, 0), 0), (offered, local(9, 0), 1), (declined, local(5, 0), 1)):
        followed, _ = follow(one, policy, now)
        planned = plan(followed, policy, now)
        assert sum(isinstance(due, HandOverDue) for due in planned.due) == number
        assert number or (planned.next_at is not None and planned.next_at <= local(9, 0))


@pytest.mark.parametrize(
    ("step", "path", "error"),
    [
        ({"emit": "bureau_report"}, "steps[1].emit", "no_notice"),
        ({"emit": "bureau_report", "after": {"step": "a", "days": 7}}, "steps[1].emit", "no_notice"),
        ({"flag": "x", "after": {"step": "nope", "days": 1}}, "steps[1].after.step", "unknown_step"),
        ({"flag": "x", "evidence": ["contract"]}, "steps[1]", "invalid"),
        ({"flag": "x", "requires": ["evidence"], "approval": {}}, "steps[1]", "invalid"),
        ({"flag": "x", "requires": ["approval", "approval"]}, "steps[1]", "invalid"),
        ({"emit": "legal_requested", "offer": {"kind": "instalment_plan", "max_months": 2}}, "steps[1]", "invalid"),
        ({"offer": {"kind": "instalment_plan"}}, "steps[1].offer", "invalid"),
        ({"offer": {"kind": "partial_waiver"}}, "steps[1].offer", "invalid"),
        ({"offer": {"kind": "instalment_plan", "max_months": 2, "valid_for": "0d"}}, "steps[1].offer", "invalid"),
    ],
)
def test_a_step_that_cannot_wait_for_what_it_names_is_an_error(step: dict[str, Any], path: str, error: str) -> None:
    text = json.dumps({"policy": "ours", "steps": [_said("a", 1), {"id": "b", "at": {"day": 9}, **step}]})
    assert [(fault.path, fault.error) for fault in understand(text).faults] == [(path, error)]


def test_a_step_cannot_follow_one_that_says_nothing() -> None:
    steps = [{"id": "a", "at": {"day": 1}, "flag": "x"}, {"id": "b", "at": {"day": 2}, "flag": "y", "after": {"step": "a", "days": 1}}]
    faults = understand(json.dumps({"policy": "ours", "steps": steps})).faults
    assert [(fault.path, fault.error) for fault in faults] == [("steps[1].after.step", "invalid")]


def test_a_reminder_waits_for_nothing_but_its_day() -> None:
    text = json.dumps({"policy": "ours", "steps": [{**_said("a", -2), "requires": ["approval"]}]})
    assert [fault.path for fault in understand(text).faults] == ["steps[0]"]


@pytest.mark.parametrize(
    ("there", "default", "expected"),
    [
        ({("gentle", "sms", "en")}, "en", []),
        ({("gentle", "sms", "en")}, "en-GB", []),
        ({("gentle", "sms", "en")}, None, []),
        ({("gentle", "sms", "en")}, "zh", ["missing_locale"]),
        ({("gentle", "email", "en")}, "en", ["missing_template"]),
        ({("firm", "sms", "en")}, "en", ["missing_template"]),
    ],
)
def test_a_text_that_is_not_there_is_warned_of_where_it_is_named(
    there: set[tuple[str, str, str]], default: str | None, expected: list[str]
) -> None:
    document = understand(json.dumps({"policy": "ours", "steps": [_said("a", 1)]}))
    found = text_warnings(document, Texts(frozenset(there), default))
    assert [(fault.path, fault.error) for fault in found] == [("steps[0].send.template", error) for error in expected]
    assert [fault.error for fault in text_warnings(document, NoTexts("nobody answers"))] == ["texts_unknown"]
